"""Reports over run folders made by hand: what they say, and that nothing foreign in them comes alive."""

import base64
import hashlib
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from expo_bench.errors import UserError, span
from expo_bench.reports.excerpts import draw
from expo_bench.reports.reporting import report, table
from expo_bench.reports.tables import ALL, TARGETS, MetricTable, Subset, outline, spread_ks
from expo_bench.reports.text import excerpt, short, visible
from expo_bench.rows import Metric
from expo_bench.storage.run_folder import RunFolder
from tests.synthetic_runs import GRADER, HOSTILE, make_run


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(self.source)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts.append(data)
        elif not self.stack or self.stack[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def classes(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.elements if name in (attributes.get("class") or "").split()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="module")
def page(run: RunFolder) -> Page:
    return Page(report([run], run.report_path, grader=GRADER))


def metric(run: RunFolder, name: str, subset: str = "all") -> Metric:
    return next(m for m in run.metrics() if (m.name, m.subset) == (name, subset))


def percent(value: float | None) -> str:
    assert value is not None
    return f"{100 * value:.1f}"


def test_page_tells_what_was_run_and_what_came_of_it(run: RunFolder, page: Page) -> None:
    for expected in (
        "tiny-model on math500",
        "math500 (test, 50 problems)",
        "temperature 1.0, top-p 1.0, at most 256 tokens",
        "transformers 1.2.3",
        "2 March 2026, 09:12 UTC",
        "45 min",
        "prompt_digest0a1b2c3d4e5f",
    ):
        assert expected in page.text
    for name in ("avg@8", "avg@8|graded", "pass@8", "truncated"):
        found = metric(run, name)
        assert f"{percent(found.value)}%" in page.text
        assert f"problems like these {span(found.ci_low, found.ci_high)}" in page.text
    average = metric(run, "avg@8")
    assert f"95%: these problems {span(average.these_low, average.these_high)}; problems like these" in page.text


def test_a_single_run_shows_what_lies_above_n(run: RunFolder, page: Page, tmp_path: Path) -> None:
    assert "k = 32: what the samples leave possible" in page.text
    found = metric(run, "pass@32|forecast")
    low, high = math.floor(100 * found.ci_low), math.ceil(100 * found.ci_high)
    assert f"{low}\u2013{high}" in (run.path / "figures" / "pass_at_k.svg").read_text(encoding="utf-8")
    # curves of several runs end at n
    other = make_run(tmp_path / "other", model="org/other", seed=1)
    assert "leave possible" not in Page(report([run, other], tmp_path / "both.html", grader=GRADER)).text


def test_page_shows_every_metric_by_level(run: RunFolder, page: Page) -> None:
    for found in run.metrics():
        if found.ci_low is not None and found.name not in ("tokens", "logprob_per_token"):
            here, like = span(found.these_low, found.these_high), span(found.ci_low, found.ci_high)
            told = f"these {here}like {like}" if here else like
            assert f"{percent(found.value)}{told}" in page.text


def test_page_needs_nothing_from_outside(page: Page) -> None:
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("href", "src")]
    assert links
    assert all(value is not None and (value.startswith(("#", "data:text/csv")) or value == "data:,") for value in links)
    style = "".join(re.findall(r"<style>(.*?)</style>", page.source, re.DOTALL))
    assert "@import" not in style
    assert "url(" not in style
    assert {value for _, a in page.elements for n, value in a.items() if n == "clip-path"} <= {
        f"url(#{a['id']})" for a in page.all("clippath")
    }


def test_page_allows_only_its_own_script(page: Page) -> None:
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    [script] = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_ids_are_unique_and_references_resolve(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in page.elements if (a.get("href") or "").startswith("#")} <= set(ids)


