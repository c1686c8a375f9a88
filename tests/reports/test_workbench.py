"""The workbench without a browser: what its pages show, what they escape, who may read them."""

import html
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from starlette.testclient import TestClient

from expo_bench.errors import UserError
from expo_bench.evaluation.running import running_rate
from expo_bench.ledger.compare import Request, compare
from expo_bench.ledger.compare import write as write_ledger
from expo_bench.reports.text import visible
from expo_bench.reports.training_page import training_page, training_view
from expo_bench.reports.workbench.pages_of import Pages
from expo_bench.reports.workbench.server import application, is_local
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.reports.workbench.site import write_site
from expo_bench.rows import Rollout
from expo_bench.storage.ledger_folder import LedgerFolder
from expo_bench.storage.row_files import encode
from expo_bench.storage.run_folder import RunFolder, file_name
from expo_bench.storage.training_folder import TrainingFolder
from tests import fakes
from tests.reports.chain_runs import byte_tokenizer, make_chains_run
from tests.synthetic_runs import GRADER, HOSTILE, make_run

LOCAL = "http://127.0.0.1:8040"
ODD = "a b#c?d%41&'\"<é>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    make_run(root / "base", model="org/base", n_problems=20, n=6)
    make_run(root / "deep" / "trained", model="org/trained", n_problems=20, n=6, seed=1)
    make_run(root / "half", model="org/half", n_problems=20, n=6, finished=False).metrics_path.unlink()
    make_run(root / "hostile", model=HOSTILE[0], n_problems=20, texts=HOSTILE)
    make_training(root / "study" / "grpo" / "seed-0")
    (root / "study" / "study.yaml").write_text("seeds: [0]\n")
    tokenizer = byte_tokenizer(root / ".tokenizer")
    chains = make_chains_run(root / "chains", tokenizer, texts=[HOSTILE[9], *HOSTILE], n_problems=6)
    own = [
        fakes.sample(index=int(one.candidate_id[4:]), problem_id=one.problem_id, text=one.text)
        for one in chains.candidates() if one.candidate_id.startswith("own-")
    ]  # fmt: skip
    chains.samples_path.write_bytes(b"".join(map(encode, own)))
    request = Request(base=root / "base", trained=(root / "deep" / "trained",), grader=GRADER)
    write_ledger(compare(request), root / "ledger")
    odd = make_run(root / ODD, model="org/odd", n_problems=3, n=2)
    odd.report_path.write_text("<script>steal()</script>")
    damaged = make_run(root / "damaged", n_problems=2)
    damaged.manifest_path.write_text("{")
    return root


def make_training(path: Path) -> None:
    """Write a training of four steps of two groups; the first group of each step has a reward from step 2 on."""
    make_run(path / "evaluations" / "checkpoint-0", n_problems=20, n=6, skill=0.2)
    make_run(path / "evaluations" / "checkpoint-4", model="out/checkpoint-4", n_problems=20, n=6)
    (path / "recipe.yaml").write_text("method: grpo\nmodel: micro\nbenchmark: micro\nsteps: 8\n")
    (path / "log.jsonl").write_text(
        "".join(json.dumps({"step": s, "loss": 0.1, "entropy": 1 / s}) + "\n" for s in (1, 2, 3))
    )
    rows = [
        Rollout(
            step=step, group=group, problem_id=f"micro-{group}", level=group, source=source, sample_index=index,
            text=HOSTILE[index], n_tokens=10 + step, finish_reason="stop", sum_logprob=-20.0, status="graded",
            reward=float(step > 1 and group == 0 and index == 0), advantage=0.5, weight=None, leaks_answer=None,
        )
        for step in range(4) for group in range(2) for source in ("own", "self_explanation") for index in range(2)
    ]  # fmt: skip
    (path / "rollouts.jsonl").write_bytes(b"".join(map(encode, rows)))


def test_a_training_is_told_by_its_rows(folder: Path, tmp_path: Path) -> None:
    path = folder / "study" / "grpo" / "seed-0"
    index = TrainingFolder(path).rollout_index()
    index.refresh(60)
    view = training_view(path, index)
    assert view["lead"] == "grpo of micro on micro: 4 of 8 steps."
    told = {one["title"]: one["svg"] for one in view["panels"]}
    # two of eight own rollouts of a step are... one of four: 0.25; one of its two groups has no reward
    assert "reward ends at 0.25" in told["Mean reward, own rollouts"]
    assert "groups ends at 50" in told["Groups without a reward, %"]
    assert "own ends at −1.54" in told["Log p a token by source, nats"]
    assert "entropy ends at 0.333" in told["Entropy, nats a token"]
    assert view["steps"] == [0, 1, 2, 3]
    page = training_page(path, tmp_path / "report.html").read_text()
    assert "<title>seed-0</title>" in page
    with pytest.raises(UserError, match="no training"):
        training_page(folder / "base", tmp_path / "other.html")


