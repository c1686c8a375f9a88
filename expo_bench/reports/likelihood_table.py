"""The likelihood command's table: by level and source, how likely the candidates are and how much they help."""

from collections.abc import Sequence

from expo_bench.errors import span
from expo_bench.reports.tables import Cell, Row, Table
from expo_bench.reports.terminal import TerminalTable
from expo_bench.rows import LikelihoodMetric, Source

_HEADS = {
    "mean_logprob": "log p\nper token",
    "nll_ratio": "NLL\nratio",
    "answer_lift": "answer\nlift",
    "sampled_lift": "sampled\nlift %",
    "tokens": "tokens",
    "reaches_answer": "reach\n%",
    "leaks_answer": "leak\n%",
}
_LABELS: dict[Source, str] = {
    "self_explanation": "self-expl.",
    "own_correct": "own right",
    "own_incorrect": "own wrong",
}
_MEDIANS = {"mean_logprob": "median_logprob", "answer_lift": "median_lift"}
_PERCENT = {"reaches_answer", "leaks_answer", "sampled_lift"}


def likelihood_table(metrics: Sequence[LikelihoodMetric], policy: str) -> TerminalTable:
    """Return the terminal's table of one policy: levels and sources down, the two properties and the filters across."""
    found = {(row.subset, row.source, row.name): row for row in metrics if row.policy == policy}
    names = {name for _, _, name in found}
    heads = {name: head for name, head in _HEADS.items() if name in names or name != "sampled_lift"}
    if len({subset for subset, _, _ in found}) == 2:
        # one level: it is "all" by another name
        found = {key: row for key, row in found.items() if key[0] != "all"}
    rows: list[Row] = []
    for subset, source in dict.fromkeys((subset, source) for subset, source, _ in found):
        if not rows or rows[-1].link != subset:
            rows.append(Row(label=subset, cells=[Cell(text="")] * (len(heads) + 1), link=subset))
        cells = [
            _cell(
                found.get((subset, source, name)),
                percent=name in _PERCENT,
                median=found.get((subset, source, _MEDIANS.get(name, ""))),
            )
            for name in heads
        ]
        count = found[subset, source, "mean_logprob"].n_candidates
        label = f" {_LABELS.get(source, source)}"
        rows.append(Row(label=label, depth=2, cells=[Cell(text=str(count)), *cells], link=subset))
    caption = "nats; NLL ratio to self-expl.; below, 95% intervals for problems like these; m: median"
    shown = Table(caption=caption, head=["", "n", *heads.values()], rows=rows)
    # what counts most is the likelihood and the lift: the filters go first where there is no room
    spare = [at for at, name in enumerate(heads, start=1) if name in _PERCENT][::-1]
    return TerminalTable(shown, title=policy, spare=spare)


def _cell(metric: LikelihoodMetric | None, *, percent: bool, median: LikelihoodMetric | None = None) -> Cell:
    if metric is None or metric.value is None:
        return Cell(text="")
    if metric.ci_low is None or metric.ci_high is None:
        return Cell(text=_number(metric.value, percent))
    ends = [_number(end, percent) for end in (metric.ci_low, metric.ci_high)]
    below = span(metric.ci_low, metric.ci_high, 0) if percent else "…".join(ends)
    if median is not None and median.value is not None:
        below += f"\nm {_number(median.value, percent)}"
    return Cell(text=_number(metric.value, percent), interval=below)


def _number(value: float, percent: bool) -> str:
    if percent:
        return f"{100 * value:.0f}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"
