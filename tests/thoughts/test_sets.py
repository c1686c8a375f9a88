import json

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import app
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.errors import UserError
from expo_bench.grading.judge import Judge, extract
from expo_bench.problems import load
from expo_bench.prompts import BOXED
from expo_bench.storage.row_files import write_atomically
from expo_bench.thoughts.dataset import ThoughtFolder, write
from expo_bench.thoughts.format import join, split
from expo_bench.thoughts.importing import read_thoughts, right_thoughts
from expo_bench.thoughts.micro import micro_thoughts
from tests.thoughts.test_selection import thought

TEXT = join("I add 2 and 3.", "It is \\boxed{5}.")


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"question": "What is 2 + 3?", "combined_text": TEXT},
        {"problem": "What is 2 + 3?", "response": TEXT},
        {"question": "What is 2 + 3?", "thought": "I add 2 and 3.", "solution": "It is \\boxed{5}."},
    ],
)
def test_the_fields_that_are_looked_for(tmp_path, row):
    [found], left_out = read_thoughts(lines(tmp_path / "a.jsonl", [row]), benchmark="mine")
    assert (found.question, found.text, found.answer, found.origin) == ("What is 2 + 3?", TEXT, "", "a.jsonl:1")
    assert (found.source, found.round, found.benchmark, found.n_tokens) == ("distilled", 0, "mine", None)
    assert not left_out


def test_unusable_rows_are_counted_and_malformed_ones_named(tmp_path):
    rows = [{"question": "q", "text": TEXT}, {"question": "q", "text": TEXT}, {"question": "q"}, {"text": TEXT}, 3]
    found, left_out = read_thoughts(lines(tmp_path / "a.jsonl", rows), benchmark="mine")
    assert len(found) == 1
    assert left_out["comes twice"] == 1 and left_out.total() == 4
    array = tmp_path / "b.json"
    array.write_text(json.dumps(rows[:1]))
    assert read_thoughts(array, benchmark="mine")[0][0].thought_id == found[0].thought_id
    (tmp_path / "c.jsonl").write_text('{"question": "q", "text": "t"}\n{"question"\n')
    with pytest.raises(UserError, match=r"c.jsonl:2: not JSON"):
        read_thoughts(tmp_path / "c.jsonl", benchmark="mine")
    with pytest.raises(UserError, match="cannot read"):
        read_thoughts(tmp_path / "none.jsonl", benchmark="mine")


def test_thoughts_are_labelled_by_the_gold_answer(tmp_path):
    problem = load("micro", split="train").problems[0]
    rows = [
        {"question": problem.question, "text": join("a thought", f"\\boxed{{{problem.answer}}}")},
        {"question": problem.question, "text": join("a thought", "\\boxed{-1}")},
        {"question": problem.question, "text": join("a thought", "no answer")},
        {"question": "unknown", "text": join("a thought", "\\boxed{7}")},
        {"question": "told", "answer": 7.0, "text": join("a thought", "\\boxed{7}")},
    ]
    found, _ = read_thoughts(lines(tmp_path / "a.jsonl", rows), benchmark="mine", problems=[problem])
    assert [row.problem_id == problem.problem_id for row in found] == [True, True, True, False, False]
    assert found[0].level == problem.level
    with Judge(workers=1) as judge:
        right, wrong = right_thoughts(found, judge)
    assert [row.text for row in right] == [row["text"] for row in (rows[0], rows[3], rows[4])]
    assert wrong == {"the answer is not the gold answer": 1, "answer: no_answer": 1}


def test_long_thoughts_of_the_micro_world_fit_its_policy():
    problems = load("micro", split="train").problems
    by_id = {problem.problem_id: problem for problem in problems}
    tokenizer = load_tokenizer(find_model("micro", None))
    found = micro_thoughts(problems, seed=0)
    assert found == micro_thoughts(problems, seed=0) != micro_thoughts(problems, seed=1)
    assert {row.problem_id for row in found} == set(by_id)
    for row in found[::8]:
        ids = chain_ids(tokenizer, row.text)
        assert tokenizer.unk_token_id not in ids
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        assert split(decoded) is not None
        assert extract(decoded) == by_id[row.problem_id].answer
        assert len(problem_ids(tokenizer, BOXED, by_id[row.problem_id])) + len(ids) <= 256
    # about half of those that can begin with the wrong rule do
    hard = [row for row in found if row.level == 5]
    turned = sum("times is first" in row.text for row in hard)
    assert 0.4 < turned / len(hard) < 0.6


