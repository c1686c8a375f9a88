"""Runs with scored candidates, as a report shows them: read from disk, described, and in tables."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expo_bench.errors import UserError, span
from expo_bench.reports.run_views import RunView, date_text, describe, model_name
from expo_bench.reports.tables import MISSING, Cell, MetricTable, Row, Subset, Table, between, read_subset
from expo_bench.reports.text import short
from expo_bench.rows import SOURCES, Candidate, Likelihood, LikelihoodMetric, Manifest, Problem, Source
from expo_bench.storage.run_folder import RunFolder

SOURCE_WORDS: dict[Source, str] = {
    "expert": "expert",
    "self_explanation": "self-explanation",
    "own_correct": "own correct",
    "own_incorrect": "own incorrect",
    "rationalised": "rationalised",
    "imported": "imported",
}
_PROPERTIES = {
    "mean_logprob": "log p per token",
    "median_logprob": "median",
    "nll_ratio": "NLL ratio",
    "answer_lift": "answer lift",
    "median_lift": "median",
    "answer_lift_answered": "lift, answered",
    "sampled_lift": "sampled lift",
    "slot_lift": "lift as probability",
    "lift_disagreement": "their difference",
    "logprob_gap": "log p gap",
    "lift_gap": "lift gap",
    "tokens": "tokens",
    "reaches_answer": "reaches, %",
    "leaks_answer": "leaks, %",
}
_FILTERS = ("reaches_answer", "leaks_answer", "repetitive", "truncated")
_STEP = re.compile(r"(?:checkpoint|step)[-_]?(\d+)(?![^/@]*[/@])")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCandidate:
    """A candidate with its likelihood under one policy."""

    problem: Problem
    candidate: Candidate
    likelihood: Likelihood

    @property
    def lift(self) -> float:
        """Answer lift in nats."""
        return self.likelihood.answer_logprob_with - self.likelihood.answer_logprob_without


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainsView:
    """A run with scored candidates."""

    folder: RunFolder
    manifest: Manifest
    name: str
    prefix: str
    """Of the names of its figures and anchors; empty for the report's first such run."""
    policies: tuple[str, ...]
    """In the order in which they are shown; see `ordered`."""
    steps: tuple[int, ...] | None
    """The checkpoints' steps, where every policy has one."""
    main: str
    """The policy that wrote the candidates if it was scored, else the first."""
    subsets: tuple[tuple[str, Subset], ...]
    """As the metrics name them, and as we read that; one level is left out: it is "all" by another name."""
    sources: tuple[Source, ...]
    metrics: dict[tuple[str, str, Source, str], LikelihoodMetric]
    """By policy, subset, source and name."""
    scored: tuple[ScoredCandidate, ...]
    """Under the main policy."""

    def get(self, policy: str, subset: str, source: Source, name: str) -> LikelihoodMetric | None:
        """Return the metric, or None where there is none."""
        return self.metrics.get((policy, subset, source, name))


def read_chains(folders: Sequence[RunFolder]) -> list[ChainsView]:
    """Read runs that `expo-bench likelihood` has scored.

    Raises:
        UserError: a run's metrics are damaged, or do not fit its likelihoods.
    """
    several = len(folders) > 1
    return [_read(folder, f"{position + 1}-" if several else "") for position, folder in enumerate(folders)]


def _read(folder: RunFolder, prefix: str) -> ChainsView:
    manifest = folder.read_manifest()
    found = {(row.policy, row.subset, row.source, row.name): row for row in folder.likelihood_metrics()}
    if not found:
        raise UserError(f"{folder.path} has no scored candidates; give expo-bench likelihood {folder.path} -m MODEL")
    writer = manifest.model.get("name")
    policies, steps = ordered({policy for policy, *_ in found}, writer)
    main = writer if writer in policies else policies[0]
    names = list(dict.fromkeys(subset for _, subset, _, _ in found))
    subsets = [(name, read_subset(name)) for name in names]
    problems = {row.problem_id: row for row in folder.problems()}
    candidates = {(row.problem_id, row.candidate_id): row for row in folder.candidates()}
    pairs = ((candidates.get((row.problem_id, row.candidate_id)), row) for row in folder.likelihoods(main))
    return ChainsView(
        folder=folder,
        manifest=manifest,
        name=short(folder.path.resolve().name, 60),
        prefix=prefix,
        policies=policies,
        steps=steps,
        main=main,
        subsets=tuple(subsets[:1] if len(subsets) == 2 else subsets),
        sources=tuple(source for source in SOURCES if any(key[2] == source for key in found)),
        metrics=found,
        scored=tuple(
            ScoredCandidate(problem=problems[row.problem_id], candidate=one, likelihood=row)
            for one, row in pairs
            if one is not None
        ),
    )


def ordered(policies: Iterable[str], writer: str | None) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Return the policies in the order of training, with their steps where all have one.

    A step is read from a name like "out/checkpoint-40"; the policy that wrote the candidates stands for step 0 if
    its name has none. Without steps the writer comes first, the others by name.
    """
    names = sorted(policies, key=lambda name: (name != writer, name))
    found = {name: _STEP.search(name) for name in names}
    steps = {name: int(match[1]) if match else 0 for name, match in found.items() if match or name == writer}
    if len(steps) < len(names) or len(set(steps.values())) < len(names):
        return tuple(names), None
    names.sort(key=steps.__getitem__)
    return tuple(names), tuple(steps[name] for name in names)


def policy_label(policy: str) -> str:
    """Return the policy's name without its owner or folder."""
    return short(policy.rstrip("/").rpartition("/")[2] or policy, 60)


