"""The problems that a policy misses: `python -m analysis.zero_set RUN ... -o FOLDER`.

RUN is a finished run of `expo-bench eval`, with samples enough that missing a problem means something (16); several
are of other problems, or more samples of the same ones. Writes FOLDER/train.jsonl and FOLDER/held_out.jsonl, the missed
problems dealt out by their ids, as files that recipes and evaluations take for a benchmark. Problems with a sample
whose grade cannot be told are left out.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from expo_bench import GRADER, TELLING, Problem, RunFolder, UserError

HELD_OUT_SHARE = 0.3


def missed(runs: Sequence[RunFolder]) -> list[Problem]:
    """Return the problems of which every sample of every run is wrong or without an answer, in the runs' order.

    Raises:
        UserError: a run is not finished.
    """
    problems: dict[str, Problem] = {}
    hopeful: set[str] = set()
    for run in runs:
        if run.read_manifest().status != "finished":
            raise UserError(f"{run.path} is not finished: give its command again")
        problems |= {problem.problem_id: problem for problem in run.problems() if problem.answer}
        hopeful |= {row.problem_id for row in run.grades(GRADER) if row.correct or row.status not in TELLING}
    return [problem for key, problem in problems.items() if key not in hopeful]


def is_held_out(problem: Problem) -> bool:
    """Tell whether a problem is kept for evaluation: by a digest of its id, so that a larger run changes none."""
    digest = hashlib.sha256(f"zero set {problem.problem_id}".encode()).digest()
    return int.from_bytes(digest[:4]) < HELD_OUT_SHARE * 2**32


def write(problems: Sequence[Problem], path: Path) -> None:
    """Write problems in the shape of a user's own benchmark."""
    rows = []
    for one in problems:
        fields = {"question": one.question, "answer": one.answer, "solution": one.solution, "level": one.level}
        rows.append(json.dumps({key: value for key, value in fields.items() if value is not None}, ensure_ascii=False))
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write both files and say how many problems they hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/zero-set"))
    given = parser.parse_args()
    try:
        found = missed([RunFolder(path) for path in given.runs])
    except UserError as error:
        parser.exit(2, f"{error}\n")
    given.out.mkdir(parents=True, exist_ok=True)
    for name, kept in (("train", False), ("held_out", True)):
        chosen = [problem for problem in found if is_held_out(problem) is kept]
        write(chosen, given.out / f"{name}.jsonl")
        print(f"{given.out / f'{name}.jsonl'}: {len(chosen)} problems")


if __name__ == "__main__":
    main()
