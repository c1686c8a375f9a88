"""`expo-bench compare`: the sharpening ledger of a base and what was trained from it."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expo_bench.commands import side_by_side
from expo_bench.errors import UserError

if TYPE_CHECKING:
    from expo_bench.ledger.compare import Ledger

_COLUMNS = ("new", "by chance", "base only", "both", "neither", "n", "pass@1, %", "pass@n, %", "SRR", "NDR", "k*")
_SPARE = [10, 9, 8, 4, 3, 5, 7]
_CAPTION = (
    "problems that the one, the other, both or neither solves in n samples; the change of pass@k stands below, "
    "with intervals for these problems and for problems like these"
)


def compare(
    base: Annotated[Path, typer.Argument(help="Run folder of the base.")],
    trained: Annotated[list[Path], typer.Argument(help="Run folders of trained models.")],
    controls: Annotated[
        list[str] | None,
        typer.Option(
            "--control",
            metavar="[NAME=]RUN",
            help="Run of the base at another temperature, or of a tempered copy; may be given again.",
        ),
    ] = None,
    guess: Annotated[Path | None, typer.Option(help="Run of the base that answers without a chain of thought.")] = None,
    likelihoods: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of candidates with likelihoods, for perplexities; may be given again."),
    ] = None,
    rank_bias: Annotated[
        bool, typer.Option("--rank-bias", help="Read every sample: are right samples the likely ones? Entropies, too.")
    ] = False,
    allow_different_protocol: Annotated[
        bool, typer.Option("--allow-different-protocol", help="Compare what was not measured alike.")
    ] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="No run is a base: which is better, on which problems, ranks of all.")
    ] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Draw fresh samples of the base where problems seem new. Resumable.")
    ] = False,
    confirm_samples: Annotated[int, typer.Option(min=1, help="With --confirm: of each such problem.")] = 1024,
    confirm_rate: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="With --confirm: what the base solves so often is not new.")
    ] = 1 / 256,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Draw rounds of samples of both until one is better. Resumable.")
    ] = False,
    round_samples: Annotated[int, typer.Option(min=1, help="With --until-decided: of each problem, a round.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="With --until-decided: at most.")] = 20,
    grader: Annotated[str | None, typer.Option(help="Whose grades.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the permutation tests.")] = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the ledger. [default: a name under results/]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ledger as one JSON object.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the runs can show and what would be drawn, and stop.")
    ] = False,
) -> None:
    """Sharpening or new problems? Compare each TRAINED run with BASE, problem by problem at the same budget."""
    from expo_bench.grading.judge import GRADER
    from expo_bench.ledger.compare import Request, write
    from expo_bench.ledger.compare import compare as build
    from expo_bench.reports.ledger_page import ledger_page

    if peers or until_decided:
        others = [controls, guess, likelihoods, rank_bias, confirm, peers and until_decided]
        if any(others):
            raise UserError("--peers and --until-decided compare runs without roles: give none of the other options")
        folder = out or Path("results") / _folder_name([base, *trained])
        if dry_run:
            request = Request(
                base=base,
                trained=tuple(trained),
                grader=grader or GRADER,
                allow_different_protocol=allow_different_protocol,
            )
            side_by_side.foresee(request, rounds=(rounds, round_samples) if until_decided else None)
            return
        if peers:
            side_by_side.peers([base, *trained], grader or GRADER, allow_different_protocol, seed, folder, as_json)
        else:
            side_by_side.until_decided(
                [base, *trained],
                grader or GRADER,
                round_samples,
                rounds,
                folder,
                allow_different_protocol=allow_different_protocol,
                as_json=as_json,
            )
        return
    names = dict(_named(text) for text in controls or ())
    request = Request(
        base=base,
        trained=tuple(trained),
        controls=tuple(names),
        guess=guess,
        grader=grader or GRADER,
        allow_different_protocol=allow_different_protocol,
        likelihoods=tuple(likelihoods or ()),
        with_rank_bias=rank_bias,
        names={path: name for path, name in names.items() if name},
        seed=seed,
    )
    if dry_run:
        side_by_side.foresee(request, confirm=confirm_samples if confirm else None)
        return
    ledger = build(request)
    folder = out or Path("results") / _folder_name([base, *trained, *names, *([guess] if guess else [])])
    if confirm:
        ledger = side_by_side.confirm(ledger, base, folder, confirm_samples, confirm_rate)
    write(ledger, folder)
    page = ledger_page(ledger.content, folder / "report.html")
    if as_json:
        typer.echo(json.dumps({"ledger": str(folder), **ledger.content}))
        return
    _print(ledger)
    typer.echo(f"report: {page}", err=True)
    typer.echo(str(folder))


def _named(text: str) -> tuple[Path, str | None]:
    """Return the run and the name that NAME=RUN gives it; a folder whose name holds "=" stays a folder."""
    name, equals, path = text.partition("=")
    return (Path(path), name) if equals and name and not Path(text).is_dir() else (Path(text), None)


def _folder_name(runs: list[Path]) -> str:
    """Return a name that the same runs find again, and other runs of the same names do not."""
    paths = [path.resolve() for path in runs]
    digest = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()[:8]
    return f"{'--'.join(['compare', *(path.name for path in paths)])[:100]}--{digest}"


def _print(ledger: "Ledger") -> None:
    from rich.console import Console

    from expo_bench.reports.ledger_views import sentences
    from expo_bench.reports.tables import Cell, Row, Table
    from expo_bench.reports.terminal import TerminalTable

    console = Console(stderr=True, highlight=False)
    for section in ledger.content["comparisons"]:
        rows = [
            Row(label=f"{name} ({numbers['n_problems']})", cells=[Cell(text=text) for text in _cells(numbers)])
            for name, numbers in section["subsets"].items()
        ]
        table = Table(caption=_CAPTION, head=["", *_COLUMNS], rows=rows)
        title = f"{section['trained']} against {section['base']}"
        console.print(TerminalTable(table, title=title, spare=_SPARE))
    for name, run in ledger.content["runs"].items():
        if told := _left_out(run):
            typer.echo(f"{name}: {told}", err=True)
        compared, gone = ledger.content["n_problems"], sum(run["problems_left_out"].values())
        if gone > compared:
            typer.echo(f"warning: of the {compared + gone} problems of {name} only {compared} are compared", err=True)
    for name, keys in ledger.content["protocol_differs_in"].items():
        typer.echo(f"{name}: protocol differs in {', '.join(keys) or 'its hash'}", err=True)
    for section in ledger.content["comparisons"]:
        typer.echo(section["verdict"]["sentence"], err=True)
        for caveat in section["verdict"].get("caveats", ()):
            typer.echo(f"  but: {caveat}", err=True)
        for sentence in sentences(section, ledger.content):
            typer.echo(f"  {sentence}", err=True)


def _cells(numbers: dict[str, Any]) -> list[str]:
    cells, curve = numbers["cells"], numbers["pass_at_k"]

    def change(at: int) -> str:
        return f"{100 * curve['base']['value'][at]:.1f} → {100 * curve['trained']['value'][at]:.1f}"

    def ratio(name: str) -> str:
        value = numbers[name]["value"]
        return "-" if value is None else f"{value:.2f}"

    k = numbers["crossover"]["k"]
    return [
        str(cells["trained_only"]),
        f"{numbers['null']['expected']:.1f}",
        *(str(cells[name]) for name in ("base_only", "both", "neither")),
        str(numbers["budget"]["smallest"]),
        change(0),
        change(-1),
        ratio("srr"),
        ratio("ndr"),
        "-" if k is None else str(k),
    ]


def _left_out(run: dict[str, Any]) -> str:
    statuses, problems = run["samples_by_status"], run["problems_left_out"]
    wrong = [f"{statuses[name]} {name}" for name in ("no_answer", "truncated", "copied") if statuses[name]]
    gone = [f"{statuses[name]} {name}" for name in ("timeout", "error", "bad_gold") if statuses[name]]
    parts = [f"{', '.join(wrong)} (not solved)"] if wrong else []
    parts += [f"left out: {', '.join(gone)} samples"] if gone else []
    parts += [f"{count} problems left out, {why}" for why, count in problems.items() if count]
    parts += [] if run["finished"] else ["the run is not finished"]
    return "; ".join(parts)
