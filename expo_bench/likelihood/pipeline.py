"""`expo-bench candidates` and `expo-bench likelihood`: the stages from problems to the two-property table."""

from collections import Counter
from typing import Any, cast

from expo_bench.config import CandidatesConfig, EngineSpec
from expo_bench.engines.base import Generator, Scorer
from expo_bench.engines.choosing import open_engine
from expo_bench.errors import UserError
from expo_bench.evaluation.drawing import Stage
from expo_bench.evaluation.pipeline import draw
from expo_bench.evaluation.planning import Plan, finish, resume_config, warnings
from expo_bench.evaluation.progress import Progress, counting
from expo_bench.evaluation.sampling import sampling
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.stage import grade
from expo_bench.likelihood import two_property
from expo_bench.likelihood.candidates import OwnSamples, candidates
from expo_bench.likelihood.explanations import explaining
from expo_bench.likelihood.sampled_answers import missing_answers, sample_answers
from expo_bench.likelihood.scoring import CHUNK_TOKENS, likelihoods, missing_likelihoods
from expo_bench.prompts import Prompt, solve_prompt
from expo_bench.rows import LikelihoodMetric, Manifest
from expo_bench.storage.run_folder import RunFolder


class Policy(EngineSpec):
    """A model under which candidates are scored; chat template and thinking are those of their run."""

    @property
    def name(self) -> str:
        """The policy's name in the rows."""
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


def make_candidates(planned: Plan, progress: Progress) -> Counter[str]:
    """Draw what is missing and write the candidates; return how many were left out, by source and reason.

    Raises:
        UserError: bad input, an engine that cannot be used, or a folder that another process writes to.
    """
    config, run = _candidates_config(planned), planned.run
    with run.lock(), Judge() as judge:
        for warning in warnings(planned):
            progress.note(warning)
        manifest = draw(planned, drawing_stages(planned), progress, judge)
        if config.draws_own:
            total = len(planned.problems) * config.n
            grade(run, judge=judge, on_grade=counting(progress, total))
        left_out = candidates(
            run,
            planned.problems,
            sources=config.sources,
            policy=manifest.model["name"],
            own=_own(run, config, manifest, progress),
            imported=config.imported,
            judge=judge,
        )
        found = Counter(f"candidates:{row.source}" for row in run.candidates())
        reasons = {f"left out, {reason}": count for reason, count in left_out.items()}
        finish(run, manifest, {"problems": len(planned.problems), "candidates": found.total(), **found, **reasons})
    return left_out


def measure(
    run: RunFolder, policies: list[Policy], progress: Progress, *, retry_unscored: bool = False, answers: int = 0
) -> list[LikelihoodMetric]:
    """Score the candidates under each policy, one after the other, and write and return the two-property metrics.

    Candidates that could not be scored before are left alone, or with `retry_unscored` tried again. With `answers` so
    many short answers are drawn and graded behind each chain, and without one (`sampled_answers`).

    Raises:
        UserError: the folder holds no candidates, an engine does not score, or a policy's weights have changed.
    """
    manifest = run.read_manifest()
    config = resume_config(run.path, CandidatesConfig)
    if manifest.status != "finished":
        raise UserError(f"the candidates of {run.path} are not all there; give its expo-bench candidates command again")
    if next(iter(run.candidates()), None) is None:
        raise UserError(f"{run.path} has no candidates; make them with expo-bench candidates")
    prompt = solve_prompt(config.prompt)
    if prompt.digest() != manifest.protocol["prompt_digest"]:
        raise UserError(f"prompt {config.prompt} has changed since {run.path} was made; make the candidates again")
    with run.lock():
        for policy in policies:
            if retry_unscored:
                run.unscored_path(policy.name).unlink(missing_ok=True)
            _score(run, policy, config, prompt, progress, answers)
        metrics = two_property.compute(run)
        run.write_likelihood_metrics(metrics)
    return metrics


def _candidates_config(planned: Plan) -> CandidatesConfig:
    if not isinstance(planned.config, CandidatesConfig):
        raise TypeError("the plan is not one of candidates")
    return planned.config