def test_versions_extend_each_other_and_are_whole_or_not_there(tmp_path):
    first = write(tmp_path / "0", [thought("a")], parent=None, left_out={}, settings={"seed": 0})
    second = write(tmp_path / "1", [thought("a"), thought("b", level=2, round=1, source="explored")],
                   parent=first.path, left_out={"too short": 2}, settings={})  # fmt: skip
    manifest = second.manifest()
    assert manifest["parent"]["digest"] == first.manifest()["digest"]
    assert manifest["counts"] == {
        "thoughts": 2, "problems": 2, "source": {"distilled": 1, "explored": 1}, "level": {"1": 1, "2": 1},
        "round": {"0": 1, "1": 1},
    }  # fmt: skip
    assert [row.thought_id for row in second.rows()] == ["a", "b"]
    with pytest.raises(UserError, match="thought a is there twice"):
        write(tmp_path / "2", [thought("a"), thought("a")], parent=None, left_out={}, settings={})
    # what a kill leaves: rows without the manifest
    write_atomically(ThoughtFolder(tmp_path / "3").rows_path, b"")
    assert not ThoughtFolder(tmp_path / "3").is_complete
    with pytest.raises(UserError, match="is no set of thoughts"):
        ThoughtFolder(tmp_path / "3").manifest()
    write_atomically(second.manifest_path, '{"schema_version": 99}')
    with pytest.raises(UserError, match="schema version 99"):
        second.manifest()


def test_the_command_makes_extends_and_shows_a_set(tmp_path):
    (tmp_path / "few.yaml").write_text("{cleaning: {min_words: 10}, selection: {levels: {1: 1, 2: 1}, per_problem: 1}}")
    options = ["--config", str(tmp_path / "few.yaml"), "-m", "micro", "--limit", "200", "--json"]
    made = CliRunner().invoke(app, ["thoughts", "micro", "-o", str(tmp_path / "set"), *options])
    assert made.exit_code == 0, made.output
    counts = json.loads(made.stdout)["counts"]
    assert counts["level"]["1"] == counts["level"]["2"] > 0
    hostile = {
        "question": "<img src=x onerror=alert(1)>",
        "text": TEXT.replace("I add", "<script>alert(1)</script> I add"),
    }
    file = lines(tmp_path / "mine.jsonl", [hostile, {"question": "q", "text": "no tags"}])
    (tmp_path / "all.yaml").write_text("cleaning: {min_words: 0}")
    command = ["thoughts", str(file), "-o", str(tmp_path / "more"), "--parent", str(tmp_path / "set"), "--json"]
    more = CliRunner().invoke(app, [*command, "--config", str(tmp_path / "all.yaml")])
    assert more.exit_code == 0, more.output
    found = json.loads(more.stdout)
    assert found["counts"]["thoughts"] == counts["thoughts"] + 1
    assert found["left_out"] == {"tags broken": 1}
    shown = CliRunner().invoke(app, ["report", str(tmp_path / "more")])
    assert shown.exit_code == 0, shown.output
    page = (tmp_path / "more" / "report.html").read_text()
    assert "<script>alert" not in page and "<img" not in page
    # the same command finds its set, another one does not write over it
    before = (tmp_path / "more" / "rows.jsonl").stat().st_mtime_ns
    assert CliRunner().invoke(app, [*command, "--config", str(tmp_path / "all.yaml")]).exit_code == 0
    assert (tmp_path / "more" / "rows.jsonl").stat().st_mtime_ns == before
    # as a version made it that knew no revisions
    manifest = ThoughtFolder(tmp_path / "more").manifest()
    del manifest["settings"]["dataset_revision"]
    write_atomically(ThoughtFolder(tmp_path / "more").manifest_path, json.dumps(manifest))
    assert CliRunner().invoke(app, [*command, "--config", str(tmp_path / "all.yaml")]).exit_code == 0
    assert "made with other settings" in str(CliRunner().invoke(app, command).exception)


@pytest.mark.parametrize(
    ("words", "config", "told"),
    [
        (["solutions"], "{}", "solutions are those of a benchmark"),
        (["micro"], "selection: {max_perplexity: 3}", "needs a policy"),
        (["micro"], "selection: {per_problem: 3}", "name the model with -m"),
        (["micro"], "cleaning: {min_words: 1000}", "no thought is left"),
        (["none.jsonl"], "{}", "cannot read none.jsonl"),
        (["micro"], "selction: {}", "no such setting"),
        (["micro", "--dataset-revision", "main"], "{}", "micro has no revisions"),
        # what the command line does not name is the file's
        (["micro"], "split: dev", "dev"),
        (["micro"], "seed: many", "seed: "),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path, words, config, told):
    (tmp_path / "c.yaml").write_text(config)
    found = CliRunner().invoke(
        app, ["thoughts", *words, "-o", str(tmp_path / "s"), "--config", str(tmp_path / "c.yaml")]
    )
    assert isinstance(found.exception, UserError) and told in str(found.exception)
    assert "\n" not in str(found.exception)
