"""Run folders with chosen verdicts, for tests of the sharpening ledger."""

from collections.abc import Sequence
from pathlib import Path

from expo_bench.grading.judge import GRADER
from expo_bench.rows import Candidate, Grade, Likelihood, Manifest, Problem, Sample
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

PROTOCOL = {"prompt": "boxed", "max_tokens": 64, "temperature": 1.0, "grader": GRADER}


def write_run(
    path: Path,
    outcomes: Sequence[str],
    *,
    levels: Sequence[int | None] | None = None,
    first: int = 0,
    logprobs: Sequence[float] | None = None,
    **protocol: object,
) -> Path:
    """Write a run: a string a problem, a letter a sample: + right, - wrong, n no answer, t time-out."""
    run = RunFolder(path)
    shared = {**PROTOCOL, **protocol}
    ids = [f"mine-{first + index:012d}" for index in range(len(outcomes))]
    run.write_manifest(
        Manifest(
            schema_version=1,
            status="finished",
            started="2026-03-02T09:12:44+00:00",
            finished="2026-03-02T09:58:01+00:00",
            protocol_hash=str(sorted(shared.items())),
            protocol=shared,
            model={"name": path.name},
            benchmarks={},
            seed=0,
            environment={},
            counts={"problems": len(outcomes), "samples": sum(map(len, outcomes))},
        )
    )
    run.write_problems(
        Problem(
            problem_id=problem_id,
            benchmark="mine",
            split="test",
            question=problem_id,
            answer="1",
            level=None if levels is None else levels[index],
        )
        for index, problem_id in enumerate(ids)
    )
    status = {"+": "graded", "-": "graded", "n": "no_answer", "t": "timeout"}
    with Appender(run.samples_path) as samples, Appender(run.grades_path(GRADER)) as grades:
        for problem_id, letters in zip(ids, outcomes, strict=True):
            for index, letter in enumerate(letters):
                samples.append(
                    [
                        Sample(
                            problem_id=problem_id,
                            sample_index=index,
                            prompt_kind="solve",
                            text="",
                            token_ids=None,
                            n_tokens=1,
                            finish_reason="stop",
                            seed=index,
                            sum_logprob=None if logprobs is None else logprobs[index],
                        )
                    ]
                )
                grades.append(
                    [
                        Grade(
                            problem_id=problem_id,
                            sample_index=index,
                            grader=GRADER,
                            status=status[letter],  # type: ignore[arg-type]
                            correct={"+": True, "-": False}.get(letter),
                            extracted=None,
                            answer_class=None,
                            seconds=0.0,
                        )
                    ]
                )
    return path


def candidate(name: str, source: str, policy: str | None) -> Candidate:
    return Candidate(
        problem_id="mine-000000000000",
        candidate_id=name,
        source=source,  # type: ignore[arg-type]
        text="",
        token_ids=None,
        finish_reason=None,
        reaches_answer=None,
        leaks_answer=None,
        repetitive=False,
        truncated=False,
        policy=policy,
    )


def likelihood(name: str, perplexity: float) -> Likelihood:
    return Likelihood(
        problem_id="mine-000000000000",
        candidate_id=name,
        policy="base",
        n_tokens=1,
        sum_logprob=-1.0,
        mean_logprob=-1.0,
        logprob_quantiles=(-1.0,) * 5,
        perplexity=perplexity,
        mean_entropy=None,
        rank=None,
        answer_logprob_with=-1.0,
        answer_logprob_without=-1.0,
        opening_logprob_with=-1.0,
        opening_logprob_without=-1.0,
        boundary_rule="",
    )