def test_the_matrix_puts_new_problems_first(client: TestClient, folder: Path) -> None:
    counts = []
    for name in ("base", "deep/trained"):
        run = RunFolder(folder / name)
        right = dict.fromkeys((p.problem_id for p in run.problems()), 0)
        for grade in run.grades(GRADER):
            right[grade.problem_id] += grade.correct is True
        counts.append(right)
    base, trained = counts
    new = [one for one in base if not base[one] and trained[one]]
    lost = [one for one in base if base[one] and not trained[one]]
    page = client.get("/compare.html?run=base&run=deep/trained").text
    assert f"{len(new)} new and {len(lost)} lost against base" in page
    order = [("new" if " new " in row else "lost" if " lost " in row else "same") for row in rows(page)]
    assert order == ["new"] * len(new) + ["lost"] * len(lost) + ["same"] * (20 - len(new) - len(lost))
    assert len(rows(client.get("/compare.html?run=base&run=deep/trained&kind=new").text)) == len(new)
    ledger = client.get("/ledger/index.html").text
    assert ledger.count('class="square trained_only" href') == len(new)
    assert ledger.count('class="square base_only" href') == len(lost)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    pages = Pages(Shelf(folder, running_rate))
    with TestClient(application(pages), base_url=LOCAL) as client:
        yield client
    pages.close()


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def rows(page: str) -> list[str]:
    """Return the rows of the page's first table as their texts."""
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.split(r"<tr[^>]*>", body)[1:]]


def test_the_index_names_every_entry_with_its_state(client: TestClient) -> None:
    page = client.get("/").text
    shown = rows(page)
    assert len(shown) == 12
    states = {name: next(row for row in shown if row.startswith(f"{name} run")) for name in
              ("base", "deep/trained", "half", "hostile")}  # fmt: skip
    assert "finished" in states["base"]
    assert "stopped" in states["half"]
    assert any("damaged" in row and "manifest.json is damaged" in row for row in shown)
    # one benchmark and one protocol: a leaderboard, best first
    board = [float(value) for value in re.findall(r"<td>([\d.]+)<span", page.split("Leaderboards</h2>")[1])][::2]
    assert len(board) >= 2
    first = board[: board.index(min(board)) + 1]
    assert first == sorted(first, reverse=True)


def test_every_link_of_every_page_leads_somewhere(client: TestClient) -> None:
    seen, waiting = set(), ["/index.html"]
    while waiting:
        address = waiting.pop()
        answer = client.get(address)
        assert answer.status_code == 200, address
        for _, attributes in Tags(answer.text).found:
            link = (attributes.get("href") or "").partition("#")[0]
            # one of a kind is enough where a page lists many
            if not link or link.startswith("data:") or "from=" in link:
                continue
            target = str(answer.url.join(link).raw_path.decode())
            kind = re.sub(r"[0-9a-f]{12}", "*", target)
            if kind not in seen:
                seen.add(kind)
                waiting.append(target)
    assert len(seen) >= 30, seen


COUNTED = {
    "": lambda s, g, p: True,
    "verdict=correct": lambda s, g, p: g.correct is True,
    "verdict=wrong": lambda s, g, p: g.correct is False,
    "verdict=truncated": lambda s, g, p: g.status == "truncated",
    "level=3": lambda s, g, p: p.level == 3,
    "level=3&verdict=correct": lambda s, g, p: p.level == 3 and g.correct is True,
    "least=100": lambda s, g, p: s.n_tokens >= 100,
    "least=50&most=99": lambda s, g, p: 50 <= s.n_tokens <= 99,
    "q=ANSWER": lambda s, g, p: "answer" in s.text.lower(),
    "q=problem 1&where=question": lambda s, g, p: "problem 1" in p.question.lower(),
    "q=1&where=answer": lambda s, g, p: "1" in (g.extracted or ""),
    "least=nonsense": lambda s, g, p: True,
}


@pytest.mark.parametrize("query", COUNTED)
def test_filters_let_through_what_they_say(client: TestClient, folder: Path, query: str) -> None:
    run = RunFolder(folder / "base")
    grades = {(g.problem_id, g.sample_index): g for g in run.grades(GRADER)}
    problems = {p.problem_id: p for p in run.problems()}
    wanted = sum(COUNTED[query](s, grades[s.problem_id, s.sample_index], problems[s.problem_id]) for s in run.samples())
    page = client.get(f"/base/samples.html?{query}").text
    assert f"{wanted:,} samples; the run has 120." in page
    assert len(rows(page)) == min(wanted, 50)


