"""The figures of `analysis.theory`, as SVG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from analysis.alignment import Aligned

# Okabe and Ito's colours; the markers tell the sources apart as well
_STYLES = {
    "expert": ("#0072b2", "s"),
    "self_explanation": ("#d55e00", "o"),
    "own_correct": ("#009e73", "^"),
    "own_incorrect": ("#cc79a7", "x"),
    "rationalised": ("#e69f00", "D"),
    "imported": ("#56b4e9", "v"),
}
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "expo", "font.size": 8, "axes.spines.top": False}
_SMALLEST = 1e-12


def draw_alignment(rows: Sequence[Aligned], path: Path) -> None:
    """Draw ||g||, p ||g||^2 (with 2p(1-p)^2 of two outcomes), the cosine and <grad log J, g> against log pi(c,a|q)."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(9, 6.4), layout="constrained")
        panels = figure.subplots(2, 2)
        _scatter(panels[0, 0], rows, "norm", "‖g(s)‖")
        panels[0, 0].set_yscale("log")
        _scatter(panels[0, 1], rows, "own_term", "own term  π(c,a|q) ‖g(s)‖²")
        top = 100 * max((row.own_term for row in rows), default=1.0)
        panels[0, 1].set(yscale="log", ylim=(_SMALLEST, top))
        _two_outcomes(panels[0, 1], rows)
        _scatter(panels[1, 0], rows, "cosine", "cos(∇J, g(s))")
        _scatter(panels[1, 1], rows, "log_j_alignment", "⟨∇log J, g(s)⟩")
        panels[1, 1].set_yscale("symlog", linthresh=1.0)
        for panel in panels.flat:
            # -log p, from likely (left) to unlikely, over as many orders as there are
            panel.set(xscale="log", xlabel="−log π(c,a|q), nats   (likely → unlikely)")
        for panel in panels[1]:
            panel.axhline(0, color="#888888", lw=0.6, zorder=0)
        panels[0, 0].legend(frameon=False)
        _save(figure, path)


def _scatter(axes: Any, rows: Sequence[Aligned], name: str, label: str) -> None:
    for source, (colour, marker) in _STYLES.items():
        chosen = [row for row in rows if row.source == source]
        if chosen:
            x = [max(-row.log_p, 1e-4) for row in chosen]
            y = [getattr(row, name) for row in chosen]
            axes.scatter(x, y, s=12, c=colour, marker=marker, lw=0.8, alpha=0.7, label=source.replace("_", " "))
    axes.set_ylabel(label)


def _two_outcomes(axes: Any, rows: Sequence[Aligned]) -> None:
    x = np.geomspace(1e-4, max(1.0, -np.log(_SMALLEST)), 300)
    p = np.exp(-x)
    curve = 2 * p * (1 - p) ** 2
    best = max((row.own_term for row in rows), default=0) or 1
    axes.plot(x, curve * best / curve.max(), color="#444444", lw=1, ls="--", label="2p(1−p)², scaled to the maximum")
    axes.legend(frameon=False)


def draw_cosines(classes: Sequence[dict[str, Any]], chance: float, path: Path) -> None:
    """Draw the histogram of the cosines of each class of pair, and the range of chance between its two lines."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(7, 1.5 * max(len(classes), 1) + 0.5), layout="constrained")
        panels = figure.subplots(max(len(classes), 1), 1, sharex=True, squeeze=False)[:, 0]
        for panel, row in zip(panels, classes, strict=False):
            counts = np.array(row["histogram"])
            first, last = row["edges"]
            edges = np.linspace(first, last, len(counts) + 1)
            panel.bar(edges[:-1], counts / counts.sum(), width=np.diff(edges), align="edge", color="#0072b2")
            panel.axvline(row["quantiles"]["0.5"], color="#d55e00", lw=1)
            for side in (-chance, chance):
                panel.axvline(side, color="#444444", lw=0.8, ls="--")
            panel.set_title(f"{row['pairs']}: {row['n_pairs']} pairs, median {row['quantiles']['0.5']:.3f}", loc="left")
            panel.set_ylabel("share")
        panels[-1].set_xlabel("cosine of two chains' gradients (dashed: 95% of random directions)")
        _save(figure, path)


def draw_gains(summary: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the gains of the posterior and of the self-explanations by level, with their intervals."""
    names = ("posterior_gain", "enumerated_gain", "measured_gain")
    found = {(row["subset"], row["name"]): row for row in summary if row["value"] is not None}
    subsets = sorted({subset for subset, _ in found if subset != "all"}) or ["all"]
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        for at, name in enumerate(names):
            rows = [(place, found[subset, name]) for place, subset in enumerate(subsets) if (subset, name) in found]
            x = [place + (at - 1) * 0.2 for place, _ in rows]
            y = [row["value"] for _, row in rows]
            errors = [[_reach(row, "ci_low") for _, row in rows], [_reach(row, "ci_high") for _, row in rows]]
            colour, marker = list(_STYLES.values())[at]
            axes.errorbar(x, y, yerr=errors, fmt=marker, color=colour, capsize=3, label=name.replace("_", " "))
        axes.set_xticks(range(len(subsets)), subsets)
        axes.set(ylabel="gain in π(a*|q,c)", xlim=(-0.6, len(subsets) - 0.4))
        axes.legend(frameon=False)
        _save(figure, path)


def _reach(row: dict[str, Any], end: str) -> float:
    return 0.0 if row[end] is None else abs(row[end] - row["value"])


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
