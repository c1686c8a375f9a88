"""From a run of `expo-bench candidates` and `likelihood` to token ids and a model that can be differentiated."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import expo_bench
from analysis.gradients import Chain, ProblemGradients
from expo_bench import Candidate, Likelihood, Problem, RunFolder, UserError, before_answer, load_candidates_config, plan

_CUT_OFF = "cut off"
_SAMPLED = "sampled"
_TOLERANCE = {"float32": 1e-3}
_COARSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate with its likelihood."""

    candidate: Candidate
    row: Likelihood


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the analysis reads of a run folder."""

    run: RunFolder
    policy: str
    model: dict[str, Any]
    """From policy.json: name, revision, dtype, digests."""
    problems: list[Problem]
    scored: dict[str, list[Scored]]
    """Problem id -> its candidates."""


def read_inputs(path: Path, policy: str | None) -> Inputs:
    """Return the run's problems and scored candidates.

    Raises:
        UserError: no run folder, no candidates, no likelihoods, several policies and none chosen, or candidates that
            were not scored.
    """
    run = RunFolder(path)
    run.read_manifest()
    candidates = {(one.problem_id, one.candidate_id): one for one in run.candidates()}
    if not candidates:
        raise UserError(f"{path} has no candidates; make them with expo-bench candidates")
    policies = run.policies()
    if policy is None and len(policies) > 1:
        raise UserError(f"{path} was scored under {', '.join(policies)}; choose one with --policy")
    name = policy or (policies[0] if policies else None)
    if name not in policies:
        under = f" under {policy}" if policy else ""
        raise UserError(f"{path} has no likelihoods{under}; make them with expo-bench likelihood")
    rows = {(row.problem_id, row.candidate_id): row for row in run.likelihoods(name)}
    if missing := len(candidates.keys() - rows.keys()):
        raise UserError(f"{path}: {missing} candidates are not scored under {name}; give expo-bench likelihood again")
    scored: dict[str, list[Scored]] = {}
    for key, one in candidates.items():
        scored.setdefault(one.problem_id, []).append(Scored(candidate=one, row=rows[key]))
    problems = [one for one in run.problems() if one.problem_id in scored]
    model = json.loads(run.policy_path(name).read_bytes())
    return Inputs(run=run, policy=name, model=model, problems=problems, scored=scored)


def load_policy(model: dict[str, Any]) -> tuple[Any, Any]:
    """Return model, in float32 and evaluation mode, and tokenizer.

    Raises:
        UserError: they cannot be loaded, or the policy is no folder or hub id.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    name = model["name"]
    path = str(Path(expo_bench.__file__).parent / "assets" / "micro") if name == "micro" else name
    where = {"revision": model.get("revision")}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **where)
        loaded = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, use_safetensors=True, **where)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot load policy {name} for its gradients: {reason}") from error
    return loaded.eval(), tokenizer


class Tokens:
    """Token ids as `expo-bench likelihood` scored them (docs/likelihood.md)."""

    def __init__(self, inputs: Inputs, tokenizer: Any) -> None:
        planned = plan(load_candidates_config(inputs.run.config_path, {}), inputs.run.path)
        self._prompt = planned.prompt
        self._thinking = planned.config.enable_thinking
        self._tokenizer = tokenizer
        if planned.config.chat_template is not None:
            tokenizer.chat_template = planned.config.chat_template.read_text(encoding="utf-8")

    def prompt(self, problem: Problem) -> list[int]:
        """Return the ids of the solve prompt."""
        messages = list(self._prompt.messages(problem))
        if not self._prompt.chat:
            return list(self._tokenizer(messages[-1]["content"])["input_ids"])
        thinking = {} if self._thinking is None else {"enable_thinking": self._thinking}
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **thinking)
        return list(self._text(text))

    def slot(self, problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
        r"""Return the ids of the slot's opening `\boxed{`, and of the gold answer with its closing brace."""
        whole, alone = self._text(f"\\boxed{{{problem.answer}}}"), self._text("\\boxed{")
        pairs = enumerate(zip(whole, alone, strict=False))
        opening = next((at for at, pair in pairs if pair[0] != pair[1]), len(alone))
        return whole[:opening], whole[opening:]

    def chains(self, scored: Sequence[Scored], opening: tuple[int, ...]) -> list[Chain]:
        """Return a problem's distinct chains: per source, each sequence of ids once, with its count."""
        first: dict[tuple[str, tuple[int, ...]], list[Scored]] = {}
        for one in scored:
            first.setdefault((one.candidate.source, self._ids(one)), []).append(one)
        return [
            Chain(
                candidate_id=alike[0].candidate.candidate_id,
                source=source,
                count=len(alike),
                reaches_answer=bool(alike[0].candidate.reaches_answer),
                ids=ids,
                cut=(*self._text(before_answer(alike[0].candidate.text)), *opening),
            )
            for (source, ids), alike in first.items()
        ]

    def _ids(self, one: Scored) -> tuple[int, ...]:
        if _SAMPLED in one.row.boundary_rule and one.candidate.token_ids:
            return one.candidate.token_ids
        ids = self._text(one.candidate.text)
        return ids if _CUT_OFF in one.row.boundary_rule else (*ids, self._tokenizer.eos_token_id)

    def _text(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def check_agreement(inputs: Inputs, problem_id: str, found: ProblemGradients) -> None:
    """Compare the recomputed log-probabilities with the run's.

    Raises:
        UserError: they differ by more than the precision that the run was scored in explains.
    """
    rows = {one.row.candidate_id: one.row for one in inputs.scored[problem_id]}
    tolerance = _TOLERANCE.get(inputs.model["dtype"], _COARSE)
    for at, chain in enumerate(found.chains):
        row = rows[chain.candidate_id]
        for name, new, old in (
            ("log-probability", found.log_p[at], row.sum_logprob),
            ("answer's log-probability", found.log_answer[at], row.answer_logprob_with),
        ):
            if abs(new - old) > tolerance * max(1.0, abs(old)):
                raise UserError(
                    f"{inputs.run.path}: {problem_id}, {chain.candidate_id}: the {name} is {new:.4f} now and {old:.4f} "
                    f"in the run; score it again with the weights of today"
                )
