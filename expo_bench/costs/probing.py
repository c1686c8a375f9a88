"""Short measurements of a run before it is begun: how fast it goes, how long completions are, what rows weigh.

A probe is the stage itself on some of the run's problems, in a temporary folder: nothing gets into the run's own. A
short turn warms the engine up and tells how many tokens fit into the next; if no
completion lacked more, a last turn takes as many more samples as fit.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from expo_bench.config import CandidatesConfig
from expo_bench.engines.base import Generator, Scorer
from expo_bench.errors import UserError
from expo_bench.evaluation.drawing import Missing, Stage, count
from expo_bench.evaluation.planning import Plan, open_planned, resume_config
from expo_bench.evaluation.progress import Progress
from expo_bench.evaluation.sampling import Sampling
from expo_bench.likelihood.pipeline import Policy, drawing_stages, open_policy
from expo_bench.likelihood.scoring import likelihoods
from expo_bench.prompts import Prompt, solve_prompt
from expo_bench.rows import Candidate, Problem, Sample
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

AT_ONCE = 128
"""Completions of a probe: a full batch of the transformers engine."""
ROW_BYTES = 208
"""Of a sample's row, its text and token ids apart, as seen."""
_FEWEST_PROBLEMS = 8
_WARM_UP_TOKENS = 16
_MOST_SCORED = 64
"""Problems whose chains a probe scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a probe has seen of a stage that draws."""

    samples: int
    ended: int
    """Those that ended by themselves within the limit."""
    tokens: int
    limit: int
    """Tokens that a completion might have."""
    most: int
    """Tokens that it may have in the run."""
    seconds: float
    disk: int
    """Bytes of the rows."""

    @property
    def length(self) -> float:
        """Expected tokens of a completion of the run.

        The mean of min(length, limit); for the share S that did not end, the mean of a geometric distribution cut off
        at the run's limit comes on top. With the hazard h = ended / tokens, its maximum-likelihood estimate from
        lengths some of which are cut off, these are S (1 - (1 - h)^(most - limit)) / h; without a single end,
        most - limit.
        """
        rest, hazard = self.most - self.limit, self.ended / self.tokens
        more = rest if hazard == 0 else (1 - (1 - hazard) ** rest) / hazard
        return self.tokens / self.samples + (1 - self.ended / self.samples) * more

    def seconds_for(self, tokens: float) -> float:
        """Return how long so many tokens take at the probe's speed."""
        return tokens * self.seconds / self.tokens

    def disk_for(self, count: int, tokens: float) -> int:
        """Return the bytes of so many rows with so many tokens in all; a row without tokens has ROW_BYTES."""
        return round(count * ROW_BYTES + tokens * (self.disk - self.samples * ROW_BYTES) / self.tokens)

    def note(self, stage: str) -> str:
        """Return one line on what was measured."""
        line = (
            f"{stage}: {self.tokens / self.seconds:,.0f} tokens/s over {self.samples:,} samples of at most "
            f"{self.limit:,} tokens; {self.ended:,} of them ended"
        )
        if self.limit == self.most or self.ended == self.samples:
            return line
        others = (
            f"as often at every further token, up to {self.most:,}" if self.ended else f"after {self.most:,} tokens"
        )
        return f"{line}, the others are reckoned to end {others}"


def probe(
    planned: Plan, seconds: float, progress: Progress, at_once: int, *, refilled: bool
) -> tuple[float | None, dict[str, Drawn]]:
    """Return the seconds of loading the model, and what was seen of each stage; nothing where nothing is to draw.

    Args:
        planned: the run; nothing is written into its folder.
        seconds: how long the probe of a stage may take, about.
        progress: is told of it.
        at_once: completions of a turn.
        refilled: whether other completions take the place of those that end; then a last turn draws several times
            `at_once` where they fit into the seconds.

    Raises:
        UserError: the engine cannot be used, or draws nothing but errors.
    """
    listed = lacking_stages(planned)
    if not listed:
        return None, {}
    began = time.perf_counter()
    engine = open_planned(planned, progress)
    loading = time.perf_counter() - began
    try:
        seen = {}
        for stage, lacking in listed:
            progress.note(f"probe: {stage.name}, about {seconds:.0f} s")
            seen[stage.name] = _probe(stage, lacking, engine, seconds, at_once, refilled)
        return loading, seen
    finally:
        engine.close()


def lacking_stages(planned: Plan) -> list[tuple[Stage, Missing]]:
    """Return the stages in which the run has still to draw, and what they lack."""
    listed = [(stage, stage.missing(planned.run, planned.problems)) for stage in drawing_stages(planned)]
    return [(stage, lacking) for stage, lacking in listed if lacking]