@pytest.mark.parametrize(("sort", "column"), [("tokens", -2), ("-tokens", -2), ("-agreement", -1), ("level", None)])
def test_sorts_go_through_all_samples(client: TestClient, sort: str, column: int | None) -> None:
    found: list[float] = []
    for first in (0, 50, 100):
        for row in rows(client.get(f"/base/samples.html?sort={sort}&from={first}").text):
            if column is not None and row.split()[column] != "–":
                found.append(float(row.split()[column].replace(",", "")))
    assert found == sorted(found, reverse=sort.startswith("-"))


def test_a_run_that_is_drawn_says_how_it_does(client: TestClient, folder: Path) -> None:
    run = RunFolder(folder / "half")
    rates: dict[str, list[bool]] = {}
    for grade in run.grades(GRADER):
        rates.setdefault(grade.problem_id, []).append(grade.correct is True)
    mean = sum(sum(own) / len(own) for own in rates.values()) / len(rates)
    page = client.get("/half/index.html").text
    assert f"{100 * mean:.1f}<small>%" in page
    assert "20 problems, 120 samples" in page


def test_samples_without_verdicts_are_judged_while_one_looks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=4, n=2, finished=False)
    run.metrics_path.unlink()
    run.grades_path(GRADER).unlink()
    pages = Pages(Shelf(tmp_path, running_rate))
    try:
        page = pages.page("run/index.html", {}) or ""
        for _ in range(20):
            if "4 problems, 8 samples, judged here" in page:
                break
            page = pages.page("run/index.html", {}) or ""
        assert "4 problems, 8 samples, judged here" in page
    finally:
        pages.close()
    assert not run.grades_path(GRADER).exists()


def test_verdicts_while_one_looks_see_the_problem(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=1, n=2, finished=False)
    run.metrics_path.unlink()
    run.grades_path(GRADER).unlink()
    run.write_problems([fakes.problem(0, question="What is $3+4$?", answer="7")])
    # what is copied from the problem is no answer, though it equals the gold one
    texts = ("\\boxed{3+4}", "\\boxed{7}")
    run.samples_path.write_bytes(b"".join(encode(fakes.sample(0, at, text=text)) for at, text in enumerate(texts)))
    pages = Pages(Shelf(tmp_path, running_rate))
    try:
        page = pages.page("run/index.html", {}) or ""
        for _ in range(20):
            if "1 problems, 2 samples, judged here" in page:
                break
            page = pages.page("run/index.html", {}) or ""
    finally:
        pages.close()
    assert "1 problems, 2 samples, judged here" in page
    assert "50.0<small>%" in page


