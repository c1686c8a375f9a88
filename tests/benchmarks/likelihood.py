"""Candidate tokens scored a second, and memory, against lm-evaluation-harness's `hf` backend on the same token ids.

SmolLM2-135M-Instruct in bfloat16, 16 MATH-500 problems x 8 candidates of 64 to 256 tokens: the expert's solution and
the beginnings of other problems' solutions. The harness takes the batch size that is best for it on this machine (the
first round tries several). Once with the plain question, once behind four worked problems; then the fewer problems
suffice. Memory is the peak of the resident set beyond that of the loaded model, each side in a process of its own.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from expo_bench import problems
from expo_bench.config import EngineSpec
from expo_bench.engines.base import Continuation, ScoreRequest
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.likelihood.scoring import likelihoods
from expo_bench.prompts import BOXED, Message
from expo_bench.rows import Candidate, Problem
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests.benchmarks.figures import Figure, against, ratios
from tests.benchmarks.generation import MODEL, benchmark

CANDIDATES, SHOTS, ROUNDS = 8, 4, 3
PROBLEMS = {0: 16, SHOTS: 4}
BATCH_SIZES = (1, 4, 8, 16)


def requests(tokenizer: Any, shots: int) -> list[ScoreRequest]:
    """Return the prompts and their candidates, all of them token ids."""
    loaded = problems.load(benchmark()).problems
    worked = [turn for problem in loaded[16 : 16 + shots] for turn in _worked(problem)]
    return [
        ScoreRequest(
            problem_id=problem.problem_id,
            messages=(*worked, *BOXED.messages(problem)),
            continuations=tuple(
                Continuation(key=str(index), token_ids=tuple(_chain(tokenizer, loaded, number, index)))
                for index in range(CANDIDATES)
            ),
        )
        for number, problem in enumerate(loaded[: PROBLEMS[shots]])
    ]


def _worked(problem: Problem) -> tuple[Message, ...]:
    return (*BOXED.messages(problem), Message(role="assistant", content=problem.solution or problem.answer))


def _chain(tokenizer: Any, loaded: list[Problem], number: int, index: int) -> list[int]:
    text = loaded[(number + 20 * index) % len(loaded)].solution or ""
    length = 64 + 37 * (CANDIDATES * number + index) % 193
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"][:length]
    return ids


def ours(engine: TransformersEngine, asked: list[ScoreRequest]) -> list[float]:
    """Return the sum of each candidate's log-probabilities, in the order of the requests."""
    found = {(one.problem_id, one.key): float(one.logprobs.sum()) for one in engine.score(asked)}
    return [found[request.problem_id, one.key] for request in asked for one in request.continuations]


def theirs(backend: Any, asked: list[ScoreRequest]) -> list[float]:
    """As `ours`. What `loglikelihood` does with texts before it has token ids is left out."""
    rows = [
        (("", ""), prompt_ids(backend.tokenizer, request), list(one.token_ids))
        for request in asked
        for one in request.continuations
    ]
    return [total for total, _ in backend._loglikelihood_tokens(rows, disable_tqdm=True)]


def open_backend(size: int = 1) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=MODEL, dtype="bfloat16", device="cpu", batch_size=size)


def open_engine() -> TransformersEngine:
    return TransformersEngine(EngineSpec(model=MODEL, dtype="bfloat16", engine_options={"device": "cpu"}))


def measure() -> list[Figure]:
    engine, backend = open_engine(), open_backend()
    rows = []
    for shots in PROBLEMS:
        size, row = _speed(engine, backend, shots)
        rows += [row, _memory(shots, size)]
    print(f"the whole stage, with answer slots: {_stage(engine):.0f} candidate tokens/s", file=sys.stderr, flush=True)
    return rows


