"""What is told of a run's metrics: one score a benchmark for the hub's model pages, and a section of a model card."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from expo_bench.errors import UserError, span
from expo_bench.problems import published
from expo_bench.problems.base import HubDataset
from expo_bench.rows import Manifest, Metric
from expo_bench.storage.run_folder import RunFolder

BEGIN, END = "<!-- expo-bench: begin -->", "<!-- expo-bench: end -->"
_TOLD = re.compile(r"(avg|pass|maj)@(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The metrics of one benchmark of a run."""

    benchmark: str
    about: dict[str, Any]
    """As the manifest records it."""
    metrics: list[Metric]
    """avg@n first, then pass@k and maj@k."""

    @property
    def dataset(self) -> HubDataset | None:
        """The benchmark's dataset of the hub, where it has one."""
        known = published(self.benchmark)
        return known.source if known and isinstance(known.source, HubDataset) else None

    @property
    def average(self) -> Metric:
        """Its avg@n."""
        return self.metrics[0]


def finished(run: RunFolder) -> Manifest:
    """Return the manifest of a finished run.

    Raises:
        UserError: it is not finished, or has no metrics.
    """
    manifest = run.read_manifest()
    if manifest.status != "finished" or not run.metrics():
        raise UserError(f"{run.path} is not finished: give its command again, then publish it")
    return manifest


def scores(run: RunFolder, manifest: Manifest, grader: str) -> list[Scores]:
    """Return the metrics of each benchmark of a run by one grader.

    Raises:
        UserError: this grader has none.
    """
    found = []
    for name, about in manifest.benchmarks.items():
        subset = f"benchmark={name}" if len(manifest.benchmarks) > 1 else "all"
        own = [one for one in run.metrics() if one.subset == subset and one.grader == grader and _TOLD.match(one.name)]
        own.sort(key=lambda one: (("avg", "pass", "maj").index(one.name[:4].strip("@")), int(one.name.split("@")[1])))
        if not own or not own[0].name.startswith("avg"):
            raise UserError(f"{run.path} has no metrics of {name} by the grader {grader}; expo-bench grade makes them")
        found.append(Scores(benchmark=name, about=about, metrics=own))
    return found


def eval_results(one: Scores, manifest: Manifest) -> str | None:
    """Return the YAML of `.eval_results/` for one benchmark; None where the hub has no dataset of it."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if one.dataset is None or one.average.value is None:
        return None
    revision = one.about.get("revision")
    config = one.dataset.configs[0] if len(one.dataset.configs) == 1 else None
    entry = EvalResultEntry(
        dataset_id=one.dataset.repo,
        task_id=config or "default",
        value=round(100 * one.average.value, 2),
        dataset_revision=revision if revision and re.fullmatch(r"[0-9a-f]{40}", revision) else None,
        date=manifest.finished or manifest.started,
        notes=f"{one.average.name}; {settings(manifest)}",
    )
    return yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)


def settings(manifest: Manifest) -> str:
    """Return how the run sampled, in a few words."""
    protocol = manifest.protocol
    named = [f"{key} {protocol[key]}" for key in ("prompt", "temperature", "top_p", "max_tokens") if protocol.get(key)]
    return ", ".join([*named, f"graded by {protocol.get('grader')}"])


def card_section(told: Sequence[Scores], manifest: Manifest, version: str) -> str:
    """Return a section of a model card, between marks by which a later one takes its place."""
    lines = [
        BEGIN,
        "## Evaluation",
        "",
        "| benchmark | metric | percent | 95%, these problems | 95%, problems like these | problems |",
        "|---|---|---|---|---|---|",
    ]
    for one in told:
        for metric in one.metrics:
            if metric.value is not None:
                ends = [span(metric.these_low, metric.these_high), span(metric.ci_low, metric.ci_high)]
                cells = [one.benchmark, metric.name, f"{100 * metric.value:.1f}", *ends, str(metric.n_problems)]
                lines.append(f"| {' | '.join(cells)} |")
    digests = "; ".join(
        f"{one.benchmark} {str(one.about.get('digest'))[:12]} ({one.about.get('digest_status')})" for one in told
    )
    lines += [
        "",
        f"Made by expo-bench {version}: {settings(manifest)}. 95% intervals: these problems, what other samples of "
        "them would give; problems like these, new ones from the same source. "
        f"Protocol {manifest.protocol_hash}; digests of questions and answers: {digests}.",
        END,
    ]
    return "\n".join(lines) + "\n"


def with_section(card: str, section: str) -> str:
    """Return a model card with the section, in place of an earlier one."""
    start, end = card.find(BEGIN), card.find(END)
    if start < 0 or end < start:
        return f"{card.rstrip()}\n\n{section}".lstrip()
    return card[:start] + section.rstrip() + card[end + len(END) :]