@pytest.mark.parametrize("address", ["index.html", "hostile/index.html", "hostile/samples.html"])
def test_text_of_models_is_escaped_and_the_policy_is_strict(client: TestClient, address: str) -> None:
    answer = client.get(f"/{address}", params={"q": HOSTILE[3]} if "samples" in address else {})
    tags = Tags(answer.text).found
    assert [tag for tag, _ in tags].count("script") == 1
    assert not {"iframe", "img", "object", "embed", "base"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
    scripts = re.findall(r"script-src ([^;]*);", policy)
    assert scripts and scripts[0].startswith("'sha256-") and " " not in scripts[0]


def test_a_problem_page_shows_all_samples_of_hostile_texts(client: TestClient, folder: Path) -> None:
    problem = next(RunFolder(folder / "hostile").problems())
    page = client.get("/hostile/samples.html?sort=problem").text
    link = next(a["href"] for tag, a in Tags(page).found if tag == "a" and "/problems/" in (a.get("href") or ""))
    shown = client.get("/hostile/samples.html").url.join(link or "")
    text = client.get(str(shown).partition("#")[0]).text
    assert text.count('<details class="sample"') == 8
    assert problem.problem_id.partition("-")[0] in text


@pytest.mark.parametrize(
    "address",
    ["nothing.html", "base/manifest.json", "base/../base/manifest.json", "base/problems/..%2f..%2fmanifest.html",
     "%2e%2e/index.html", "base/report.html/x", "base/problems/no.html"],
)  # fmt: skip
def test_nothing_else_is_served(client: TestClient, address: str) -> None:
    assert client.get(f"/{address}").status_code == 404


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "site"
    assert write_site(folder, out, running_rate) > 100
    return out


def test_an_odd_name_of_a_folder_is_an_address_like_any_other(client: TestClient, site: Path) -> None:
    page = client.get("/index.html")
    [link] = {a["href"] for tag, a in Tags(page.text).found if tag == "a" and "41" in (a.get("href") or "")}
    assert client.get(str(page.url.join(link or ""))).status_code == 200
    place = quote(ODD, safe="")
    assert client.get(f"/{place}/samples.html").status_code == 200
    assert client.get(f"/compare.html?{urlencode([('run', place), ('run', 'base')])}").text.count("<tr") > 3
    # a browser leaves some of these as they are
    assert client.get("/" + quote(ODD, safe="'\"<>&")).status_code == 404
    assert client.get("/" + quote(ODD, safe="'&") + "/index.html").status_code == 200
    assert (site / ODD / "samples" / "0.json").is_file()
    [problem] = (site / ODD / "problems").glob("*0.html")
    assert (site / ODD / "prompts" / problem.name).is_file()
    assert f"prompts/{problem.name}" in problem.read_text()


def test_the_pieces_of_a_site_hold_what_its_list_is_filtered_by(folder: Path, site: Path) -> None:
    rows = json.loads((site / "deep" / "trained" / "samples" / "0.json").read_text())
    ledger = {row["problem_id"]: row["cell"] for row in LedgerFolder(folder / "ledger").rows()}
    assert {row["problem"]: row["cell"] for row in rows} == ledger
    run = RunFolder(folder / "deep" / "trained")
    right = [grade.correct is True for grade in run.grades(GRADER) if grade.problem_id == rows[0]["problem"]]
    assert rows[0]["rate"] == sum(right) / len(right)
    page = (site / "deep" / "trained" / "samples.html").read_text()
    assert all(f'name="{name}"' in page for name in ("cell", "level", "subject", "verdict", "agreement"))
    assert "problem's rate, low first" in html.unescape(page)


def test_a_report_of_another_hand_runs_no_script(client: TestClient) -> None:
    answer = client.get(f"/{quote(ODD, safe='')}/report.html")
    assert "steal" in answer.text
    assert re.search(r"script-src 'sha256-[^ ]+'; base-uri", answer.headers["content-security-policy"])


def test_no_address_leads_to_another_server(client: TestClient) -> None:
    for address in ("//evil.example/", "//evil.example//", "/\\evil.example/"):
        answer = client.get(f"{LOCAL}{address}", follow_redirects=False)
        assert not re.match(r"/?[/\\]{2}|https?:", answer.headers.get("location", "")), address


def test_scored_samples_are_shown_token_by_token(client: TestClient, folder: Path) -> None:
    run = RunFolder(folder / "chains")
    own = next(one for one in run.candidates() if one.candidate_id.startswith("own-"))
    place = int(own.candidate_id.removeprefix("own-"))
    sample = next(s for s in run.samples() if (s.problem_id, s.sample_index) == (own.problem_id, place))
    page = client.get(f"/chains/problems/{file_name(own.problem_id)}.html").text
    part = page.split(f'id="sample-{place}"')[1].split("Link to this sample")[1].split("</details>")[0]
    tokens = re.findall(r'<span class="h\d" title="[^"]*">([^<]*)</span>', part)
    assert visible(sample.text).startswith("".join(map(html.unescape, tokens))[:20])
    assert len(tokens) > 3


def test_nothing_can_be_written(client: TestClient) -> None:
    assert client.post("/index.html").status_code == 405
    assert client.delete("/base/index.html").status_code == 405


def test_only_this_machine_or_who_has_the_token_may_read(folder: Path) -> None:
    pages = Pages(Shelf(folder, running_rate))
    guarded = TestClient(application(pages, "secret"), base_url="http://example.org")
    assert guarded.get("/index.html").status_code == 403
    assert guarded.get("/secreT/index.html").status_code == 403
    page = guarded.get("/secret/")
    assert page.status_code == 200
    # links keep the token, for they are relative
    assert not [a["href"] for tag, a in Tags(page.text).found if tag == "a" and (a["href"] or "").startswith("/")]
    elsewhere = TestClient(application(pages), base_url="http://evil.example")
    assert elsewhere.get("/index.html").status_code == 403
    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1", "x")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_single_run_may_be_looked_at(folder: Path) -> None:
    pages = Pages(Shelf(folder / "base", running_rate))
    assert "base/index.html" in (pages.page("index.html", {}) or "")
    assert pages.page("base/samples.html", {})