def test_figures_stand_beside_the_page_and_carry_their_colours(run: RunFolder, page: Page) -> None:
    for name in ("pass_at_k", "levels", "statuses"):
        source = (run.path / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        root = ElementTree.fromstring(source)
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        used = set(re.findall(r"var\((--[\w-]+)\)", source))
        assert used <= set(re.findall(r"(--[\w-]+):#", source))
        assert not re.search(r"(fill|stroke): ?#", source)
        assert "prefers-color-scheme:dark" in source
        assert f'id="{name}-wide-title"' in page.source
        assert f'id="{name}-narrow-title"' in page.source


def test_the_same_runs_give_the_same_bytes(run: RunFolder, page: Page, tmp_path: Path) -> None:
    again = report([run], tmp_path / "again.html", grader=GRADER)
    assert again.read_text(encoding="utf-8") == page.source


def test_samples_are_shown_with_their_verdicts(page: Page) -> None:
    problems, samples = page.classes("problem"), page.classes("sample")
    assert len(problems) == 50
    assert len(samples) == 200
    assert {p["data-level"] for p in problems} == set("12345")
    assert {s["data-outcome"] for s in samples} == {"correct", "wrong", "ungraded"}
    assert "log-probability −0." in page.text
    assert "characters left out" in page.text


def test_foreign_text_stays_text(tmp_path: Path) -> None:
    hostile = make_run(tmp_path / "run", texts=HOSTILE, model=HOSTILE[0], engine=HOSTILE[1])
    other = make_run(tmp_path / "other", texts=HOSTILE[::-1], model=HOSTILE[6], benchmarks=(HOSTILE[3], "b\x00&"))
    for runs in ([hostile], [hostile, other]):
        out = report(runs, tmp_path / "out" / "report.html", grader=GRADER)
        page = Page(out)
        assert len(page.scripts) == len(page.all("script")) == 1
        assert not {"img", "iframe", "object", "a onclick"} & {tag for tag, _ in page.elements}
        names = {name for _, attributes in page.elements for name in attributes}
        assert not any(name.startswith("on") for name in names)
        assert all((a.get("href") or "").startswith(("#", "data:text/csv")) for a in page.all("a"))
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.source)
        for expected in ("</script><script>", "{{ 7 * 7 }}", "␀", "␛[31m", "[U+202E]", "👩‍👩‍👧‍👦"):
            assert expected in page.text
        for figure in (tmp_path / "out" / "figures").glob("*.svg"):
            ElementTree.parse(figure)


def test_several_runs_are_compared_with_their_differences_named(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", n_problems=20),
        make_run(
            tmp_path / "b",
            n_problems=20,
            engine="vllm",
            max_tokens=512,
            finished=False,
            digest_status="changed",
            seed=1,
        ),
    ]
    page = Page(report(runs, tmp_path / "report.html", grader=GRADER))
    text = page.text
    assert "tiny-model, 2 runs, on math500" in text
    assert "These runs do not share a protocol (2 protocol hashes among 2 runs)" in text
    assert "max_tokens: A 256; B 512" in text
    assert "Not finished" in text
    assert "Changed data" in text
    for run, letter in zip(runs, ("A · transformers", "B · vllm"), strict=True):
        assert f"{percent(metric(run, 'avg@8').value)}% for {letter}" in text
    assert {s["data-outcome"] for s in page.classes("sample")} == {"correct", "wrong", "ungraded"}


def test_runs_of_one_protocol_bring_no_warning(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, n_problems=10, seed=seed) for seed, name in enumerate(("first", "second"))]
    page = Page(report(runs, tmp_path / "report.html", grader=GRADER))
    assert not page.classes("note")
    assert "A · first" in page.text


def test_runs_on_different_problems_are_told_apart(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", n_problems=10),
        make_run(tmp_path / "b", n_problems=10, benchmarks=("math500", "aime24"), model="other"),
    ]
    page = Page(report(runs, tmp_path / "report.html", grader=GRADER))
    assert "do not cover the same problems" in page.text
    assert "math500: percent; n is the number" in page.text
    assert TARGETS in page.text


@pytest.mark.parametrize("n", [1, 3])
def test_small_runs_without_levels_have_a_report(tmp_path: Path, n: int) -> None:
    run = make_run(tmp_path / "run", n=n, levels=0, n_problems=6, benchmarks=("aime24",))
    page = Page(report([run], run.report_path, grader=GRADER))
    assert (run.path / "figures" / "statuses.svg").is_file()
    assert (run.path / "figures" / "pass_at_k.svg").is_file() == (n > 1)
    assert "aime24 (test, 6 problems)" in page.text


def test_a_large_run_gives_a_small_page(tmp_path: Path) -> None:
    texts = ('"' * 20_000, "\u202e" * 10_000, "😀" * 10_000) * 6 + ("x" * 1_000_000,)
    run = make_run(tmp_path / "run", n_problems=70, n=4, texts=texts)
    out = report([run], run.report_path, grader=GRADER)
    assert run.samples_path.stat().st_size > 20e6
    assert out.stat().st_size < 5e6
    assert len(Page(out).classes("problem")) == 60


def test_without_metrics_the_user_is_told_what_to_do(run: RunFolder, tmp_path: Path) -> None:
    bare = RunFolder(tmp_path / "bare")
    bare.write_manifest(run.read_manifest())
    with pytest.raises(UserError, match="no metrics yet: resume the run"):
        report([bare], tmp_path / "report.html", grader=GRADER)
    with pytest.raises(UserError, match="it has those of math-verify"):
        report([run], tmp_path / "report.html", grader="other")
    with pytest.raises(UserError, match="at least one run"):
        report([], tmp_path / "report.html", grader=GRADER)
    assert not (tmp_path / "report.html").exists()


