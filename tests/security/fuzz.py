"""A hundred thousand random inputs to each thing that reads what others wrote; hypothesis costs more than the readers.

python -m tests.security.fuzz [INPUTS] writes its table into docs/reliability.md.
"""

import datetime
import math
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.security import checks
from tests.security.checks import GOOD_ROWS, GOOD_SETTINGS, JSON_PIECES, KEYS, PIECES, ROWS, WORDS, YAML_PIECES

PAGE = Path("docs/reliability.md")
BEGIN, END = "<!-- fuzz: written by python -m tests.security.fuzz -->", "<!-- end of fuzz -->"
LIMIT_SECONDS = 1.0
"""Of processor time, since others may use the machine; what takes 30 s by the clock counts as hanging."""
HANGS_SECONDS = 30

Draw = random.Random


def text(draw: Draw, most: int, surrogates: bool = False) -> str:
    """Letters, signs of any script and, where wanted, halves of surrogate pairs."""
    tops = (0x7F, 0x7F, 0xFF, 0xD7FF, 0x10FFFF)
    points = (draw.randrange(draw.choice(tops) + 1) for _ in range(draw.randrange(most + 1)))
    return "".join(chr(one) for one in points if surrogates or not 0xD800 <= one < 0xE000)


def completion(draw: Draw) -> str:
    kind = draw.randrange(5)
    if kind == 0:
        return "".join(draw.choices(PIECES, k=draw.randrange(61)))
    if kind == 1:
        parts = (draw.choice(PIECES) if draw.random() < 0.6 else text(draw, 8) for _ in range(draw.randrange(41)))
        return "".join(parts)
    if kind == 2:
        return draw.choice(PIECES) * draw.randrange(1, 3001)
    if kind == 3:
        return "".join(draw.choices(PIECES, k=draw.randrange(2, 6))) * draw.randrange(1, 500)
    return text(draw, 200, surrogates=True)


def number(draw: Draw) -> float:
    special = (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7e308, 0.1, 1e16)
    return draw.choice(special) if draw.random() < 0.3 else draw.uniform(-1, 1) * 10.0 ** draw.randrange(-300, 300)


def value(draw: Draw, depth: int = 0) -> Any:
    kind = draw.randrange(10 if depth < 3 else 8)
    if kind == 8:
        return [value(draw, depth + 1) for _ in range(draw.randrange(5))]
    if kind == 9:
        return {text(draw, 5): value(draw, depth + 1) for _ in range(draw.randrange(5))}
    makers: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: draw.random() < 0.5,
        lambda: draw.randrange(-20, 20) if draw.random() < 0.5 else draw.randrange(-(2**70), 2**70),
        lambda: number(draw),
        lambda: text(draw, 20, surrogates=True),
        lambda: datetime.date(draw.randrange(1, 10_000), 1, 1),
        lambda: draw.randbytes(draw.randrange(6)),
        lambda: draw.choice(WORDS),
    )
    return makers[kind]()


def settings(draw: Draw) -> tuple[dict[Any, Any], list[str]]:
    """Settings of which most have values that fit, so that what comes after their types is reached, too."""
    names = [draw.choice(KEYS) if draw.random() < 0.9 else text(draw, 8) for _ in range(draw.randrange(6))]
    overrides = []
    for _ in range(draw.randrange(3)):
        name = draw.choice(KEYS)
        setting = f"{name}={draw.choice((draw.choice(YAML_PIECES), fitting(draw, name), value(draw)))}"
        overrides.append(setting if draw.random() < 0.8 else text(draw, 30))
    return {name: fitting(draw, name) if draw.random() < 0.8 else value(draw) for name in names}, overrides


def fitting(draw: Draw, name: str) -> Any:
    good = GOOD_SETTINGS.get(name)
    if isinstance(good, bool):
        return draw.random() < 0.5
    if isinstance(good, int):
        return draw.choice((-1, 0, 1, 2, 2**31, 2**64, 10**30))
    if isinstance(good, float):
        return number(draw)
    return draw.choice((good, text(draw, 20, surrogates=True), [text(draw, 20, surrogates=True)], None))


