"""Time of the sharpening ledger from run folders of 5,000 problems x 256 samples x 2 models.

The yardstick is the reading of the same grades alone, by pyarrow's JSON reader on all cores; the ledger reads them, and
computes outcomes, pass@k of all k with intervals, flows and verdicts.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.json

from expo_bench.ledger.compare import Request, compare, write
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder
from tests.benchmarks.figures import Figure, against, ratios
from tests.synthetic_runs import GRADER, make_run

PROBLEMS, SAMPLES, ROUNDS = 5000, 256, 3


def write_run(path: Path, rates: np.ndarray, seed: int) -> None:
    """Write a run whose problems are solved at these rates; one sample in fifty has no answer."""
    run = make_run(path, n_problems=len(rates), n=1, seed=seed)
    rng = np.random.default_rng(seed)
    ids = [problem.problem_id for problem in run.problems()]
    write_atomically(run.grades_path(GRADER), (_lines(name, rate, rng) for name, rate in zip(ids, rates, strict=True)))
    manifest = run.read_manifest()
    run.write_manifest(replace(manifest, counts={**manifest.counts, "samples": len(rates) * SAMPLES}))


def _lines(problem_id: str, rate: float, rng: np.random.Generator) -> bytes:
    right, answered = rng.random(SAMPLES) < rate, rng.random(SAMPLES) > 0.02
    return "".join(
        f'{{"problem_id":"{problem_id}","sample_index":{index},"grader":"{GRADER}",'
        + (
            f'"status":"graded","correct":{str(bool(right[index])).lower()},"extracted":"15","answer_class":{index},'
            if answered[index]
            else '"status":"no_answer","correct":null,"extracted":null,"answer_class":null,'
        )
        + '"seconds":0.0}\n'
        for index in range(SAMPLES)
    ).encode()


def plain(paths: list[Path]) -> float:
    """Return the seconds in which pyarrow reads the rows that the ledger is made of."""
    began = time.perf_counter()
    rows = sum(pyarrow.json.read_json(RunFolder(path).grades_path(GRADER)).num_rows for path in paths)
    assert rows == len(paths) * PROBLEMS * SAMPLES
    return time.perf_counter() - began


def ledger(paths: list[Path], out: Path) -> float:
    began = time.perf_counter()
    write(compare(Request(base=paths[0], trained=(paths[1],), grader=GRADER)), out)
    return time.perf_counter() - began


def measure() -> list[Figure]:
    rng = np.random.default_rng(0)
    base = rng.beta(0.3, 1.0, size=PROBLEMS)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("base", "trained")]
        for path, rates, seed in zip(paths, (base, np.sqrt(base)), (1, 2), strict=True):
            write_run(path, rates, seed)
        turns = [(ledger(paths, Path(folder) / "ledger"), plain(paths)) for _ in range(ROUNDS)]
    ours, theirs = zip(*turns, strict=True)
    return [
        Figure(
            what="time of compare, 2 x 1.28 million grades",
            yardstick="their reading alone, by pyarrow.json",
            ratios=ratios(ours, theirs),
            absolute=against(ours, theirs, "s", 2),
            goal="at most 10 s",
        )
    ]