def drawing_stages(planned: Plan) -> list[Stage]:
    """Return the stages in which `evaluate` or `make_candidates` draws, in their order."""
    config = planned.config
    if not isinstance(config, CandidatesConfig):
        return [sampling(config, planned.prompt)]
    own: list[Stage] = [sampling(config, planned.prompt)] if config.draws_own else []
    return [*own, explaining(config)] if config.explains else own


def _own(run: RunFolder, config: CandidatesConfig, manifest: Manifest, progress: Progress) -> OwnSamples | None:
    if not config.uses_own:
        return None
    if config.samples is None:
        return OwnSamples(run=run, grader=GRADER, n=config.n, policy=manifest.model["name"])
    other = RunFolder(config.samples)
    model = other.read_manifest().model
    if model.get("weights_digest") != manifest.model.get("weights_digest"):
        progress.note(f"the samples of {other.path} come from other weights than {config.model}")
    return OwnSamples(run=other, grader=GRADER, n=config.n, policy=model["name"])


def _score(
    run: RunFolder, policy: Policy, config: CandidatesConfig, prompt: Prompt, progress: Progress, answers: int
) -> None:
    total = sum(1 for _ in run.candidates())
    missing = len(missing_likelihoods(run, policy.name))
    slots = len(missing_answers(run, policy.name, answers)) if answers else 0
    if missing or slots:
        engine = open_policy(policy, config, progress)
        try:
            _check_weights(run, policy.name, engine.describe())
            if missing:
                advance = progress.start("scoring", total, total - missing)
                likelihoods(
                    run,
                    cast(Scorer, engine),
                    policy=policy.name,
                    prompt=prompt,
                    chunk_tokens=CHUNK_TOKENS * (policy.replicas or 1),
                    on_row=lambda row: advance(row.n_tokens),
                )
            if slots:
                _answer(run, engine, policy, config, prompt, progress, answers, slots)
        finally:
            engine.close()
    _note_unscored(run, policy, progress)


def _answer(
    run: RunFolder,
    engine: Generator,
    policy: Policy,
    config: CandidatesConfig,
    prompt: Prompt,
    progress: Progress,
    n: int,
    n_slots: int,
) -> None:
    advance = progress.start("answering", n_slots, 0)
    with Judge() as judge:
        sample_answers(
            run,
            engine,
            policy=policy.name,
            prompt=prompt,
            n=n,
            seed=config.seed,
            judge=judge,
            on_row=lambda _: advance(0),
        )


def open_policy(policy: Policy, config: CandidatesConfig, progress: Progress) -> Generator:
    """Load a policy in an engine that scores, as the run of candidates asks for it.

    Raises:
        UserError: its engine does not score, or cannot be used.
    """
    # "auto" prefers an engine that samples fast; transformers scores faster, and tells entropies
    best = "server" if _is_url(policy.model) else "transformers"
    name = best if policy.engine == "auto" else policy.engine
    progress.note(f"loading {policy.name} ({name})")
    of_run = {"engine": name, "chat_template": config.chat_template, "enable_thinking": config.enable_thinking}
    return open_engine(policy.model_copy(update=of_run))


def _is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def _note_unscored(run: RunFolder, policy: Policy, progress: Progress) -> None:
    if count := sum(map(len, run.unscored(policy.name).values())):
        path = run.unscored_path(policy.name)
        progress.note(f"{policy.name}: {count} candidates could not be scored; {path} tells why")


def _check_weights(run: RunFolder, policy: str, model: dict[str, Any]) -> None:
    known = run.scored_model(policy)
    if known is None:
        run.write_scored_model(policy, model)
        return
    before = known.get("weights_digest")
    if before != model.get("weights_digest"):
        path = run.likelihoods_folder(policy)
        raise UserError(
            f"{path} was scored with other weights of {policy} ({before}, now {model.get('weights_digest')}); "
            f"delete it and {path.name}.jsonl to score again"
        )
