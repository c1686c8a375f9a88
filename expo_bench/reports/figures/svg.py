"""A matplotlib figure as a small SVG whose colours follow the page: light, dark and print."""

import io
import re
import warnings
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif'

# name -> (light, dark); the series and statuses are told apart by the colour-blind too, and never by colour alone
PALETTE: dict[str, tuple[str, str]] = {
    "page": ("#ffffff", "#14171d"),
    "surface": ("#f5f7f9", "#1c2129"),
    "ink": ("#1b212c", "#e7eaf0"),
    "muted": ("#576071", "#a3acbb"),
    "line": ("#d9dee6", "#353d4a"),
    "accent": ("#0b5a94", "#7cbcf0"),
    "series-0": ("#0072b2", "#56b4e9"),
    "series-1": ("#c8500a", "#f0934e"),
    "series-2": ("#00805e", "#3cc79c"),
    "series-3": ("#a8487f", "#e59cc6"),
    "series-4": ("#7d6608", "#e0c64a"),
    "series-5": ("#5a6172", "#b4bccb"),
    "correct": ("#2372ad", "#3a87c2"),
    "wrong": ("#e6a06a", "#d68b52"),
    "no_answer": ("#c9c3d6", "#a9a1bd"),
    "truncated": ("#f2d778", "#d9bc55"),
    "timeout": ("#8b6aae", "#8b6aae"),
    "error": ("#6b7280", "#6f7886"),
    "bad_gold": ("#dfe3e9", "#c4cad3"),
    "copied": ("#b98a74", "#a87a64"),
    "on-light": ("#1b212c", "#14171d"),
    "on-dark": ("#ffffff", "#ffffff"),
}
N_SERIES = 6
MARGIN = 16
"""Around a figure in a file of its own."""
# matplotlib draws with stand-ins, which become CSS variables afterwards
_STAND_INS = {name: f"#0a01{index:02x}" for index, name in enumerate(PALETTE)}
_VARIABLES = {stand_in: f"var(--{name})" for name, stand_in in _STAND_INS.items()}
_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"


def colour(name: str) -> str:
    """Return what to give matplotlib for a colour of the palette."""
    return _STAND_INS[name]


def palette_css(root: str = ":root") -> str:
    """Return the CSS variables: dark where the reader prefers dark, but light on paper."""
    light, dark = (";".join(f"--{name}:{pair[side]}" for name, pair in PALETTE.items()) for side in (0, 1))
    return f"{root}{{{light}}}@media screen and (prefers-color-scheme:dark){{{root}{{{dark}}}}}"


def to_svg(figure: "Figure", *, name: str, title: str, description: str) -> str:
    """Return the figure as SVG for the inside of a page that defines the palette.

    Args:
        figure: drawn with `colour(...)` only; one point of it is one CSS pixel.
        name: makes the ids inside differ from those of other figures of the page.
        title: the accessible name.
        description: what a reader who cannot see the figure should know.
    """
    import matplotlib

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": name}
    with warnings.catch_warnings(), matplotlib.rc_context(settings):
        # labels may hold characters that matplotlib's own font lacks; the browser has fonts for them
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _clean(root, name)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "class": "plot",
    }
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(position, element)
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def standalone(svg: str) -> str:
    """Return the SVG as a file of its own, with the palette inside."""
    viewbox = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert viewbox is not None
    style = f"<style>{palette_css('svg')}svg{{background:var(--page)}}text{{font-family:{FONTS}}}</style>"
    width, height = float(viewbox[1]) + 2 * MARGIN, float(viewbox[2]) + 2 * MARGIN
    frame = f'viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return svg.replace(viewbox[0], frame, 1).replace(">", f">{style}", 1) + "\n"


def _clean(root: ElementTree.Element, name: str) -> None:
    """Drop what matplotlib adds that the page does not need, and put variables in place of the stand-ins."""
    for child in list(root):
        if child.tag.endswith("}metadata") or child.find(f"{{{_SVG}}}style") is not None:
            root.remove(child)
    for element in root.iter():
        wanted = element.tag in (f"{{{_SVG}}}path", f"{{{_SVG}}}clipPath")
        if "id" in element.attrib and wanted:
            element.attrib["id"] = f"{name}-{element.attrib['id']}"
        else:
            element.attrib.pop("id", None)
        if _HREF in element.attrib:
            element.attrib["href"] = f"#{name}-{element.attrib.pop(_HREF)[1:]}"
        if "clip-path" in element.attrib:
            element.attrib["clip-path"] = element.attrib["clip-path"].replace("url(#", f"url(#{name}-")
        if "style" in element.attrib:
            element.attrib["style"] = _style(element.attrib["style"])
        if "d" in element.attrib:
            element.attrib["d"] = " ".join(element.attrib["d"].split())
        if element.attrib.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if not (element.text or "").strip():
            element.text = None
        element.tail = None


def _style(style: str) -> str:
    declarations = (part.strip() for part in style.split(";"))
    kept = [part for part in declarations if part and not part.startswith("font-family")]
    return re.sub(r"#0a01[0-9a-f]{2}", lambda found: _VARIABLES[found[0]], "; ".join(kept))
