"""The workbench in a real browser, by clicking: filters, links, sorting, live pages, a site of files, axe-core."""

import functools
import http.server
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect, sync_playwright

from expo_bench.evaluation.running import running_rate
from expo_bench.ledger.compare import Request, compare
from expo_bench.ledger.compare import write as write_ledger
from expo_bench.reports.ledger_page import ledger_page
from expo_bench.reports.reporting import report
from expo_bench.reports.training_page import training_page
from expo_bench.reports.workbench.pages_of import Pages
from expo_bench.reports.workbench.server import application
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.reports.workbench.site import write_site
from expo_bench.storage.ledger_folder import LedgerFolder
from expo_bench.storage.row_files import Appender
from expo_bench.storage.run_folder import RunFolder
from tests.reports.chain_runs import byte_tokenizer, make_chains_run
from tests.reports.test_workbench import make_training
from tests.synthetic_runs import GRADER, HOSTILE, make_run

# a machine that does other work is slow, and not wrong
expect.set_options(timeout=30_000)

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)"),
    pytest.mark.slow,
]
PAGES = {
    "index": "index.html",
    "run": "base/index.html",
    "samples": "base/samples.html",
    "hostile": "hostile/samples.html",
    "problem": "hostile/problems/math500-000000000000.html",
    "matrix": "compare.html?run=base&run=trained",
    "beside": "beside.html?run=base&run=hostile&problem=math500-000000000000",
    "training": "study/grpo/seed-0/index.html",
    "rollouts": "study/grpo/seed-0/rollouts/2.html",
    "study": "study/index.html",
    "plane": "chains/plane.html",
    "chain": "chains/chains/*.html",
    "problems": "base/problems.html",
    "prompt": "hostile/prompts/math500-000000000000.html",
    "scored": "chains/problems/*.html",
    "ledger": "ledger/index.html",
    "nothing": "nothing.html",
    "report of a run": "hostile/report.html",
    "report of a training": "study/grpo/seed-0/report.html",
    "report of chains": "chains/report.html",
    "page of a ledger": "ledger/report.html",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    make_run(root / "base", model="org/base", n_problems=20, n=6)
    make_run(root / "trained", model="org/trained", n_problems=20, n=6, seed=1)
    make_run(root / "hostile", model=HOSTILE[0], n_problems=20, texts=(*HOSTILE, r"so $\frac{1}{2}$ it is"))
    make_training(root / "study" / "grpo" / "seed-0")
    (root / "study" / "study.yaml").write_text("seeds: [0]\n")
    make_chains_run(root / "chains", byte_tokenizer(root / ".tokenizer"), texts=[HOSTILE[9], *HOSTILE], n_problems=6)
    request = Request(base=root / "base", trained=(root / "trained",), grader=GRADER)
    write_ledger(compare(request), root / "ledger")
    ledger_page(LedgerFolder(root / "ledger").content(), root / "ledger" / "report.html")
    for name in ("hostile", "chains"):
        report([RunFolder(root / name)], root / name / "report.html", grader=GRADER)
    training_page(root / "study" / "grpo" / "seed-0", root / "study" / "grpo" / "seed-0" / "report.html")
    return root


def place(page: Any, address: str, name: str) -> str:
    """Return the address of a page; a star stands for the first link of the pages before."""
    folder, star, _ = PAGES[name].partition("*")
    if not star:
        return address + PAGES[name]
    page.goto(f"{address}{folder.split('/')[0]}/{'plane' if 'chains/chains' in folder else 'problems'}.html")
    return str(page.locator(f"tbody a[href*='{folder}']").first.evaluate("one => one.href"))


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    import uvicorn

    pages = Pages(Shelf(folder, running_rate))
    server = uvicorn.Server(uvicorn.Config(application(pages), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()
    pages.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    made = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield made
    made.close()
    assert errors == []


def test_filters_search_sorting_and_links_work_by_clicking(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_label("Search").fill("org nothing")
    assert page.locator("#entries tbody tr:visible").count() == 0
    page.get_by_label("Search").fill("trained")
    assert page.locator("#entries tbody tr:visible").count() == 1
    page.get_by_label("Search").fill("")
    page.locator("#entries").get_by_role("button", name="Correct, %").click()
    values = page.locator("#entries tbody tr td:nth-child(8)").evaluate_all("all => all.map(one => one.dataset.sort)")
    known = [float(value) for value in values if value]
    assert known == sorted(known, reverse=True)
    page.get_by_label("Choose base").check()
    page.get_by_label("Choose trained", exact=True).check()
    page.get_by_role("button", name="Compare the chosen runs").click()
    assert "against" in page.locator("[data-part=told]").inner_text()
    page.locator("#matrix tbody a").first.click()
    assert page.locator(".beside .run").count() == 2
    page.go_back()
    page.go_back()
    page.locator("#entries a", has_text="base").first.click()
    page.get_by_role("link", name="Samples", exact=True).click()
    page.get_by_label("Verdict").select_option("correct")
    page.get_by_label("Sort by").select_option("-tokens")
    page.get_by_label("Sort by").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/samples.html?*verdict=correct*")
    assert page.locator("tbody .badge.wrong").count() == 0
    assert page.locator("tbody .badge.correct").count() > 0
    page.locator("tbody a").first.click()
    # the sample of the address is open
    assert page.locator("details.sample:target").get_attribute("open") is not None


def test_a_page_follows_a_run_that_is_written_meanwhile(page: Any, address: str, folder: Path) -> None:
    whole = make_run(folder / "later", model="org/later", n_problems=10, n=4, finished=False)
    samples, grades = list(whole.samples()), list(whole.grades(GRADER))
    for path in (whole.metrics_path, whole.samples_path, whole.grades_path(GRADER)):
        path.unlink()
    run = RunFolder(whole.path)
    with run.lock(), Appender(run.samples_path) as rows, Appender(run.grades_path(GRADER)) as verdicts:
        rows.append(samples[:8])
        verdicts.append(grades[:8])
        until = time.monotonic() + 30
        while not page.request.get(address + "later/index.html").ok:
            # new folders are looked for once a second
            assert time.monotonic() < until
            time.sleep(0.1)
        page.goto(address + "later/index.html")
        tile = page.locator(".tiles.live .figure").first
        expect(tile).to_have_text("8")
        rows.append(samples[8:30])
        verdicts.append(grades[8:30])
        expect(tile).to_have_text("30")
        assert "running" in page.locator("[data-part=lead]").inner_text()


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_its_window_and_no_foreign_script_runs(browser: Any, address: str, name: str) -> None:
    for width, scheme in ((360, "dark"), (768, "light"), (1600, "light")):
        made = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        made.goto(place(made, address, name))
        made.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert made.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
        assert made.title() != "pwned"
        assert made.locator("iframe, img, object, embed").count() == 0
        made.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run(["npm", "pack", "axe-core@4"], cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"axe-core cannot be had from npm: {error}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_of_level_aa(browser: Any, address: str, axe: str, name: str) -> None:
    # the policy keeps foreign scripts out, this one too
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    made = context.new_page()
    made.goto(place(made, address, name))
    made.evaluate(axe)
    found = {}
    for scheme in ("light", "dark"):
        made.emulate_media(color_scheme=scheme)
        found[scheme] = made.evaluate(
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']}).then(done => done.violations"
            ".map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(' | ')}`))"
        )
    context.close()
    assert found == {"light": [], "dark": []}


def test_mathematics_is_drawn_and_the_raw_text_is_one_click_away(page: Any, address: str) -> None:
    page.goto(address + "hostile/samples.html?q=frac")
    page.locator("tbody a").first.click()
    formula = page.locator("details[open] .formula").first
    assert formula.locator("mfrac").is_visible()
    page.get_by_label("Raw text").check()
    assert not formula.locator("mfrac").is_visible()
    assert formula.inner_text().strip() == r"$\frac{1}{2}$"


def test_a_site_of_files_is_searched_and_leads_to_every_sample(page: Any, folder: Path, tmp_path: Path) -> None:
    write_site(folder, tmp_path / "site", running_rate)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.locator("#entries a", has_text="base").first.click()
        page.get_by_role("link", name="Samples", exact=True).click()
        expect(page.locator("tbody tr")).to_have_count(50)
        page.get_by_label("Verdict").select_option("correct")
        page.get_by_role("button", name="Show").click()
        right = sum(grade.correct is True for grade in RunFolder(folder / "base").grades(GRADER))
        expect(page.locator("[data-part=told]")).to_contain_text(f"of {right} samples")
        words = next(RunFolder(folder / "base").samples()).text.split()[0]
        page.get_by_label("Verdict").select_option("")
        page.get_by_role("searchbox").fill(words)
        page.get_by_role("button", name="Show").click()
        wanted = sum(words.lower() in one.text.lower() for one in RunFolder(folder / "base").samples())
        expect(page.locator("[data-part=told]")).to_contain_text(f"of {wanted} samples")
        page.locator("tbody a").first.click()
        assert page.locator("details.sample:target").get_attribute("open") is not None
        page.get_by_role("link", name="The prompt as it was sent").click()
        assert "What is the sum" in page.locator("main").inner_text()
        page.goto(f"http://127.0.0.1:{server.server_port}/trained/samples.html")
        page.get_by_label("Ledger").select_option("trained_only")
        page.get_by_role("button", name="Show").click()
        new = sum(row["cell"] == "trained_only" for row in LedgerFolder(folder / "ledger").rows())
        expect(page.locator("[data-part=told]")).to_contain_text(f"of {6 * new} samples")
    finally:
        server.shutdown()
