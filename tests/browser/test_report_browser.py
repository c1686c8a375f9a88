"""The report in a real browser: nothing foreign runs, and no page is wider than its window."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from expo_bench.ledger.compare import Request, compare
from expo_bench.reports.ledger_page import ledger_page
from expo_bench.reports.reporting import report
from expo_bench.studies.learning_curves import Point
from expo_bench.studies.report import study_report
from tests.reports.chain_runs import byte_tokenizer, make_chains_run
from tests.synthetic_runs import GRADER, HOSTILE, make_run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")

# a window of chromium is never narrower than 500 pixels, but a frame in it may be
FRAME = """<!doctype html><style>body {{ margin: 0 }} iframe {{ border: 0; width: {width}px; height: 900px }}</style>
<iframe src="{page}"></iframe><pre id="found">not measured</pre><script>
addEventListener("load", () => {{
  const inside = document.querySelector("iframe").contentDocument;
  for (const fold of inside.querySelectorAll("details")) fold.open = true;
  const root = inside.documentElement;
  const wide = [...inside.querySelectorAll("body *")].filter(
    (e) => !e.closest(".scroll, svg, .formula") && e.getBoundingClientRect().right > root.clientWidth + 1);
  found.textContent = [root.clientWidth, root.scrollWidth, wide.length,
    wide.slice(0, 3).map((e) => e.tagName + "." + e.className).join(" ")].join("|");
}});
</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    hostile = make_run(folder / "hostile", texts=HOSTILE, model=HOSTILE[0], n_problems=20)
    runs = [
        make_run(folder / str(seed), seed=seed, engine=engine, benchmarks=("math500", "aime24"), n_problems=20)
        for seed, engine in enumerate(("transformers", "vllm", "server"))
    ]
    chains = make_chains_run(
        folder / "chains",
        byte_tokenizer(folder / "tokenizer"),
        policies=(HOSTILE[0], HOSTILE[9]),
        texts=[HOSTILE[9], HOSTILE[1], *HOSTILE],
        n_problems=12,
        benchmark=HOSTILE[2],
    )
    base, *trained = (run.path for run in runs)
    names = {base: "the base", trained[0]: HOSTILE[0], trained[1]: "another " * 9}
    request = Request(base=base, trained=tuple(trained), names=names, grader=GRADER, allow_different_protocol=True)
    ledger = compare(request).content
    curves = Path(__file__).resolve().parents[2] / "results/published/micro-study/curves.json"
    points = [Point(**{**one, "per_seed": tuple(one["per_seed"])}) for one in json.loads(curves.read_bytes())]
    return {
        "ledger": ledger_page(ledger, folder / "ledger" / "report.html"),
        "study": study_report([], points, folder / "study" / "report.html", "A study", ledger, candidates=chains),
        "chains": report([chains], folder / "chains.html", grader=GRADER),
        "hostile": report([hostile], folder / "hostile.html", grader=GRADER),
        "several": report([*runs, hostile], folder / "several.html", grader=GRADER),
    }


def dom(address: str, profile: Path, *options: str) -> str:
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files",
        f"--user-data-dir={profile}",
        *options,
        "--dump-dom",
        address,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "without its policy"])
@pytest.mark.parametrize(
    ("name", "titled", "ran"),
    [
        ("hostile", "<title>script&gt; on math500</title>", "20 of 20 problems"),
        ("chains", "<title>Candidates of script&gt; on &lt;svg/onload=", ""),
        ("study", "<title>A study</title>", ""),
    ],
)
def test_no_foreign_script_runs(
    pages: dict[str, Path], tmp_path: Path, guarded: bool, name: str, titled: str, ran: str
) -> None:
    source = pages[name].read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(source if guarded else re.sub(r"<meta http-equiv[^>]*>", "", source, count=1), encoding="utf-8")
    found = dom(page.as_uri(), tmp_path / "profile")
    assert titled in found
    assert ran in found, "the page's own script did not run"
    assert not re.search(r"<(img|iframe|object|embed)\b", found)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["hostile", "several", "chains", "ledger", "study"])
def test_page_is_never_wider_than_its_window(pages: dict[str, Path], tmp_path: Path, name: str, width: int) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, page=pages[name].as_uri()), encoding="utf-8")
    found = dom(frame.as_uri(), tmp_path / "profile", "--window-size=1400,1000")
    measured = re.search(r'<pre id="found">(.*?)</pre>', found)
    assert measured is not None
    client, scroll, n_wide, wide = measured[1].split("|")
    assert int(scroll) <= int(client) <= width
    assert int(n_wide) == 0, wide
