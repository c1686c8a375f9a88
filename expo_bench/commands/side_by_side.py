"""What `expo-bench compare` does beside its ledger: runs as peers, rounds until one is better, fresh samples."""

import hashlib
import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from expo_bench.commands.ending import stopped, terminated
from expo_bench.errors import UserError

if TYPE_CHECKING:
    from expo_bench.ledger.compare import Ledger, Request
    from expo_bench.storage.run_folder import RunFolder


def foresee(request: "Request", *, confirm: int | None = None, rounds: tuple[int, int] | None = None) -> None:
    """Print what each trained run can show beside the base, and how many samples would be drawn.

    Args:
        request: of the ledger.
        confirm: fresh samples of each problem that seems new, where they are asked for.
        rounds: at most so many rounds of so many samples a problem, where they are asked for.
    """
    import numpy as np

    from expo_bench.commands.dry_runs import shows
    from expo_bench.ledger.compare import matched
    from expo_bench.ledger.power import difficulty_of

    pairs = matched(request)
    for name, pair in pairs.items():
        n, problems = int(pair.n.min()), len(pair.n)
        told = shows(difficulty_of(pair.base_n, pair.base_c), problems, n) or "nothing: it is one problem"
        typer.echo(f"{name}: {problems} problems x {n} samples show {told}")
    if confirm is not None:
        new = [(pair.base_first == 0) & (pair.trained_first > 0) for pair in pairs.values()]
        count = int(np.any(new, axis=0).sum())
        typer.echo(f"--confirm: {count} problems seem new, {confirm * count:,} samples of {request.base}")
    if rounds is not None:
        many, samples = rounds
        problems = len(next(iter(pairs.values())).n)
        typer.echo(f"--until-decided: at most {many} rounds, {2 * many * samples * problems:,} samples of both")


def peers(
    paths: Sequence[Path], grader: str, allow_different_protocol: bool, seed: int, folder: Path, as_json: bool
) -> None:
    """Rank the runs, write peers.json and the page, and print the table."""
    from expo_bench.ledger.peers import rank
    from expo_bench.reports.peers_page import peers_page
    from expo_bench.storage.row_files import write_atomically

    content = rank(paths, grader=grader, allow_different_protocol=allow_different_protocol, seed=seed)
    write_atomically(folder / "peers.json", json.dumps(content, indent=1, allow_nan=False))
    page = peers_page(content, folder / "report.html")
    if as_json:
        typer.echo(json.dumps({"peers": str(folder), **content}))
        return
    _print_peers(content)
    typer.echo(content["sentence"], err=True)
    typer.echo(f"report: {page}", err=True)
    typer.echo(str(folder))


def _print_peers(content: dict[str, Any]) -> None:
    from rich.console import Console

    from expo_bench.reports.peers_page import rank_table
    from expo_bench.reports.terminal import TerminalTable

    found = rank_table(content)
    head = [text.replace(", ", ",\n").replace(" like", "\nlike") for text in found.head]
    Console(stderr=True, highlight=False).print(
        TerminalTable(replace(found, head=head), title="Which is better?", spare=[0, 5, 3, 2])
    )


def confirm(ledger: "Ledger", base: Path, folder: Path, samples: int, rate: float) -> "Ledger":
    """Draw fresh samples of the base on the problems that seem new, and return the ledger with what they say."""
    from expo_bench.ledger.compare import new_problems, with_confirmation

    problems = new_problems(ledger)
    if not problems:
        typer.echo("nothing to confirm: no trained model solved a problem that the base did not", err=True)
        return ledger
    name = hashlib.sha256("\n".join(problems).encode()).hexdigest()[:8]
    fresh = _draw(base, folder / f"confirmation-{name}", samples, 1, problems)
    return with_confirmation(ledger, fresh.path, rate)


def until_decided(
    paths: Sequence[Path],
    grader: str,
    samples: int,
    rounds: int,
    folder: Path,
    *,
    allow_different_protocol: bool,
    as_json: bool,
) -> None:
    """Draw rounds of both runs until the evidence decides; write rounds.json after each."""
    from expo_bench.ledger.sequential import check_alike, count_pairs, told
    from expo_bench.storage.row_files import write_atomically

    if len(paths) != 2:
        raise UserError("--until-decided takes two runs: name the two between which to decide")
    one, other = paths
    check_alike(one, other, allow_different_protocol)
    names = (one.name, other.name) if one.name != other.name else (str(one), str(other))
    counted = [count_pairs(one, other, grader)]
    found = told(counted, names)
    while not found["decided"] and len(counted) <= rounds:
        stream = 1 + len(counted)
        typer.echo(f"round {len(counted)}: {found['sentence']}", err=True)
        drawn = [
            _draw(path, folder / f"round-{len(counted)}-{side}", samples, stream, None)
            for side, path in (("one", one), ("other", other))
        ]
        counted.append(count_pairs(drawn[0].path, drawn[1].path, grader))
        found = told(counted, names)
        write_atomically(folder / "rounds.json", json.dumps(found, indent=1))
    write_atomically(folder / "rounds.json", json.dumps(found, indent=1))
    if as_json:
        typer.echo(json.dumps({"rounds_of": list(names), **found}))
        return
    typer.echo(found["sentence"], err=True)
    typer.echo(str(folder))


def _draw(source: Path, folder: Path, samples: int, stream: int, problems: Sequence[str] | None) -> "RunFolder":
    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.evaluation.more import more_samples

    signal.signal(signal.SIGTERM, terminated)
    try:
        with TerminalProgress() as progress:
            return more_samples(
                source, folder, n=samples, stream=stream, problem_ids=problems and set(problems), progress=progress
            )
    except KeyboardInterrupt:
        stopped()
