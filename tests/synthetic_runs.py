"""Run folders made by hand, for tests of what reads them."""

import random
from pathlib import Path

from expo_bench.evaluation.metrics import compute
from expo_bench.rows import Grade, Manifest, Problem, Sample
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder

GRADER = "math-verify"
HOSTILE = (
    "</script><script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "<svg/onload=document.title='pwned'>",
    '"><iframe src="javascript:document.title=\'pwned\'"></iframe>',
    '[a](javascript:alert(1)) <a href="javascript:document.title=1">x</a>',
    "{{ 7 * 7 }} {% raw %} ${7*7} <!-- --> ]]> </style></pre></details>",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f next line \x85 \ufffe",
    "right to left \u202e gnp.exe \u2066 isolate \u200f mark",
    "emoji 👩‍👩‍👧‍👦 🧮, combining Z̸̡̛͙a̴͇͝, 漢字, عربي",
    "W" * 3000,
)


def make_run(
    path: Path,
    *,
    model: str = "org/tiny-model",
    engine: str = "transformers",
    benchmarks: tuple[str, ...] = ("math500",),
    n_problems: int = 50,
    n: int = 8,
    levels: int = 5,
    skill: float = 0.9,
    max_tokens: int = 256,
    finished: bool = True,
    digest_status: str = "match",
    texts: tuple[str, ...] = (),
    seed: int = 0,
) -> RunFolder:
    """Write a run whose success falls with the level; `texts` go into every place that holds foreign text."""
    rng = random.Random(seed)
    run = RunFolder(path)
    problems = [_problem(b, i, levels, texts) for b in benchmarks for i in range(n_problems)]
    protocol = {
        "prompt": "boxed",
        "prompt_digest": "0a1b2c3d4e5f",
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": max_tokens,
        "stop": [],
        "enable_thinking": None,
        "thinking_tokens": None,
        "grader": GRADER,
        **({"note": texts[0]} if texts else {}),
    }
    run.write_manifest(
        Manifest(
            schema_version=1,
            status="finished" if finished else "started",
            started="2026-03-02T09:12:44+00:00",
            finished="2026-03-02T09:58:01+00:00" if finished else None,
            protocol_hash=f"{max_tokens:012x}",
            protocol=protocol,
            model={
                "name": model,
                "revision": "9a8b7c6d",
                "weights_digest": "3f" * 16,
                "engine": engine,
                "engine_version": "1.2.3",
                "dtype": "bfloat16",
            },
            benchmarks={
                b: {
                    "split": "test",
                    "revision": "main",
                    "digest": "ab12cd34",
                    "n_problems": n_problems,
                    "digest_status": digest_status,
                }
                for b in benchmarks
            },
            seed=seed,
            environment={
                "python": "3.11.9",
                "packages": {"torch": "2.13.0"},
                "processor": "8 cores",
                "git_commit": "f" * 40,
            },
            counts={"problems": len(problems), "samples": len(problems) * n},
        )
    )
    run.write_problems(problems)
    with Appender(run.samples_path) as samples, Appender(run.grades_path(GRADER)) as grades:
        for problem in problems:
            ease = skill / (problem.level or 2) * rng.random() ** 0.7 * 1.4
            pairs = [_sample(problem, index, ease, max_tokens, rng, texts) for index in range(n)]
            samples.append(sample for sample, _ in pairs)
            grades.append(grade for _, grade in pairs)
    run.write_metrics(compute(run, grader=GRADER, draws=500))
    return run


def _problem(benchmark: str, index: int, levels: int, texts: tuple[str, ...]) -> Problem:
    foreign = texts[index % len(texts)] if texts else ""
    return Problem(
        problem_id=f"{benchmark}-{index:012x}",
        benchmark=benchmark,
        split="test",
        question=f"{foreign}Let $f(x) = {index}x^2 + 3x - 7$. What is the sum of the two roots of $f$, "
        "as a fraction in lowest terms?",
        answer=foreign or f"-\\frac{{3}}{{{index}}}",
        solution=f"By Vieta, the sum is $-b/a$.\n{foreign}",
        level=index % levels + 1 if levels else None,
        subject=foreign or ("Algebra", "Counting & Probability", "Geometry")[index % 3],
        domain=(foreign,) if foreign else (),
        source="made up",
    )


def _sample(
    problem: Problem, index: int, ease: float, max_tokens: int, rng: random.Random, texts: tuple[str, ...]
) -> tuple[Sample, Grade]:
    draw = rng.random()
    status = "truncated" if draw < 0.04 * (problem.level or 2) else "no_answer" if draw > 0.95 else "graded"
    if status == "graded" and draw > 0.945:
        status = "timeout" if draw > 0.948 else "error"
    correct = rng.random() < ease if status == "graded" else None
    answer = problem.answer if correct else str(rng.randrange(30))
    body = "We use the quadratic formula and simplify step by step.\n" * rng.randint(2, 120)
    foreign = texts[(index + len(problem.problem_id)) % len(texts)] if texts else ""
    n_tokens = max_tokens if status == "truncated" else rng.randint(20, max_tokens - 1)
    sample = Sample(
        problem_id=problem.problem_id,
        sample_index=index,
        prompt_kind="solve",
        text=body if status == "truncated" else f"{foreign}{body}So the answer is \\boxed{{{answer}}}.{foreign}",
        token_ids=None,
        n_tokens=n_tokens,
        finish_reason="error" if status == "error" else "length" if status == "truncated" else "stop",
        seed=index,
        sum_logprob=-0.4 * n_tokens * rng.random(),
        error=f"engine said: {foreign}" if status == "error" else None,
    )
    grade = Grade(
        problem_id=problem.problem_id,
        sample_index=index,
        grader=GRADER,
        status=status,  # type: ignore[arg-type]
        correct=correct,
        extracted=answer if status == "graded" else None,
        answer_class=index if status == "graded" else None,
        seconds=0.01,
    )
    return sample, grade