def run_view(view: ChainsView) -> RunView:
    """Return the run as one without samples of an evaluation, for what every run has: notes and its manifest."""
    return RunView(
        folder=view.folder, manifest=view.manifest, metrics=MetricTable([]), position=0, letter="", label=view.name
    )


# words


def title(view: ChainsView) -> str:
    """Return the headline of a report over this run alone."""
    return f"Candidates of {model_name(view.manifest)} on {' and '.join(view.manifest.benchmarks) or 'no benchmark'}"


def lead(view: ChainsView) -> str:
    """Say in a sentence how likely each source is, and how much it lifts the answer."""
    parts = []
    for source in view.sources:
        logprob, lift = (view.get(view.main, "all", source, name) for name in ("mean_logprob", "answer_lift"))
        parts.append(f"{SOURCE_WORDS[source]} {_value(logprob)} and {_value(lift)}")
    return (
        f"Mean log-probability per token under {policy_label(view.main)}, and answer lift, in nats: {'; '.join(parts)}."
    )


def chain_facts(view: ChainsView) -> list[tuple[str, str]]:
    """Return what was collected and scored as (name, value) pairs."""
    manifest = view.manifest
    counts = {source: sum(one.candidate.source == source for one in view.scored) for source in view.sources}
    shown = [policy_label(policy) for policy in view.policies]
    return [
        ("Candidates written by", describe(manifest.model.get("name"))),
        ("Scored under", short(", ".join(shown), 400)),
        ("Candidates", ", ".join(f"{count:,} {SOURCE_WORDS[source]}" for source, count in counts.items())),
        ("Problems", f"{len({one.problem.problem_id for one in view.scored}):,} of {', '.join(manifest.benchmarks)}"),
        ("Sampling", f"temperature {describe(manifest.protocol.get('temperature'))}"),
        ("Token limit", describe(manifest.protocol.get("max_tokens"))),
        ("Started", date_text(manifest.started)),
        ("Run folder", view.name),
    ]


# tables


def property_table(view: ChainsView, policy: str) -> Table:
    """Return the two properties of one policy by level and source, with 95% intervals below."""
    caption = f"Under {policy_label(policy)}"
    if policy == view.main:
        caption += ": nats, with 95% intervals for problems like these; NLL ratio and gaps are to the "
        caption += "self-explanations of the same problems"
    return Table(caption=caption, head=["", "n", *_PROPERTIES.values()], rows=_rows(view, policy, tuple(_PROPERTIES)))


def filter_table(view: ChainsView) -> Table:
    """Return what the filters say, by level and source."""
    head = ["", "n", *(name.replace("_", " ") for name in _FILTERS)]
    caption = "Share of candidates, %, with 95% intervals for problems like these, of those where it can be told"
    return Table(caption=caption, head=head, rows=_rows(view, view.main, _FILTERS))


def _rows(view: ChainsView, policy: str, names: Sequence[str]) -> list[Row]:
    rows = []
    for subset, read in view.subsets:
        within = []
        for source in view.sources:
            counted = view.get(policy, subset, source, "mean_logprob")
            if counted is not None:
                cells = [_cell(view.get(policy, subset, source, name)) for name in names]
                cells.insert(0, Cell(text=f"{counted.n_candidates:,}"))
                series = SOURCES.index(source)
                within.append(Row(label=SOURCE_WORDS[source], cells=cells, depth=2, series=series))
        if within:
            empty = [Cell(text="") for _ in range(len(names) + 1)]
            rows += [Row(label=subset_label(view, read), cells=empty), *within]
    return rows


def subset_label(view: ChainsView, subset: Subset) -> str:
    """Return the words for the subset, with the benchmark where there are several."""
    several = len(view.manifest.benchmarks) > 1 and subset.field is not None and subset.benchmark is not None
    return f"{short(subset.benchmark or '', 60)}, {subset.label.lower()}" if several else subset.label


def _cell(metric: LikelihoodMetric | None) -> Cell:
    if metric is None or metric.value is None:
        return Cell(text=MISSING)
    if metric.ci_low is None or metric.ci_high is None:
        return Cell(text=_value(metric))
    if metric.name in _FILTERS:
        return Cell(text=_value(metric), interval=span(metric.ci_low, metric.ci_high, 0))
    low, high = (number(value, metric.name) for value in (metric.ci_low, metric.ci_high))
    return Cell(text=_value(metric), interval=between(low, high))


def _value(metric: LikelihoodMetric | None) -> str:
    return MISSING if metric is None or metric.value is None else number(metric.value, metric.name)


def number(value: float, name: str = "") -> str:
    """Return the value of a metric in as many digits as it deserves; rates in percent."""
    if name in _FILTERS:
        return f"{100 * value:.0f}"
    value += 0.0  # of a zero, the sign is lost
    if value and abs(value) < 0.001:
        text = f"{value:.0e}".replace("e-0", "e-")
    else:
        digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
        text = f"{value:,.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
