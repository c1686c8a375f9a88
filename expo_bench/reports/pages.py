"""Renders a template of `assets/reports` as one HTML file that needs nothing else."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from expo_bench.reports import mathematics
from expo_bench.reports.figures.svg import palette_css
from expo_bench.reports.tables import as_csv
from expo_bench.reports.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment

    from expo_bench.reports.figures.canvas import Drawing
    from expo_bench.reports.tables import Table


def render(template: str, context: Mapping[str, Any], *, workbench: bool = False) -> str:
    """Return the page. Every string in the context is escaped; only `trusted` ones are not.

    A page of the workbench has its script and its style, and may ask the place that it came from for more of itself.
    """
    css = palette_css() + _asset("report.css") + (_asset("workbench.css") if workbench else "")
    script = _asset("workbench.js" if workbench else "report.js")
    page = _environment().get_template(template)
    formulas = mathematics.budget.set(
        mathematics.Budget(mathematics.WORKBENCH_BYTES if workbench else mathematics.PAGE_BYTES)
    )
    try:
        return page.render(
            context,
            css=trusted(css),
            script=trusted(script),
            policy=policy(workbench=workbench),
            version=package_version(),
        )
    finally:
        mathematics.budget.reset(formulas)


def policy(*, workbench: bool = False) -> str:
    """Return the Content-Security-Policy of a page: its own script, by its digest, and nothing of anybody else."""
    script = _asset("workbench.js" if workbench else "report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = "connect-src 'self'; form-action 'self'" if workbench else "form-action 'none'"
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; "
        f"base-uri 'none'; {own}"
    )


def page_link(page: Path, here: Path) -> str:
    """Return the relative address of a page from a folder, as it goes into a link."""
    return quote(Path(os.path.relpath(page.resolve(), here.resolve())).as_posix())


def study_above(folder: Path) -> str:
    """Return the link to the page of the study that a folder lies in; nothing where it lies in none."""
    above = [one for one in folder.resolve().parents[:4] if (one / "study.yaml").is_file()]
    return page_link(above[0] / "report.html", folder) if above else ""


def trusted(markup: str) -> str:
    """Mark our own markup, such as a figure, as what goes into the page unescaped."""
    from markupsafe import Markup

    return Markup(markup)


def figure(drawing: "Drawing") -> dict[str, str]:
    """Return a drawing as the templates take it."""
    return {"caption": drawing.caption, "wide": trusted(drawing.wide), "narrow": trusted(drawing.narrow)}


def package_version() -> str:
    """Return the version of expo-bench."""
    try:
        return version("expo-bench")
    except PackageNotFoundError:
        return "unknown"


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested JSON objects as (dotted name, text)."""
    if isinstance(value, dict) and value:
        return [
            pair for key, part in value.items() for pair in flatten(part, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, str):
        return [(prefix, value)]
    return [(prefix, "none" if value is None else json.dumps(value, ensure_ascii=False))]


def _asset(name: str) -> str:
    return files("expo_bench").joinpath("assets", "reports", name).read_text(encoding="utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["mathematics"] = mathematics.with_formulas
    made.filters["csv"] = _csv_address
    return made


def _csv_address(table: "Table") -> str:
    # in the page itself, so that it needs nothing else
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(as_csv(table).encode(errors="replace")).decode()


def _finalize(value: Any) -> Any:
    # only plain strings: markup, ours or escaped already, is a subclass
    return visible(value) if type(value) is str else value