def _speed(engine: TransformersEngine, backend: Any, shots: int) -> tuple[int, Figure]:
    """Return the harness's best batch size, and the speeds."""
    asked = requests(engine._tokenizer, shots)
    tokens = sum(len(one.token_ids) for request in asked for one in request.continuations)

    def speed(score: Any, side: Any) -> float:
        begin = time.perf_counter()
        score(side, asked)
        return tokens / (time.perf_counter() - begin)

    speeds = {}
    for size in BATCH_SIZES:
        backend.batch_size_per_gpu = size
        speeds[size] = speed(theirs, backend)
        print(f"lm-evaluation-harness at batch {size}, {shots} shots: {speeds[size]:.0f} tokens/s", file=sys.stderr)
    best = backend.batch_size_per_gpu = max(speeds, key=lambda size: speeds[size])
    gaps = [abs(mine - other) for mine, other in zip(ours(engine, asked), theirs(backend, asked), strict=True)]
    print(f"the sums of a candidate differ by {sum(gaps) / tokens:.4f} nats a token", file=sys.stderr, flush=True)
    mine, other = zip(*[(speed(ours, engine), speed(theirs, backend)) for _ in range(ROUNDS)], strict=True)
    return best, Figure(
        what=f"speed of likelihood, {_name(shots)}",
        yardstick=f"lm-evaluation-harness 0.4.13 hf, batch {best}",
        ratios=ratios(mine, other),
        absolute=against(mine, other, "candidate tokens/s"),
        goal=f"at least {2 if shots else 1.4}",
    )


def _name(shots: int) -> str:
    return f"behind {shots} worked problems" if shots else "behind the question"


def _memory(shots: int, size: int) -> Figure:
    """Return the ratio of the peaks beyond the loaded model, the harness at its best batch size."""
    mine, other = (_peak_in_a_child(side, shots, size) for side in ("ours", "theirs"))
    return Figure(
        what=f"peak memory of likelihood, {_name(shots)}",
        yardstick=f"lm-evaluation-harness 0.4.13 hf, batch {size}",
        ratios=[mine / other],
        absolute=f"{mine:.0f} against {other:.0f} MiB beyond the loaded model",
        goal="at most 0.5",
    )


def _peak_in_a_child(*words: Any) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.likelihood", *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def peak(side: str, shots: int, size: int) -> float:
    """Return the MiB by which this process grows at most while it scores."""
    scorer: Any = open_engine() if side == "ours" else open_backend(size)
    score: Any = ours if side == "ours" else theirs
    asked = requests(scorer._tokenizer if side == "ours" else scorer.tokenizer, shots)
    # weights that are mapped from their file are there once they were read
    score(scorer, [replace(asked[0], continuations=(Continuation(key="warm", token_ids=(1, 2)),))])
    Path("/proc/self/clear_refs").write_text("5")
    loaded = _resident("VmRSS")
    score(scorer, asked)
    return _resident("VmHWM") - loaded


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _stage(engine: TransformersEngine) -> float:
    """Return the candidate tokens a second of the stage that scores chains and answers."""
    loaded = problems.load(benchmark()).problems
    asked = requests(engine._tokenizer, 0)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        run.write_problems(loaded[: PROBLEMS[0]])
        with Appender(run.candidates_path) as rows:
            rows.append(
                _candidate(engine, request.problem_id, one) for request in asked for one in request.continuations
            )
        begin = time.perf_counter()
        likelihoods(run, engine, policy=MODEL, prompt=BOXED)
        seconds = time.perf_counter() - begin
        return sum(row.n_tokens for row in run.likelihoods(MODEL)) / seconds


def _candidate(engine: TransformersEngine, problem_id: str, one: Continuation) -> Candidate:
    return Candidate(
        problem_id=problem_id,
        candidate_id=f"imported-{one.key}",
        source="imported",
        text=engine._tokenizer.decode(one.token_ids),
        token_ids=None,
        finish_reason=None,
        reaches_answer=None,
        leaks_answer=None,
        repetitive=False,
        truncated=False,
        policy=None,
    )


if __name__ == "__main__":
    print(peak(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
