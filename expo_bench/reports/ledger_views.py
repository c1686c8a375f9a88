"""What the page of a ledger says beside the cells: controls, guessable problems, likelihoods."""

from collections.abc import Mapping, Sequence
from typing import Any

from expo_bench.errors import span
from expo_bench.reports.tables import MISSING, Cell, Row, Table, between
from expo_bench.reports.text import short

Numbers = Mapping[str, Any]


def sentences(section: Numbers, content: Numbers) -> list[str]:
    """Return what follows the verdict of one comparison: the change, the control of like entropy, what is guessable."""
    found = [_changes(section["subsets"]["all"]["pass_at_k"])]
    if told := section.get("matched_entropy", {}).get("sentence"):
        found.append(told)
    guessable, rest = content.get("guessable"), section.get("verdict_not_guessable")
    if guessable == 0:
        found.append(f"Without a chain of thought the base solves none of the {content['n_problems']} problems.")
    elif guessable is not None and section["role"] != "trained against control":
        counted = f"{guessable} of {content['n_problems']} problems that the base solves without a chain of thought"
        found.append(f"Without the {counted}: {rest['sentence']}" if rest else f"There are only the {counted}.")
    return found


def _changes(curve: Numbers) -> str:
    """Return the difference of pass@1, and of pass@n, with the interval of each target."""
    told = []
    change = curve["difference"]
    for at in (0, -1) if len(curve["k"]) > 1 else (0,):
        here = span(change["these_low"][at], change["these_high"][at], sign="+") or "not told"
        like = span(change["low"][at], change["high"][at], sign="+") or "not told"
        told.append(
            f"pass@{curve['k'][at]} {100 * change['value'][at]:+.1f} points (these problems: {here}; "
            f"problems like these: {like})"
        )
    return f"Change, with 95% intervals: {', '.join(told)}."


MOST_PROBLEMS = 200


def problem_tables(rows: Sequence[Numbers], base: str, trained: str) -> list[Table]:
    """Return the new and the lost problems of one comparison by name; nothing where the rows are not there."""
    own = [row for row in rows if (row["base"], row["trained"]) == (base, trained)]
    found = []
    for cell, word in (("trained_only", "New"), ("base_only", "Lost")):
        named = sorted(
            (row for row in own if row["cell"] == cell),
            key=lambda row: (row["level"] or 0, -abs(row["trained_first"] - row["base_first"]), row["problem_id"]),
        )
        shown = [
            Row(label=short(row["problem_id"], 80), depth=1, cells=[Cell(text=text) for text in _told(row)])
            for row in named[:MOST_PROBLEMS]
        ]
        more = f"; the first {MOST_PROBLEMS} of them" if len(named) > MOST_PROBLEMS else ""
        if shown:
            caption = f"{word} problems: {len(named)}{more}"
            found.append(Table(caption=caption, head=["Problem", "level", "base", "trained"], rows=shown))
    return found


def _told(row: Numbers) -> list[str]:
    level = MISSING if row["level"] is None else str(row["level"])
    return [level, f"{row['base_first']} of {row['n']}", f"{row['trained_first']} of {row['n']}"]


def controls_table(content: Numbers) -> Table | None:
    """Return the controls beside the trained models, all against the base; None without controls."""
    if not content.get("controls"):
        return None
    against_base = [one for one in content["comparisons"] if one["role"] != "trained against control"]
    base = against_base[0]["base"]
    rows = [_run_row(content, against_base[0], "base", [base, "base", MISSING, MISSING, MISSING])]
    for section in against_base:
        cells = section["subsets"]["all"]["cells"]
        told = [str(cells["trained_only"]), str(cells["base_only"]), _does_as_much(content, section)]
        rows.append(_run_row(content, section, "trained", [section["trained"], section["role"], *told]))
    caption = (
        "Trained models and controls, each against the base. A control does what a trained model did if that model "
        "beats it neither in new problems nor in pass@1. Entropy: nats per token on own samples; ≈ marks the control "
        "whose entropy is nearest."
    )
    head = ["Run", "role", "pass@1", "pass@n", "new", "lost", "agreement", "entropy", "does what training did"]
    return Table(caption=caption, head=head, rows=rows)


def _run_row(content: Numbers, section: Numbers, side: str, words: list[str]) -> Row:
    name, role, new, lost, does = words
    numbers = section["subsets"]["all"]
    solved = numbers["pass_at_k"][side]["value"]
    agreement = numbers["stability"]["agreement"][side]["value"]
    entropy = _number(content["runs"][name]["entropy"]["value"])
    shares = [f"{100 * share:.1f}" for share in (solved[0], solved[-1])]
    texts = [role, *shares, new, lost, f"{100 * agreement:.1f}", entropy, does]
    return Row(label=name, depth=1, cells=[Cell(text=text) for text in texts])


def _does_as_much(content: Numbers, section: Numbers) -> str:
    if section["role"] != "control":
        return MISSING
    found = [one for one in content["controls"] if one["control"] == section["trained"]]
    words = [f"{'yes' if one['does_what_training_did'] else 'no'}{' ≈' * one['nearest_in_entropy']}" for one in found]
    if len(found) == 1:
        return words[0]
    return "; ".join(f"{one['trained']}: {word}" for one, word in zip(found, words, strict=True))


def likelihood_table(section: Numbers) -> Table | None:
    """Return the perplexities, the rank bias and the lift by rank that are known; None where none is."""
    rows = []
    for name, cell in section["perplexity"].items():
        if cell["median"] is not None:
            low, middle, high = (
                _number(one, 5) for one in (cell["quartiles"][0], cell["median"], cell["quartiles"][1])
            )
            rows.append(_row(f"perplexity, {name}", middle, between(low, high), f"{cell['n']:,} chains"))
    for title, key, sides in (
        ("right sample above wrong one", "rank_bias", ("base", "trained", "difference")),
        ("lift of right samples, nats", "lift_by_rank", ("likely", "unlikely", "difference")),
    ):
        found = section[key]
        for side in sides if found["reason"] is None else ():
            value, error = found[side]["value"], found[side]["stderr"]
            spread = "" if error is None else f"± {_number(error)}"
            rows.append(_row(f"{title}, {side}", _number(value), spread, f"{found['n_problems']} problems"))
    caption = (
        "Perplexity, scorer of writer: median and quartiles over the writer's chains, under the scorer. The others: "
        "mean and standard error over problems."
    )
    return Table(caption=caption, head=["", "value", "over"], rows=rows) if rows else None


def _row(label: str, value: str, spread: str, over: str) -> Row:
    return Row(label=label, depth=1, cells=[Cell(text=value, interval=spread), Cell(text=over)])


def _number(value: float | None, digits: int = 3) -> str:
    return MISSING if value is None else f"{value:.{digits}g}"
