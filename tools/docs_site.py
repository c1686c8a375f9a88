"""Lay out the pages of the documentation site in build/docs: the README as its index, docs/, a reference from the code.

`make docs` calls this and then the generator; a link to nowhere ends it. Pages link to each other as they do in the
repository; what lies outside docs/ becomes plain text.
"""

import ast
import dataclasses
import inspect
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

import expo_bench
from expo_bench import rows
from expo_bench.config import CandidatesConfig, EvalConfig
from expo_bench.studies.study import Study
from expo_bench.thoughts.making import MakeSettings
from expo_bench.trainers.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "docs"
SETTINGS: dict[str, type[BaseModel]] = {
    "expo-bench eval": EvalConfig,
    "expo-bench candidates": CandidatesConfig,
    "expo-bench train": Recipe,
    "expo-bench study": Study,
    "expo-bench thoughts": MakeSettings,
}
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def lay_out(pages: Path) -> None:
    """Write all pages of the site into an empty folder."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (pages / "index.md").write_text(readme.replace("](docs/", "]("), encoding="utf-8")
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        (pages / name).write_text(text.replace("](docs/", "]("), encoding="utf-8")
    (pages / "reference").mkdir()
    (pages / "reference" / "settings.md").write_text(settings_page(), encoding="utf-8")
    (pages / "reference" / "rows.md").write_text(rows_page(), encoding="utf-8")
    (pages / "reference" / "names.md").write_text(names_page(), encoding="utf-8")
    for page in pages.rglob("*.md"):
        page.write_text(_inside(page, pages), encoding="utf-8")


def _inside(page: Path, pages: Path) -> str:
    """Return the page's text with links to what lies outside the site as plain text."""

    def kept(match: re.Match[str]) -> str:
        target = match[2].partition("#")[0]
        if "://" in target or not target or (page.parent / target).exists():
            return match[0]
        outside = [ROOT / target, ROOT / "docs" / target]
        return match[1] if any(path.exists() for path in outside) else match[0]

    return _LINK.sub(kept, page.read_text(encoding="utf-8"))


def broken_links(pages: Path) -> Iterator[str]:
    """Yield "page: link" for each link of a page to a file or heading that is not there."""
    for page in sorted(pages.rglob("*.md")):
        for _, link in _LINK.findall(_prose(page)):
            target, _, anchor = link.partition("#")
            if "://" in link or link.startswith("mailto:"):
                continue
            file = page.parent / target if target else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
                yield f"{page.relative_to(pages)}: {link}"


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _fenced_out(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _fenced_out(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def settings_page() -> str:
    """Return a table for each command's settings; the texts are those that its options show."""
    parts = ["# Settings\n\nWhat a YAML file, `key=value` and options may set. Generated from the code.\n"]
    seen: set[type[BaseModel]] = set()
    for command, model in SETTINGS.items():
        parts.append(f"## {command}\n\n{_model_tables(model, seen, '')}")
    return "\n".join(parts)


def _model_tables(model: type[BaseModel], seen: set[type[BaseModel]], prefix: str) -> str:
    lines = [f"{inspect.getdoc(model)}\n", "| setting | type | default | |", "|---|---|---|---|"]
    below = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        inner = [one for one in _models(field.annotation) if one not in seen]
        seen.update(inner)
        below += [(f"{prefix}{name}.", one) for one in inner]
        shown = default if not _models(field.annotation) else "its own"
        text = " ".join((field.description or "").split())
        lines.append(f"| `{prefix}{name}` | {_type(field.annotation)} | {_cell(shown)} | {_cell(text)} |")
    sections = "".join(f"\n### {path[:-1]}\n\n{_model_tables(one, seen, path)}" for path, one in below)
    return "\n".join(lines) + "\n" + sections


def _models(annotation: object) -> list[type[BaseModel]]:
    parts = getattr(annotation, "__args__", None)
    if parts:
        return [found for part in parts for found in _models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


_WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}


def _type(annotation: Any) -> str:
    """Return a type in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_type(part) for part in parts if part is not type(None))
    if origin in (tuple, list):
        return f"list of {_type(parts[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _WORDS.get(annotation, "map" if origin is dict else "value")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def rows_page() -> str:
    """Return a table for each row type of `rows.py`, with the texts below its fields."""
    tree = ast.parse(inspect.getsource(rows))
    parts = ["# Rows\n\nWhat the files of a run folder hold, a line of JSON each. Generated from the code.\n"]
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and dataclasses.is_dataclass(getattr(rows, node.name)):
            parts.append(f"## {node.name}\n\n{ast.get_docstring(node)}\n\n| field | type | |\n|---|---|---|")
            parts += [f"| `{name}` | {_type_text(kind)} | {_cell(text)} |" for name, kind, text in _fields(node)]
            parts.append("")
    return "\n".join(parts)


def _type_text(kind: str) -> str:
    return " or ".join(f"`{one.strip()}`" for one in kind.split("|"))


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for place, line in enumerate(node.body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and not line.target.id.startswith("_"):
            after = node.body[place + 1] if place + 1 < len(node.body) else None
            told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            text = str(after.value.value) if told else ""  # type: ignore[union-attr]
            yield line.target.id, ast.unparse(line.annotation), " ".join(text.split())


def names_page() -> str:
    """Return the public names with their signatures and docstrings."""
    parts = ["# Public names\n\nOf `from expo_bench import ...`; everything else may change. Generated.\n"]
    for name in sorted(expo_bench.__all__, key=str.lower):
        value = getattr(expo_bench, name)
        parts.append(f"## {name}\n")
        if callable(value):
            parts.append(f"```python\n{name}{_signature(value)}\n```\n")
        elif not inspect.ismodule(value):
            parts.append(f"`{value!r}`\n" if len(repr(value)) < 200 else "")
        doc = inspect.getdoc(value) if callable(value) or inspect.ismodule(value) else None
        parts.append(f"```text\n{doc}\n```\n" if doc else "")
    return "\n".join(parts)


def _signature(value: object) -> str:
    try:
        found = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    return re.sub(r"(typing|collections\.abc|pathlib|expo_bench)\.([a-z_]+\.)*", "", str(found))


def main() -> None:
    """Lay out the site and end with 1 where a link leads nowhere."""
    lay_out(PAGES)
    shutil.copy(ROOT / "mkdocs.yml", PAGES.parent)
    broken = list(broken_links(PAGES))
    for line in broken:
        sys.stderr.write(f"no such page or heading: {line}\n")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
