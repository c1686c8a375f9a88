"""A run of a million samples, stage by stage, each in a process of its own; EXPO_BENCH_VOLUME sets another number.

200 samples a problem, each about 600 characters and 150 token ids. Seconds, also those of the processor, which tell
more where others compute too, and the peak of the resident set of the stage's process; its start and its imports count
in all three. Of "append" the calls alone are timed, since samples take longer to make up; of "view" one request. The
yardstick is `wc -l` on the same file, with the file in the page cache: what it takes to look at each byte once.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from expo_bench.config import EngineSpec, EvalConfig
from expo_bench.rows import Problem, Sample
from expo_bench.storage.row_files import Appender, packed, write_atomically
from expo_bench.storage.run_folder import RunFolder
from tests.benchmarks.figures import Figure

SAMPLES = 200
WORDS = ("we", "add", "two", "numbers", "carry", "one", "then", "check", "the", "sum", "again", "it", "must", "hold")
VIEWS = ("view: first page", "view: until all is read", "view: filter and sort", "view: search", "view: search again")
STAGES = ("append", "resume", "grade", "metrics", "report", *VIEWS, "pack", "resume packed")
GOALS = {
    "resume": "begins within 10 s", "resume packed": "begins within 10 s", "report": "below 5 MB",
    "view: first page": "below 1 s, 500 MB", "view: filter and sort": "below 2 s, 500 MB",
    "view: search": "first hits below 2 s, 500 MB", "view: search again": "below 2 s, 500 MB",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage took."""

    name: str
    seconds: float
    processor: float
    """Seconds, of its worker processes too."""
    peak: float
    """MiB, without its worker processes."""
    size: int | None
    """Bytes of the file that it wrote, where that is one that counts."""
    yardstick: float
    """Seconds of `wc -l`."""


def problems(n: int) -> list[Problem]:
    return [
        Problem(
            problem_id=f"volume-{number:012x}",
            benchmark="volume",
            split="test",
            question=f"What is {number} + {number % 97}?",
            answer=str(number + number % 97),
            level=number % 5 + 1,
        )
        for number in range(n)
    ]


def samples(problem: Problem, draw: random.Random) -> Iterator[Sample]:
    for index in range(SAMPLES):
        right = draw.random() < 0.3
        answer = problem.answer if right else str(draw.randrange(20))
        text = f"{' '.join(draw.choices(WORDS, k=125))} \\boxed{{{answer}}}"
        yield Sample(
            problem_id=problem.problem_id,
            sample_index=index,
            prompt_kind="solve",
            text=text,
            token_ids=tuple(draw.choices(range(50_000), k=150)),
            n_tokens=150,
            finish_reason="stop",
            seed=index,
            sum_logprob=-60.0 * draw.random(),
        )


def config(data: Path) -> EvalConfig:
    return EvalConfig(model="micro", benchmarks=(str(data),), n=SAMPLES)


def begin(run: RunFolder, n_problems: int) -> None:
    """Write what a run has before its first sample; its model is never loaded, since no sample is missing later."""
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.engines.choosing import open_engine
    from expo_bench.evaluation.planning import begin as write_manifest
    from expo_bench.evaluation.planning import plan

    data = run.path.parent / "volume.jsonl"
    rows = problems(n_problems)
    write_atomically(data, "".join(json.dumps({"question": row.question, "answer": row.answer}) + "\n" for row in rows))
    planned = plan(config(data), run.path)
    engine = open_engine(EngineSpec(engine="transformers", model="micro"))
    write_manifest(planned, engine.describe(), TerminalProgress())
    engine.close()


def append(run: RunFolder) -> dict[str, float]:
    draw = random.Random(0)
    seconds = processor = 0.0
    with Appender(run.samples_path) as rows:
        for problem in run.problems():
            made = list(samples(problem, draw))
            began, used = time.perf_counter(), time.process_time()
            for sample in made:
                rows.append([sample])
            seconds += time.perf_counter() - began
            processor += time.process_time() - used
    return {"seconds": seconds, "processor": processor}