def test_draw_is_balanced_and_seeded(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=200, n=6, skill=0.3)
    drawn = draw([run], GRADER)
    assert drawn == draw([run], GRADER)
    assert [sum(read.problem.level == level for read in drawn) for level in range(1, 6)] == [12] * 5
    assert sum(read.runs[0].n_correct > 0 for read in drawn) >= 20
    for read in drawn:
        [own] = read.runs
        correct = sum(sample.outcome == "correct" for sample in own.samples)
        assert len(own.samples) == 4
        assert correct == min(own.n_correct, max(2, 4 - (own.n - own.n_correct)))


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_table_fits_and_has_the_numbers(run: RunFolder, width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(run.metrics(), title="tiny\x1b[31m on math500"))
    text = console.export_text()
    assert "…" not in text
    assert "\x1b" not in text
    for name in ("avg@8", "graded", "pass@2", "pass@8", "maj@8", "trun-", "Level 5"):
        assert name in text
    for name in ("avg@8", "avg@8|graded", "pass@8", "maj@8", "truncated", "no_answer"):
        assert percent(metric(run, name).value) in text
        assert percent(metric(run, name, "level=5").value) in text


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_keeps_the_names_of_the_rows_and_the_average(run: RunFolder, width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(run.metrics(), title="tiny"))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    (level,) = (line for line in lines if line.strip().startswith("Level 5"))
    assert percent(metric(run, "avg@8", "level=5").value) in level


def test_outline_orders_benchmarks_and_levels() -> None:
    def row(subset: str) -> Metric:
        return Metric(
            name="avg@2",
            subset=subset,
            grader="g",
            value=0.5,
            stderr=None,
            ci_low=None,
            ci_high=None,
            n_problems=1,
            n_samples=2,
            counts={"graded": 2},
        )

    one = MetricTable(map(row, ["all", "benchmark=b", "level=10", "level=2", "domain=Algebra, level=3 -> x"]))
    assert outline([one]) == [(ALL, 0), (Subset("b", "level", "2"), 1), (Subset("b", "level", "10"), 1)]
    assert Subset("b", "domain", "Algebra, level=3 -> x") in one.subsets
    two = MetricTable(
        map(row, ["all", "benchmark=b", "benchmark=a", "benchmark=b,level=2", "benchmark=b,subject=S, T"])
    )
    expected = [(ALL, 0), (Subset("a"), 1), (Subset("b"), 1), (Subset("b", "level", "2"), 2)]
    assert outline([two]) == expected
    assert two.get("avg@2", Subset("b", "subject", "S, T")) is not None
    assert one.get("avg@2", Subset("b", "level", "2")) == row("level=2")
    assert (Subset("b", "level", "10"), 2) in outline([one, two])


@pytest.mark.parametrize(
    ("ks", "expected"),
    [
        ([1], []),
        ([1, 2, 4], [2, 4]),
        ([1, 2, 4, 8, 16, 32, 64], [4, 16, 64]),
        ([1, 2, 4, 8, 16], [4, 8, 16]),
        ([1, 3, 5, 6, 7], [5, 6, 7]),
        ([1, 2, 3, 5, 6], [2, 5, 6]),
    ],
)
def test_spread_ks_keeps_the_largest(ks: list[int], expected: list[int]) -> None:
    assert spread_ks(ks) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("a\r\nb\rc", "a\nb␍c"),
        ("\x00\x1b\x7f\x85", "␀␛␡[U+0085]"),
        ("\u202eabc\u2069", "[U+202E]abc[U+2069]"),
        ("\ud800 \U0001f600", "\ufffd \U0001f600"),
    ],
)
def test_visible_shows_what_hides(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_excerpt_keeps_both_ends() -> None:
    text = "a" * 50 + "b" * 100 + "c" * 50
    assert excerpt(text, 100, tail=50) == ("a" * 50, "c" * 50, 100)
    assert excerpt(text, 200, tail=50) == (text, "", 0)
    assert excerpt("a" * 30 + "b", 30) == ("a" * 30, "", 1)
    assert len(excerpt("\u202e" * 10_000, 1000, tail=500).tail.encode()) <= 1500


def test_short_is_one_line() -> None:
    assert short("a\nb   c", 10) == "a b c"
    assert short("x" * 1_000_000, 5) == "xxxx…"
