"""Renders a template of `assets/reports` as one HTML file that needs nothing else."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from expo_bench.reports.figures.svg import palette_css
from expo_bench.reports.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment

    from expo_bench.reports.figures.canvas import Drawing


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the page. Every string in the context is escaped; only `trusted` ones are not."""
    css = palette_css() + _asset("report.css")
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(
        context, css=trusted(css), script=trusted(script), script_digest=digest, version=package_version()
    )


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

    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalize(value: Any) -> Any:
    # only plain strings: markup, ours or escaped already, is a subclass
    return visible(value) if type(value) is str else value
