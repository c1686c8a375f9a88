"""Reports over scored candidates: what they say, that they stay small, and that nothing foreign in them comes alive."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from expo_bench.errors import UserError, span
from expo_bench.likelihood.two_property import compute
from expo_bench.reports.figures.heat import STEPS, decoded, read_heat, step_labels, step_of
from expo_bench.reports.figures.likelihood_figures import FLOOR, place
from expo_bench.reports.likelihood_views import number, ordered, read_chains
from expo_bench.reports.reporting import likelihood_figures, report
from expo_bench.reports.tables import between
from expo_bench.storage.run_folder import RunFolder
from tests.reports.chain_runs import MEANS, byte_tokenizer, make_chains_run
from tests.reports.test_reporting import Page
from tests.synthetic_runs import GRADER, HOSTILE, make_run

FIGURES = ("likelihood_by_source", "two_properties", "drift")
POLICIES = ("base", "out/checkpoint-100", "out/checkpoint-20")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return byte_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> RunFolder:
    return make_chains_run(tmp_path_factory.mktemp("runs") / "chains", tokenizer, policies=POLICIES)


@pytest.fixture(scope="module")
def page(run: RunFolder) -> Page:
    return Page(report([run], run.report_path, grader=GRADER))


def test_page_holds_the_metrics_of_every_policy_level_and_source(run: RunFolder, page: Page) -> None:
    shown = {"mean_logprob", "nll_ratio", "answer_lift", "logprob_gap", "lift_gap", "tokens", "reaches_answer"}
    metrics = [metric for metric in compute(run, draws=200) if metric.name in shown]
    assert {metric.policy for metric in metrics} == set(POLICIES)
    assert {metric.subset for metric in metrics} == {"all", "level=4", "level=5"}
    for metric in metrics:
        assert metric.value is not None
        if metric.ci_low is None or metric.ci_high is None:
            continue
        ends = (number(end, metric.name) for end in (metric.ci_low, metric.ci_high))
        rate = metric.name == "reaches_answer"
        told = span(metric.ci_low, metric.ci_high, 0) if rate else between(*ends)
        assert f"{number(metric.value, metric.name)}{told}" in page.text
    for expected in ("Candidates of base on math500", "self-explanation", "20 self-explanation", "Under checkpoint-20"):
        assert expected in page.text


def test_ids_are_unique_references_resolve_and_nothing_comes_from_outside(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [value or "" for _, a in page.elements for name, value in a.items() if name in ("href", "src")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all(link.startswith(("#", "data:text/csv")) or link == "data:," for link in links)


def test_figures_stand_beside_the_page_and_carry_their_colours(run: RunFolder, page: Page) -> None:
    for name in FIGURES:
        source = (run.path / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert ElementTree.fromstring(source).find("{http://www.w3.org/2000/svg}title") is not None
        assert not re.search(r"(fill|stroke): ?#", source)
        assert f'id="{name}-wide-title"' in page.source
        assert f'id="{name}-narrow-title"' in page.source


def test_the_spread_names_the_medians(run: RunFolder) -> None:
    [view] = read_chains([run])
    spread = likelihood_figures(run)[0]
    for source in MEANS:
        values = [one.likelihood.mean_logprob for one in view.scored if one.candidate.source == source]
        assert f">{number(float(np.median(values)))}<" in spread.wide
    assert spread._repr_svg_().startswith("<svg")


def test_the_axis_of_log_probabilities_is_logarithmic_and_ends() -> None:
    assert place(-0.01) == pytest.approx(2)
    assert place(-10) == pytest.approx(-1)
    assert place(-FLOOR / 10) == place(0.0) == pytest.approx(5)


def test_the_same_run_gives_the_same_bytes(run: RunFolder, page: Page, tmp_path: Path) -> None:
    again = report([run], tmp_path / "again.html", grader=GRADER)
    assert again.read_text(encoding="utf-8") == page.source


def test_policies_stand_in_the_order_of_their_steps() -> None:
    assert ordered(POLICIES, "base") == (("base", POLICIES[2], POLICIES[1]), (0, 20, 100))
    assert ordered(["b", "a", "base"], "base") == (("base", "a", "b"), None)
    # two runs' checkpoints of one step are no line
    assert ordered(["x/checkpoint-2", "y/checkpoint-2"], None) == (("x/checkpoint-2", "y/checkpoint-2"), None)
    assert ordered(["org/m@step-30", "org/m@step-4"], "other") == (("org/m@step-4", "org/m@step-30"), (4, 30))


def test_drift_needs_two_policies(tmp_path: Path, tokenizer: Path, run: RunFolder, page: Page) -> None:
    alone = make_chains_run(tmp_path / "one", tokenizer)
    assert [drawing.name for drawing in likelihood_figures(alone)] == list(FIGURES[:2])
    assert "Drift over policies" not in Page(report([alone], alone.report_path, grader=GRADER)).text
    assert "Drift over policies" in page.text
    assert "Across: the checkpoints' steps" in page.text


def test_heat_shows_each_source_of_one_problem_token_by_token(run: RunFolder, page: Page) -> None:
    [view] = read_chains([run])
    heat = read_heat(view)
    assert [chain.source for chain in heat.chains] == [
        "expert", "self-explanation", "own correct", "own incorrect",
    ]  # fmt: skip
    assert "level 5" in heat.where
    for chain in heat.chains:
        assert "".join(token.text for token in chain.tokens) == " So it is \\boxed{2}."
    assert [{token.step for token in chain.tokens} for chain in heat.chains] == [{len(STEPS)}, {1}, {0}, {0}]
    assert len(page.classes("h5")) == 1 + len(heat.chains[0].tokens)
    assert len(step_labels()) == len(STEPS) + 1
    assert [step_of(value) for value in (-0.01, -0.1, -0.5, -2, -4, -9)] == [0, 1, 2, 3, 4, 5]


def test_characters_of_several_tokens_come_whole(tokenizer: Path) -> None:
    from transformers import AutoTokenizer

    bytewise = AutoTokenizer.from_pretrained(tokenizer)
    ids = bytewise("a 🧮 é")["input_ids"]
    assert decoded(bytewise, ids) == [("a", 1), (" ", 1), ("🧮", 4), (" ", 1), ("é", 2)]
    # cut within a character: what is there is shown as one sign
    assert decoded(bytewise, ids[:4]) == [("a", 1), (" ", 1), ("\ufffd", 2)]


def test_without_the_tokenizer_the_page_says_so(tmp_path: Path, tokenizer: Path) -> None:
    run = make_chains_run(tmp_path / "run", tokenizer)
    for written, reason in (
        ('{"name": "./gone", "revision": null}', "model './gone' is neither"),
        ("{}", "policy.json does not name the policy's tokenizer"),
    ):
        run.policy_path("base").write_text(written)
        page = Page(report([run], run.report_path, grader=GRADER))
        assert f"not shown token by token: {reason}" in page.text
        assert not page.classes("heat")


def test_foreign_text_stays_text(tmp_path: Path, tokenizer: Path) -> None:
    texts = [HOSTILE[1], HOSTILE[1]] * 4 + list(HOSTILE)
    run = make_chains_run(
        tmp_path / "run",
        tokenizer,
        policies=(HOSTILE[0], HOSTILE[1]),
        texts=texts,
        n_problems=len(texts),
        benchmark=HOSTILE[2],
    )
    page = Page(report([run], run.report_path, grader=GRADER))
    assert len(page.scripts) == len(page.all("script")) == 1
    assert not {"img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert len(page.classes("heat")) == 4
    assert page.text.count(HOSTILE[1]) >= 5, "in the question and token by token in each chain"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.source)
    for figure in (run.path / "figures").glob("*.svg"):
        ElementTree.parse(figure)


def test_a_large_run_gives_a_small_page_that_says_how_many_points_it_shows(tmp_path: Path, tokenizer: Path) -> None:
    run = make_chains_run(tmp_path / "run", tokenizer, n_problems=220, texts=["&" * 900, "\u202e" * 600])
    out = report([run], run.report_path, grader=GRADER)
    assert out.stat().st_size < 5e6
    page = Page(out)
    assert "1,000 of 1,100 candidates are shown" in page.text
    assert "more tokens" in page.text


def test_scored_runs_stand_beside_evaluations(tmp_path: Path, tokenizer: Path, run: RunFolder) -> None:
    other = make_chains_run(tmp_path / "second", tokenizer)
    evaluation = make_run(tmp_path / "eval", n_problems=10)
    page = Page(report([evaluation, run, other], tmp_path / "both.html", grader=GRADER))
    for expected in (
        "tiny-model on math500",
        "Candidates and their likelihood: chains",
        "Candidates and their likelihood: second",
    ):
        assert expected in page.text
    names = {figure.stem for figure in (tmp_path / "figures").glob("*.svg")}
    assert {"pass_at_k", "1-two_properties", "1-drift", "2-two_properties"} <= names
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    only = Page(report([run, other], tmp_path / "chains.html", grader=GRADER))
    assert "Candidates of 2 runs" in only.text


def test_candidates_that_were_not_scored_have_no_report(tmp_path: Path, tokenizer: Path) -> None:
    run = make_chains_run(tmp_path / "run", tokenizer)
    run.likelihood_metrics_path.unlink()
    with pytest.raises(UserError, match="no scored candidates; give expo-bench likelihood"):
        report([run], run.report_path, grader=GRADER)
    run.likelihood_metrics_path.write_text("[{")
    with pytest.raises(UserError, match="is damaged"):
        report([run], run.report_path, grader=GRADER)
