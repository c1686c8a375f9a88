"""Time of the sharpening ledger from run folders: 5,000 problems x 256 samples x 2 models."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from expo_bench.compare import Request, compare, write
from expo_bench.store import write_atomically
from tests.synthetic_runs import GRADER, make_run

PROBLEMS, SAMPLES = 5000, 256


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


def measure() -> list[tuple[str, float, str]]:
    """Return name, figure and detail of each measurement."""
    rng = np.random.default_rng(0)
    base = rng.beta(0.3, 1.0, size=PROBLEMS)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("base", "trained")]
        for path, rates, seed in zip(paths, (base, np.sqrt(base)), (1, 2), strict=True):
            write_run(path, rates, seed)
        began = time.perf_counter()
        ledger = compare(Request(base=paths[0], trained=(paths[1],), grader=GRADER))
        write(ledger, Path(folder) / "ledger")
        seconds = time.perf_counter() - began
        subsets = len(ledger.content["comparisons"][0]["subsets"])
    detail = f"{PROBLEMS} problems x {SAMPLES} samples x 2 models from run folders, {subsets} subsets, all k"
    return [("compare: seconds (at most 10)", seconds, detail)]


if __name__ == "__main__":
    for name, figure, detail in measure():
        print(f"{name}: {figure:.2f} ({detail})")
