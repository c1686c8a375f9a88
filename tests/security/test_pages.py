"""What models, benchmarks and users wrote cannot script a page: parsed, it brings no elements or attributes in."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from expo_bench.ledger.compare import Request, compare
from expo_bench.reports.ledger_page import ledger_page
from expo_bench.reports.reporting import report
from tests.reports.chain_runs import byte_tokenizer, make_chains_run
from tests.synthetic_runs import GRADER, make_run

pytestmark = pytest.mark.fault

RUN = "document.title=`pwned`"
INJECTIONS = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"</textarea></pre></details></table></svg><script>{RUN}</script>",
    f"--><script>{RUN}</script><!--",
    f"]]><script>{RUN}</script>",
    f"<ScRiPt\n>{RUN}</sCrIpT\t>",
    f"<img src=x onerror={RUN}>",
    f"<img src=x onerror={RUN}//",
    f'"><img src=x onerror={RUN}>',
    f"'><img src=x onerror={RUN}>",
    f'" onmouseover="{RUN}" autofocus onfocus="{RUN}" x="',
    f"' onmouseover='{RUN}' autofocus onfocus='{RUN}' x='",
    f"` onmouseover=`{RUN}",
    f"<svg/onload={RUN}>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s></svg>",
    f"<svg><use href=\"data:image/svg+xml,<svg id='x' onload='{RUN}'/>#x\"></use></svg>",
    f"<math><mtext></mtext><mglyph><style></math><img src=x onerror={RUN}>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f'<iframe src="javascript:parent.{RUN}"></iframe>',
    f'<a href="javascript:{RUN}" autofocus>x</a>',
    f"<object data='javascript:{RUN}'></object><embed src='javascript:{RUN}'>",
    f"<body onload={RUN}><details open ontoggle={RUN}>",
    f"<form action='javascript:{RUN}'><input autofocus onfocus={RUN}></form>",
    "<base href='https://example.invalid/'><link rel=stylesheet href=//example.invalid/x.css>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "<style>@import '//example.invalid/x.css'; * { background: url(//example.invalid/x) }</style>",
    f"\x00<script>{RUN}</script>\ufeff<\x00script>{RUN}</script>",
    f"&lt;script&gt;{RUN}&lt;/script&gt; &#60;script&#62;{RUN}&#60;/script&#62;",
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e \\x3cscript\\x3e",
    "{{ 7 * 7 }} {% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %} {# x #} ${7*7} #{7*7}",
    "[a](javascript:alert(1)) ![x](x) [red]rich[/red] [link=javascript:x]y[/link]",
)
PLAIN = tuple(f"plain text {number}" for number in range(len(INJECTIONS)))
NAMES = tuple(text for text in INJECTIONS if "/" not in text and "\x00" not in text)


class Shape(HTMLParser):
    """Counts the elements of a page and collects their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[tuple[str, str]] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("href", "src", "action", "data", "xlink:href")}


def _pages(folder: Path, texts: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    folder.mkdir()
    runs = [
        make_run(
            folder / f"run {number} {names[number]}"[:200], texts=tuple(texts), model=texts[number], n_problems=36, n=2,
            benchmarks=(texts[number + 2],), engine=texts[number + 4], levels=2, digest_status=texts[number + 6],
        )
        for number in range(2)
    ]  # fmt: skip
    chains = make_chains_run(
        folder / "chains", byte_tokenizer(folder / "tokenizer"), policies=(texts[0], texts[12]), texts=list(texts),
        n_problems=36, benchmark=texts[9],
    )  # fmt: skip
    base = make_run(folder / f"base {names[2]}", n_problems=36, n=2, levels=2)
    trained = make_run(folder / f"trained {names[3]}", n_problems=36, n=2, levels=2, seed=1)
    called = {base.path: names[4], trained.path: texts[5]}
    wanted = Request(
        base=base.path, trained=(trained.path,), names=called, grader=GRADER, allow_different_protocol=True
    )
    return {
        "one": report([runs[0]], folder / "one.html", grader=GRADER),
        "several": report(runs, folder / "several.html", grader=GRADER),
        "chains": report([chains], folder / "chains.html", grader=GRADER),
        "ledger": ledger_page(compare(wanted).content, folder / "ledger" / "report.html"),
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, Path]]:
    folder = tmp_path_factory.mktemp("pages")
    return _pages(folder / "plain", PLAIN, PLAIN), _pages(folder / "hostile", INJECTIONS, NAMES)


def _shape(page: Path) -> Shape:
    shape = Shape()
    shape.feed(page.read_text(encoding="utf-8"))
    shape.close()
    return shape


@pytest.mark.parametrize("name", ["one", "several", "chains", "ledger"])
def test_injected_text_adds_nothing_to_a_page(pages: tuple[dict[str, Path], dict[str, Path]], name: str) -> None:
    plain, hostile = (_shape(built[name]) for built in pages)
    assert set(hostile.tags) <= set(plain.tags)
    for tag in ("script", "style", "meta", "link", "title", "base", "form", "body", "details"):
        assert hostile.tags[tag] == plain.tags[tag], tag
    assert hostile.attributes <= plain.attributes
    assert not [one for one in hostile.attributes if one[1].startswith("on")]
    assert all(link.startswith(("#", "data:,")) for link in hostile.links), hostile.links
    text = pages[1][name].read_text(encoding="utf-8")
    assert "pwned" in text, "the texts are not in the page: this test would show nothing"


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "without its policy"])
@pytest.mark.parametrize("name", ["one", "several", "chains", "ledger"])
def test_injected_text_does_not_run_in_a_browser(
    pages: tuple[dict[str, Path], dict[str, Path]], tmp_path: Path, name: str, guarded: bool
) -> None:
    source = pages[1][name].read_text(encoding="utf-8")
    # without the content security policy, what escaping alone keeps out
    page = tmp_path / "page.html"
    page.write_text(source if guarded else re.sub(r"<meta http-equiv[^>]*>", "", source, count=1), encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [str(BROWSER), *options.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "<title>pwned" not in found
    assert "Written by expo-bench" in found, "the page did not load"
    assert not re.search(r"<(img|iframe|object|embed|base)\b", found)
