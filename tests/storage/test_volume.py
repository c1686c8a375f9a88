"""Runs of any size: no stage holds the texts; a packed run serves as the plain one; a kill in packing loses nothing."""

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench import frames
from expo_bench.commands.cli import app
from expo_bench.config import EvalConfig
from expo_bench.engines.base import SamplingParams
from expo_bench.errors import UserError
from expo_bench.evaluation.metrics import compute
from expo_bench.evaluation.sampling import Sampling
from expo_bench.grading.judge import GRADER, Judge
from expo_bench.grading.stage import grade
from expo_bench.ledger.compare import Request, compare
from expo_bench.ledger.outcomes import read_outcomes
from expo_bench.prompts import BOXED
from expo_bench.reports.excerpts import draw
from expo_bench.reports.reporting import report
from expo_bench.settings import to_yaml
from expo_bench.storage.row_files import Appender, packed, read_keys
from tests import fakes
from tests.benchmarks.volume import carry_out
from tests.synthetic_runs import GRADER as SYNTHETIC
from tests.synthetic_runs import make_run

PROBLEMS, N, TEXT = 5, 100, "we add the two numbers and carry " * 1000


def peak(work: Callable[[], object]) -> int:
    """Return the bytes that the work had allocated at most, beyond what was there before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peaks(folder: Path, text: str) -> dict[str, int]:
    """Carry out the stages on samples with this text; return the most that each had allocated, in bytes."""
    run = make_run(folder, n_problems=PROBLEMS, n=1)
    run.samples_path.unlink()
    run.grades_path(SYNTHETIC).unlink()
    problems = list(run.problems())
    with Appender(run.samples_path) as rows:
        for problem in problems:
            rows.append(
                fakes.sample(0, index, problem_id=problem.problem_id, text=f"{text}\\boxed{{{index % 7}}}")
                for index in range(N)
            )
    answers = Sampling(prompt=BOXED, params=SamplingParams(temperature=1.0, top_p=1.0, max_tokens=16), n=N, seed=0)
    with Judge(workers=1) as judge:
        stages: dict[str, Callable[[], object]] = {
            "resume": lambda: answers.missing(run, problems),
            "grade": lambda: grade(run, judge=judge),
            "metrics": lambda: run.write_metrics(compute(run, grader=GRADER, draws=100)),
            "draw for the report": lambda: draw([run], GRADER),
            "pack": run.pack,
            "resume packed": lambda: answers.missing(run, problems),
        }
        return {name: peak(work) for name, work in stages.items()}


def test_no_stage_holds_the_texts(tmp_path: Path) -> None:
    # the first run takes what is imported on the way
    short = peaks(tmp_path / "short", TEXT[:100])
    long = peaks(tmp_path / "long", TEXT)
    growth = {name: long[name] - short[name] for name in long}
    assert {name: grown for name, grown in growth.items() if grown > PROBLEMS * N * len(TEXT) / 3} == {}


def test_a_packed_run_serves_as_the_plain_one(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / name, model=f"org/{name}", n_problems=10, n=4, seed=seed) for seed, name in enumerate("ab")
    ]

    def read() -> list[object]:
        page = report(runs, tmp_path / "report.html", grader=SYNTHETIC).read_bytes()
        wanted = Request(base=runs[0].path, trained=(runs[1].path,), grader=SYNTHETIC, with_rank_bias=True)
        table = frames.samples(runs[0], grader=SYNTHETIC)
        return [
            page,
            compare(wanted).rows,
            table.to_json(),
            compute(runs[0], grader=SYNTHETIC, draws=100),
            runs[0].graders(),
        ]

    plain = read()
    for run in runs:
        run.pack()
        assert not run.samples_path.exists()
    assert read() == plain
    packed(runs[0].grades_path(SYNTHETIC)).write_bytes(b"no zstd")
    with pytest.raises(UserError, match="cannot be read"):
        read_outcomes(runs[0].path, SYNTHETIC, "a")


def test_compress_packs_the_finished_run(tmp_path: Path) -> None:
    # all samples are there, so that no model is loaded
    run = make_run(tmp_path / "run", n_problems=3, n=2)
    run.config_path.write_text(to_yaml(EvalConfig(model="micro", benchmarks=("math500",), n=2)))

    def rows(*words: str) -> list[object]:
        found = CliRunner().invoke(app, ["eval", "--config", str(run.config_path), "-o", str(run.path), *words])
        assert found.exit_code == 0, found.exception
        return [list(run.samples()), list(run.grades(GRADER)), run.metrics()]

    plain = rows()
    assert run.samples_path.exists()
    assert rows("--compress") == plain
    files = [run.samples_path, *map(run.grades_path, run.graders())]
    assert [(path.exists(), packed(path).exists()) for path in files] == [(False, True)] * 3
    # nothing is added, so nothing is unpacked
    assert rows() == plain
    assert not run.samples_path.exists()


LOOP = """
import sys
from pathlib import Path
from expo_bench.storage.row_files import pack, unpack
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    pack(path)
    unpack(path)
"""


@pytest.mark.slow
def test_a_kill_in_packing_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with Appender(path) as rows:
        rows.append(fakes.sample(number, index, text=TEXT[:600]) for number in range(100) for index in range(200))
    whole = list(read_keys(path))
    forms = set()
    for number in range(20):
        with subprocess.Popen([sys.executable, "-c", LOOP, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(number * 0.017)
            process.kill()
        forms.add((path.exists(), packed(path).exists()))
        assert list(read_keys(path)) == whole
    assert len(forms) > 1, "all kills fell on the same moment"


@pytest.mark.slow
def test_a_million_samples_would_fit_into_a_gigabyte(tmp_path: Path) -> None:
    """What each process takes more for 40,000 samples than for 4,000, as a line to a million."""
    few, many = ({one.name: one for one in carry_out(n, tmp_path / str(n))} for n in (4_000, 40_000))
    for name, one in few.items():
        growth = max(0.0, many[name].peak - one.peak)
        assert one.peak + growth * (1_000_000 - 4_000) / 36_000 < 1000, (name, one, many[name])
    # ten times the samples, and nearly the same page: samples are drawn for it
    assert few["report"].size
    assert many["report"].size
    assert many["report"].size < min(5e6, 4 * few["report"].size)