def _probe(stage: Stage, lacking: Missing, engine: Generator, seconds: float, at_once: int, refilled: bool) -> Drawn:
    def turn(number: int, limit: int) -> Drawn:
        problems = spread([problem for problem, _ in lacking], max(_FEWEST_PROBLEMS, number // stage.n))
        n = min(stage.n, max(1, number // len(problems)))
        return _draw(replace(stage, n=n).within(limit), stage.most_tokens, engine, problems)

    found = turn(at_once, min(_WARM_UP_TOKENS, stage.most_tokens))
    left = seconds - found.seconds
    # a fifth is kept back: later tokens take longer
    limit = min(stage.most_tokens, int(found.limit * 0.8 * left / found.seconds))
    if limit < found.limit:
        return found
    found = turn(at_once, limit)
    times = int((left - found.seconds) / found.seconds)
    # a batch that empties while its last samples are drawn is slower than one that is filled up again
    whole = limit == stage.most_tokens or found.ended == found.samples
    if refilled and whole and times > 1 and found.samples < count(lacking):
        found = turn(at_once * times, limit)
    return found


def spread(problems: Sequence[Problem], number: int) -> list[Problem]:
    """Return so many problems, or all where there are fewer, evenly over benchmarks and levels."""
    ordered = sorted(problems, key=lambda problem: (problem.benchmark, problem.level or 0))
    number = min(number, len(ordered))
    return [ordered[(2 * place + 1) * len(ordered) // (2 * number)] for place in range(number)]


def _draw(stage: Stage, most: int, engine: Generator, problems: Sequence[Problem]) -> Drawn:
    rows: list[Sample] = []
    with TemporaryDirectory(prefix="expo-bench-probe-") as scratch:
        run = RunFolder(scratch)
        began = time.perf_counter()
        stage.draw(run, stage.missing(run, problems), engine, rows.append)
        seconds = time.perf_counter() - began
        disk = _bytes_in(run.path)
    good = [row for row in rows if row.finish_reason != "error"]
    tokens = sum(row.n_tokens or 0 for row in good)
    if not tokens:
        raise UserError(f"the probe drew nothing: {rows[0].error or 'all completions are empty'}")
    limit = stage.most_tokens
    # a thought that was closed too soon does not tell when it would have ended
    known = limit == most or not (isinstance(stage, Sampling) and stage.thinking_tokens)
    return Drawn(
        samples=len(good),
        ended=sum(known and row.finish_reason == "stop" for row in good),
        tokens=tokens,
        limit=limit,
        most=most,
        seconds=seconds,
        disk=disk,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a probe has seen of the scoring of chains."""

    chains: int
    tokens: int
    """Of the chains; the answer slots behind them are in the seconds."""
    seconds: float
    disk: int
    """Bytes of rows and arrays."""


def probe_scoring(
    run: RunFolder, policy: Policy, lacking: Sequence[Candidate], seconds: float, progress: Progress
) -> tuple[float, Scored]:
    """Return the seconds of loading the policy, and what was seen of scoring some of the run's candidates.

    Raises:
        UserError: the engine cannot be used, or scores none of them.
    """
    config = resume_config(run.path, CandidatesConfig)
    began = time.perf_counter()
    scorer = open_policy(policy, config, progress)
    loading = time.perf_counter() - began
    try:
        wanted = {one.problem_id for one in lacking}
        problems = spread([problem for problem in run.problems() if problem.problem_id in wanted], _MOST_SCORED)
        prompt = solve_prompt(config.prompt)
        first = _score(cast(Scorer, scorer), policy.name, prompt, problems[:1], lacking)
        fitting = int((seconds - first.seconds) / first.seconds)
        progress.note(f"probe: chains of {max(1, min(fitting, len(problems)))} problems, about {seconds:.0f} s")
        if fitting < 1:
            return loading, first
        return loading, _score(cast(Scorer, scorer), policy.name, prompt, spread(problems, fitting), lacking)
    finally:
        scorer.close()


def _score(
    scorer: Scorer, policy: str, prompt: Prompt, problems: Sequence[Problem], lacking: Sequence[Candidate]
) -> Scored:
    chosen = {problem.problem_id for problem in problems}
    tokens: list[int] = []
    with TemporaryDirectory(prefix="expo-bench-probe-") as scratch:
        run = RunFolder(scratch)
        run.write_problems(problems)
        with Appender(run.candidates_path) as rows:
            rows.append(one for one in lacking if one.problem_id in chosen)
        began = time.perf_counter()
        likelihoods(run, scorer, policy=policy, prompt=prompt, on_row=lambda row: tokens.append(row.n_tokens))
        seconds = time.perf_counter() - began
        disk = _bytes_in(run.path / "likelihoods")
    if not tokens:
        raise UserError(f"the probe could not score a single chain under {policy}")
    return Scored(chains=len(tokens), tokens=sum(tokens), seconds=seconds, disk=disk)


def _bytes_in(folder: Path) -> int:
    """Return the size of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