def view(name: str, run: RunFolder) -> dict[str, float]:
    """Ask the workbench for the list of samples; of what comes before the request that is timed, nothing counts."""
    from expo_bench.evaluation.running import running_rate
    from expo_bench.reports.workbench.pages_of import Pages
    from expo_bench.reports.workbench.shelf import Shelf

    pages = Pages(Shelf(run.path.parent, running_rate))

    def ask(query: dict[str, list[str]], *, whole: bool) -> None:
        page = "so far"
        while "so far" in page:
            page = pages.page(f"{run.path.name}/samples.html", query) or ""
            if not whole:
                return

    search = {"q": ["two numbers"]}
    if name not in VIEWS[:2]:
        ask({}, whole=True)
    if name == VIEWS[4]:
        ask(search, whole=True)
    query = {} if name in VIEWS[:2] else search if "search" in name else {"verdict": ["correct"], "sort": ["-tokens"]}
    began, used = time.perf_counter(), time.process_time()
    ask(query, whole=name == VIEWS[1])
    return {"seconds": time.perf_counter() - began, "processor": time.process_time() - used}


def stage(name: str, run: RunFolder) -> None:
    """Carry out one stage and print what it tells of itself."""
    from expo_bench import reporting
    from expo_bench.evaluation import metrics
    from expo_bench.evaluation.planning import plan
    from expo_bench.grading import stage as grading
    from expo_bench.grading.judge import GRADER

    told: dict[str, float] = {}
    if name == "append":
        told = append(run)
    elif name.startswith("resume"):
        assert plan(config(run.path.parent / "volume.jsonl"), run.path).n_missing == 0
    elif name == "grade":
        grading.grade(run)
    elif name == "metrics":
        run.write_metrics(metrics.compute(run, grader=GRADER))
    elif name == "report":
        reporting.report([run], run.report_path, grader=GRADER)
    elif name in VIEWS:
        told = view(name, run)
    elif name == "pack":
        run.pack()
    # the peak that getrusage tells begins with that of the process that started this one
    status = Path("/proc/self/status").read_text()
    print(json.dumps({"peak": int(status.split("VmHWM:")[1].split()[0]) / 1024, **told}))


def timed(command: list[str]) -> tuple[float, float, str]:
    """Run a command; return its seconds, those of the processor, and what it printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def carry_out(n: int, folder: Path) -> Iterator[Stage]:
    """Make a run of n samples in the folder, stage by stage."""
    run = RunFolder(folder / "run")
    begin(run, n // SAMPLES)
    written = {"append": run.samples_path, "report": run.report_path, "pack": packed(run.samples_path)}
    for name in STAGES:
        seconds, processor, out = timed([sys.executable, "-m", "tests.benchmarks.volume", name, str(run.path)])
        plain = run.samples_path.exists()
        yardstick, _, _ = timed(["wc", "-l", str(run.samples_path if plain else packed(run.samples_path))])
        path = written.get(name)
        told = {"seconds": seconds, "processor": processor, **json.loads(out)}
        yield Stage(name=name, size=path.stat().st_size if path else None, yardstick=yardstick, **told)


def measure() -> list[Figure]:
    n = int(os.environ.get("EXPO_BENCH_VOLUME", 1_000_000))
    with tempfile.TemporaryDirectory() as folder:
        return [
            Figure(
                what=f"{one.name}, {n:,} samples",
                yardstick="wc -l of the samples",
                ratios=[one.seconds / one.yardstick],
                absolute=f"{one.seconds:.1f} s (processor {one.processor:.1f} s), {n / one.seconds:,.0f} samples/s, "
                f"peak {one.peak:,.0f} MiB" + (f", {one.size / 1e6:,.1f} MB" if one.size else ""),
                goal=GOALS.get(one.name, "below 1 GB"),
            )
            for one in carry_out(n, Path(folder))
        ]


if __name__ == "__main__":
    stage(sys.argv[1], RunFolder(sys.argv[2]))
