"""`expo-bench plan`: what a comparison will be able to show, before a sample is drawn."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expo_bench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expo_bench.ledger.power import Seen

EXAMPLE = "expo-bench plan --problems 30 --mean 0.2"
_BAR = 40


def plan(
    run: Annotated[
        Path | None, typer.Argument(help="An old run or a pilot: its problems and their difficulty.")
    ] = None,
    problems: Annotated[
        int | None, typer.Option(min=2, help="How many problems. [default: those of RUN]", show_default=False)
    ] = None,
    mean: Annotated[float, typer.Option(min=0.001, max=0.999, help="Without RUN: pass@1 that you expect.")] = 0.33,
    spread: Annotated[
        float, typer.Option(min=0.05, help="Without RUN: a + b of the Beta law of difficulties; small is extreme.")
    ] = 1.5,
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of the never solved problems that become solvable.")
    ] = 0.1,
    to: Annotated[float, typer.Option(min=0.001, max=1.0, help="The success rate that these then have.")] = 0.05,
    ns: Annotated[str, typer.Option("--n", help="Samples a problem, with commas between.")] = "1,4,16,64,128,256",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="SVG file for the figure.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as one JSON object.")] = False,
) -> None:
    """Say what difference so many problems and samples can show, and how many a verdict needs."""
    from dataclasses import asdict

    from expo_bench.ledger.power import POWER, difficulty, difficulty_of, table

    numbers = _whole(ns)
    if out is not None and out.suffix != ".svg":
        raise UserError(f"-o {out}: the figure is a file that ends in .svg, for instance plan.svg")
    if run is not None:
        from expo_bench.grading.judge import GRADER
        from expo_bench.ledger.outcomes import read_outcomes

        outcomes = read_outcomes(run, GRADER, run.name)
        rates, size = difficulty_of(outcomes.n, outcomes.solved(outcomes.n)), problems or len(outcomes.problems)
    elif problems is None:
        raise UserError("how many problems? Name an old run, or say --problems 30")
    else:
        rates, size = difficulty(mean, spread), problems
    rows = table(rates, size, numbers, share, to)
    if out is not None:
        _write_figure(out, size, rows)
    if as_json:
        # what is out of reach is null
        told = [{name: None if value != value else value for name, value in asdict(row).items()} for row in rows]
        typer.echo(json.dumps({"problems": size, "power": POWER, "rows": told}, allow_nan=False))
        return
    typer.echo(
        f"{size} problems, pass@1 near {rates.mean():.0%}; least rise of pass@1 that shows in {POWER:.0%} of cases:"
    )
    typer.echo(f"{'n':>5}  {'these problems':>15}  {'problems like these':>20}  {'new problems seen':>18}")
    for row in rows:
        seen = "-" if row.verdict is None else f"{row.verdict:.0%}"
        typer.echo(f"{row.n:>5}  {_points(row.these):>15}  {_points(row.like_these):>20}  {seen:>18}")
    typer.echo(
        f"new problems seen: how often a verdict says so where {share:.0%} of the never solved ones rise to {to:.0%}"
    )
    most = max((row.like_these for row in rows if row.like_these == row.like_these), default=1.0)
    for row in rows:
        typer.echo(f"{row.n:>5}  {_bar(row.these, most, '=')}{_bar(row.like_these - row.these, most, '-')}")
    typer.echo(f"       = these problems, - what problems like these need beyond; the longest bar is {_points(most)}")
    enough = next((row.n for row in rows if (row.verdict or 0) >= POWER), None)
    wanted = (
        "none of these n gives such a verdict: take more problems"
        if enough is None
        else f"a verdict needs n = {enough}"
    )
    typer.echo(f"{wanted}\nexpo-bench eval -m MODEL -b BENCHMARK --limit {size} -n {enough or rows[-1].n}")
    if out is not None:
        typer.echo(f"figure: {out}")


def _write_figure(out: Path, problems: int, rows: "Sequence[Seen]") -> None:
    from expo_bench.ledger.power import POWER
    from expo_bench.reports.figures.plan_figures import draw_plan
    from expo_bench.reports.figures.svg import standalone
    from expo_bench.storage.row_files import write_atomically

    rises = ([row.like_these for row in rows], [row.these for row in rows])
    drawn = draw_plan(problems, [row.n for row in rows], rises, [row.verdict for row in rows], POWER)
    write_atomically(out, standalone(drawn.wide))


def _whole(text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise UserError(f"--n {text}: whole numbers with commas between are wanted, for instance 4,64") from error
    if found[0] < 1:
        raise UserError(f"--n {text}: at least one sample of a problem is drawn")
    return found


def _points(value: float) -> str:
    return "out of reach" if value != value else f"{100 * value:.1f} points"


def _bar(value: float, most: float, mark: str) -> str:
    return "" if value != value else mark * round(_BAR * value / most)