def settings_file(draw: Draw) -> tuple[bytes]:
    if draw.random() < 0.2:
        return (draw.randbytes(draw.randrange(100)),)
    return ("".join(draw.choices(YAML_PIECES, k=draw.randrange(31))).encode(),)


def row_file(draw: Draw) -> tuple[bytes, Any]:
    """A good row with a few bytes changed, the like of JSON, or anything."""
    kind = draw.randrange(3)
    line = bytearray(draw.choice(GOOD_ROWS))
    if kind == 0:
        for _ in range(draw.randrange(1, 5)):
            at = draw.randrange(len(line) or 1)
            new = draw.choice(JSON_PIECES) if draw.random() < 0.5 else draw.randbytes(draw.randrange(5))
            line[at : at + draw.randrange(7)] = new
    elif kind == 1:
        line = bytearray(b"".join(draw.choices(JSON_PIECES, k=draw.randrange(41))) + b"\n")
    else:
        line = bytearray(draw.randbytes(draw.randrange(201)) + b"\n")
    return bytes(line), draw.choice(ROWS)


TARGETS: dict[str, tuple[Callable[[Draw], tuple[Any, ...]], Callable[..., None], bool]] = {
    "answers: extraction": (lambda draw: (completion(draw), draw.random() < 0.5), checks.extraction, False),
    "chains: leaks, repetition, the part before the answer": (
        lambda draw: (completion(draw), draw.choice(("5", "", text(draw, 6))), text(draw, 20)),
        checks.rules_for_chains,
        False,
    ),
    "settings and overrides": (settings, checks.settings, True),
    "settings files (YAML)": (settings_file, checks.settings_file, True),
    "files of rows, nine kinds": (row_file, checks.row_file, True),
    "rows, written and read back": (
        lambda draw: (text(draw, 200), draw.randrange(2**40), number(draw)),
        checks.written_row,
        True,
    ),
}
"""Name -> what draws an input, what must hold for it, and whether that needs a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of the inputs of a target."""

    target: str
    inputs: int
    failures: list[str]
    median: float
    """Seconds of processor time."""
    slowest: float


def run(target: str, inputs: int, file: Path, seed: int = 0) -> Found:
    """Give a target that many inputs; input number i depends on the seed, the target and i alone."""
    make, check, wants_file = TARGETS[target]
    failures: list[str] = []
    seconds = []

    def hangs(*_: Any) -> None:
        raise TimeoutError(f"{HANGS_SECONDS} s have passed")

    signal.signal(signal.SIGALRM, hangs)
    for at in range(inputs):
        given = make(random.Random(f"{seed}/{target}/{at}"))
        signal.alarm(HANGS_SECONDS)
        began = time.process_time()
        try:
            check(*([file] if wants_file else []), *given)
        except Exception as error:
            failures.append(f"input {at}: {type(error).__name__}: {error}")
        seconds.append(time.process_time() - began)
        signal.alarm(0)
        if seconds[-1] > LIMIT_SECONDS:
            failures.append(f"input {at} takes {seconds[-1]:.1f} s")
    return Found(
        target=target,
        inputs=inputs,
        failures=failures,
        median=statistics.median(seconds),
        slowest=max(seconds),
    )


def _job(target: str, inputs: int) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        return run(target, inputs, Path(folder) / "input")


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    lines = ["| what reads | inputs | failures | median, ms | slowest, ms |", "|---|---|---|---|---|"]
    with ProcessPoolExecutor(2) as pool:
        for found in pool.map(_job, TARGETS, [inputs] * len(TARGETS)):
            lines.append(
                f"| {found.target} | {found.inputs:,} | {len(found.failures)} | {1000 * found.median:.2f} "
                f"| {1000 * found.slowest:.0f} |"
            )
            print(lines[-1], *found.failures[:20], sep="\n", flush=True)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{chr(10).join(lines)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
