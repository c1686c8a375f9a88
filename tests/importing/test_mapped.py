"""Sample files of tools that no reader of their own is written for: presets, mappings, joins, own verdicts."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from expo_bench import GRADER, RunFolder, UserError
from expo_bench.commands.cli import app
from expo_bench.importing.agreement import agreement
from expo_bench.importing.foreign import benchmark_of
from expo_bench.importing.importing import FILE_GRADER, import_run
from expo_bench.problems import Reading
from expo_bench.thoughts.importing import read_thoughts

Q = "A box holds 6 pens. How many pens are in 7 boxes?"
RIGHT, WRONG = "6*7=42. So \\boxed{42}.", "I guess \\boxed{40}."


def spoken(text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}, "stop_reason": "stop", "finish_reason": "length"}


LOG: dict[str, Any] = {
    "version": 2,
    "eval": {"task": "inspect_evals/gsm8k", "model": "org/m"},
    "plan": {"config": {"temperature": 0.5, "max_tokens": 64}},
    "samples": [
        {
            "id": 1, "epoch": epoch, "input": [{"role": "system", "content": "s"}, {"role": "user", "content": Q}],
            "target": "42", "output": {"choices": [spoken(text)], "usage": {"output_tokens": 9}},
            "scores": {"match": {"value": value}},
        }
        for epoch, text, value in ((1, RIGHT, "C"), (2, WRONG, "I"))
    ],
}  # fmt: skip
FILES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "qwen-math": (
        "a.jsonl",
        [{"idx": 0, "question": Q, "gt_cot": "c", "gt": "42", "level": "Level 1", "answer": "42",
          "code": [RIGHT, WRONG], "pred": ["42", "40"], "report": [None, None], "score": [True, False]}],
    ),
    "nemo-skills": (
        "output.jsonl",
        [{"generation": text, "problem": Q, "expected_answer": "42", "id": "x", "symbolic_correct": right}
         for text, right in ((RIGHT, True), (WRONG, False))],
    ),
    "verl-rollout": (
        "10.jsonl",
        [{"input": f"system\nBrief.\nuser\n{Q}\nassistant\n", "output": text, "gts": "42", "score": score, "step": 10}
         for text, score in ((RIGHT, 1.0), (WRONG, 0.0))],
    ),
    "inspect": ("log.json", [LOG]),
    "opencompass": (
        "gsm8k.json",
        [{str(n): {"origin_prompt": [{"role": "HUMAN", "prompt": Q}], "prediction": text, "gold": "6*7\n#### 42",
                   "correct": [right]} for n, (text, right) in enumerate(((RIGHT, True), (WRONG, False)))}],
    ),
    "opencompass-details": (
        "math.json",
        [{"accuracy": 50.0, "details": {"type": "GEN", **{
            str(n): {"prompt": [{"role": "HUMAN", "prompt": Q}], "origin_prediction": text, "predictions": "42",
                     "references": "42", "correct": text == RIGHT} for n, text in enumerate((RIGHT, WRONG))}}}],
    ),
    "evalscope-0": (
        "gsm8k_main.jsonl",
        [{"index": 0, "model_spec": {"revision": "master"}, "model": "m",
          "raw_input": {"question": Q, "answer": "6*7\n#### 42"},
          "choices": [{"message": {"content": text, "role": "assistant"},
                       "review": {"gold": "42", "pred": "42", "result": right}}]}
         for text, right in ((RIGHT, True), (WRONG, False))],
    ),
    "ovm": (
        "n2.jsonl",
        [{"idx": 0, "question": Q, "ground_truth": "42",
          "outputs": [{"response": RIGHT, "label": True}, {"response": WRONG, "label": False}]}],
    ),
    "nested-rollouts": (
        "raw.jsonl",
        [{"model_name": "org/m", "qid": 0, "question": Q, "gold": "42",
          "rollouts": [{"text": RIGHT, "correct": True}, {"text": WRONG, "correct": False}]}],
    ),
    "every-eval-ever": (
        "samples.jsonl",
        [{"evaluation_id": "e", "model_id": "org/m", "evaluation_name": "gsm8k", "sample_id": "1",
          "interaction_type": "single_turn", "input": {"raw": Q, "reference": ["42"]}, "output": {"raw": [text]},
          "evaluation": {"score": float(right), "is_correct": right}}
         for text, right in ((RIGHT, True), (WRONG, False))],
    ),
    "simple-evals": (
        "math.json",
        [{"convo": [{"role": "user", "content": Q}, {"role": "assistant", "content": text}], "score": score,
          "metadata": {"correct_answer": "42"}} for text, score in ((RIGHT, 1.0), (WRONG, 0.0))],
    ),
    "expo-bench": ("mine.jsonl", [{"question": Q, "answer": 42, "text": [RIGHT, WRONG]}]),
}  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("preset", FILES)
def test_unmistakable_files_need_no_preset(tmp_path: Path, preset: str) -> None:
    name, rows = FILES[preset]
    run = RunFolder(tmp_path / "run")
    manifest = import_run([write(tmp_path / "sums" / name, rows)], run)
    assert manifest.protocol["format"] == preset
    [problem] = run.problems()
    assert (problem.question, problem.answer) == (Q, "42")
    assert [(one.sample_index, one.text) for one in run.samples()] == [(0, RIGHT), (1, WRONG)]
    if preset != "expo-bench":
        assert [one.correct for one in run.grades(FILE_GRADER)] == [True, False]


def test_a_file_is_told_by_any_of_its_first_rows(tmp_path: Path) -> None:
    rows = [
        {"question": "1 + 1?", "answer": None, "text": None},
        {"question": Q, "answer": 42, "text": [[RIGHT], [WRONG]]},
    ]
    run = RunFolder(tmp_path / "run")
    assert import_run([write(tmp_path / "a.jsonl", rows)], run).protocol["format"] == "expo-bench"
    assert [one.text for one in run.samples()] == ["", RIGHT, WRONG]
    inside = write(tmp_path / "b.jsonl", [{"results": rows, "config": {}}])
    run = RunFolder(tmp_path / "inside")
    assert import_run([inside], run, reading=Reading(map={"rows": "results"})).counts["samples"] == 3


@pytest.mark.parametrize(
    "prompt",
    [
        "system\nBe brief.\nuser\n{}\nassistant\n",
        "user\n{}\nassistant\n<think>\n\n</think>\n\n",
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        "system\n\nToday Date: 26 Jul 2024\n\nuser\n\n{}assistant\n\n",
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "user\n{}\nmodel\n",
        "{}<think>\n",
        "<｜begin▁of▁sentence｜><｜User｜>{}<｜Assistant｜><think>\n",
        "[INST] {} [/INST]",
        "User: {}\n\nAssistant:",
        "user\nFirst?\nassistant\nYes.\nuser\n{}\nassistant\n",
        "{}",
    ],
)
def test_the_question_of_a_rollout_stands_in_any_chat_template(tmp_path: Path, prompt: str) -> None:
    question = "The user asks a linear\nmodel:\nhow many?"
    row = {"input": prompt.replace("{}", question), "output": RIGHT, "gts": "42", "score": 1.0, "step": 1, "uid": "u"}
    run = RunFolder(tmp_path / "run")
    import_run([write(tmp_path / "1.jsonl", [row])], run)
    assert [one.question for one in run.problems()] == [question]


def test_problems_of_training_are_looked_for_in_its_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_BENCH_DATA", str(tmp_path))
    write(tmp_path / "gsm8k_test.jsonl", [{"question": "1 + 1?", "answer": "#### 2"}])
    write(tmp_path / "gsm8k_train.jsonl", [{"question": Q, "answer": "#### 42"}])
    rollouts = write(tmp_path / "1.jsonl", [{"input": f"{Q} Think.", "output": RIGHT, "score": 1.0, "step": 1}])
    with pytest.raises(UserError, match="another split than test with --split"):
        import_run([rollouts], RunFolder(tmp_path / "a"), benchmark="gsm8k")
    arguments = ["import", str(rollouts), "-o", str(tmp_path / "b"), "--benchmark", "gsm8k", "--split", "train"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [(one.split, one.answer) for one in RunFolder(tmp_path / "b").problems()] == [("train", "42")]


def test_conversations_alone_find_their_problems_in_a_benchmark(tmp_path: Path) -> None:
    bench = write(tmp_path / "pens.jsonl", [{"problem": Q, "answer": "42"}])
    said = [
        [{"role": "user", "content": f"Solve it. {Q}"}, {"role": "assistant", "content": one}] for one in (RIGHT, WRONG)
    ]
    everything = write(
        tmp_path / "math_allresults.json", [{"score": 0.5, "metrics": {}, "htmls": ["", ""], "convos": said}]
    )
    run = RunFolder(tmp_path / "run")
    import_run([everything], run, benchmark=str(bench))
    assert ([one.question for one in run.problems()], [one.text for one in run.samples()]) == ([Q], [RIGHT, WRONG])


@pytest.mark.parametrize(
    ("task", "benchmark"),
    [
        ("math_500_Level 3", "math500"), ("MATH-500", "math500"), ("gsm8k_main", "gsm8k"), ("gsm8k_test", "gsm8k"),
        ("aime25_AIME2025-II", "aime25"), ("aime24_nofigures", "aime24"), ("hmmt_feb_2025", "hmmt-feb25"),
        ("olympiad_bench", "olympiadbench"), ("amc_2023", "amc23"), ("gsm8k_platinum", "gsm8k_platinum"),
        ("gsm_plus", "gsm_plus"), ("aime2023", "aime2023"), ("math", "math"), ("my task", "my-task"),
    ],
)  # fmt: skip
def test_names_of_tasks(task: str, benchmark: str) -> None:
    assert benchmark_of(task, None) == benchmark


def test_what_a_log_tells_of_the_run_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({key: LOG[key] for key in ("version", "eval", "plan")}))
        for sample in LOG["samples"]:
            archive.writestr(f"samples/1_epoch_{sample['epoch']}.json", json.dumps(sample))
        archive.writestr("summaries.json", "[]")
    run = RunFolder(tmp_path / "run")
    manifest = import_run([path], run)
    assert (manifest.model["name"], list(manifest.benchmarks)) == ("org/m", ["gsm8k"])
    assert {"temperature": 0.5, "max_tokens": 64, "format": "inspect"}.items() <= manifest.protocol.items()
    assert [(one.text, one.n_tokens) for one in run.samples()] == [(RIGHT, 9), (WRONG, 9)]


def test_seeds_in_files_of_their_own_are_samples_of_one_problem(tmp_path: Path) -> None:
    rows = FILES["nemo-skills"][1]
    paths = [write(tmp_path / "math" / f"output-rs{seed}.jsonl", [row]) for seed, row in enumerate(rows)]
    run = RunFolder(tmp_path / "run")
    manifest = import_run(paths, run)
    assert (manifest.counts, list(manifest.benchmarks)) == ({"problems": 1, "samples": 2}, ["math"])


def test_problems_are_joined_by_a_key_or_found_in_the_prompts(tmp_path: Path) -> None:
    bench = write(tmp_path / "pens.jsonl", [{"id": 1, "problem": "1 + 1?", "target": "2"},
                                            {"id": 7, "problem": Q, "target": "42"}])  # fmt: skip
    batch = write(
        tmp_path / "out.jsonl",
        [{"custom_id": "q-1", "response": {"body": {"model": "m", "choices": [spoken(RIGHT), spoken(WRONG)]}}}],
    )
    run = RunFolder(tmp_path / "batch")
    reading = Reading(join=str(bench), map={"key": r"custom_id ~ q-(\d+)", "joined_key": "#"})
    assert import_run([batch], run, reading=reading).model["name"] == "m"
    assert [(one.question, one.answer) for one in run.problems()] == [(Q, "42")]
    assert [one.finish_reason for one in run.samples()] == ["length", "length"]
    # the answer of this file is the completion: nothing is guessed by a name
    odd = write(tmp_path / "odd.jsonl", [{"id": 7, "instruction": Q, "answer": RIGHT, "is_correct": True}])
    with pytest.raises(UserError, match=r"its fields: id, instruction, answer, is_correct; .*--map text=PATH"):
        import_run([odd], RunFolder(tmp_path / "odd"))
    table = pyarrow.Table.from_pylist(
        [{"step": 1, "prompt": f"{Q}\nThink.", "completion": text, "accuracy_reward": score, "advantage": 0.1}
         for text, score in ((RIGHT, 1.0), (WRONG, 0.0))]
    )  # fmt: skip
    parquet.write_table(table, tmp_path / "completions_00001.parquet")
    notes: list[str] = []
    paths = [tmp_path / "completions_00001.parquet"]
    import_run(paths, RunFolder(tmp_path / "unanswered"), note=notes.append)
    assert "1 of 1 problems have no gold answer" in notes[0]
    known = write(tmp_path / "known.jsonl", [{"question": Q, "answer": "42"}])
    import_run(paths, RunFolder(tmp_path / "found"), benchmark=str(known))
    assert [(one.question, one.answer) for one in RunFolder(tmp_path / "found").problems()] == [(Q, "42")]


def test_the_command_prints_how_far_verdicts_agree(tmp_path: Path) -> None:
    texts = [RIGHT, WRONG, "Forty-two.", RIGHT]
    rows = [{"q": Q, "gold": "42", "out": [{"t": text} for text in texts], "ok": [True, False, True, True]}]
    path = write(tmp_path / "theirs.jsonl", [*rows, {"q": Q, "gold": {"a": 1}, "out": []}])
    words = ["import", str(path), "-m", "org/theirs", "--skip-bad-rows", "-o", str(tmp_path / "run")]
    for field in ("question=q", "answer=gold", "text=out[*].t", "score=ok"):
        words += ["--map", field]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "the file's own score: 75.0 percent of 4 samples; ours: 50.0; they agree on 3 of 4" in done.stderr
    assert "sample 2: right in the file, here no_answer" in done.stderr
    assert "1 rows are left out" in done.stderr
    run = RunFolder(tmp_path / "run")
    assert run.read_manifest().model["name"] == "org/theirs"
    assert run.read_manifest().protocol["mapping"]["text"] == "out[*].t"
    found = agreement(run, GRADER)
    assert found is not None and (found.n, found.agreed, found.own_right, found.right) == (4, 3, 3, 2)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": Q, "completion": RIGHT, "answer": "42"}, "nearest preset, --preset prompt-completion"),
        ({"a": {"b": 1}}, "its fields: a.b; say which is which: --map question=PATH --map answer=PATH --map text=PATH"),
        ({"doc": {}, "doc_id": 1, "resps": []}, "not a sample of lm-eval 0.4"),
        ({"custom_id": "q", "response": {"body": {"choices": []}}}, "has no question.*stand elsewhere.*--join"),
    ],
)
def test_a_refusal_names_fields_preset_and_mapping(tmp_path: Path, row: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        import_run([write(tmp_path / "file.jsonl", [row])], RunFolder(tmp_path / "run"))
    assert "\n" not in str(caught.value)


def test_grade_takes_a_mapping(tmp_path: Path) -> None:
    path = write(tmp_path / "theirs.jsonl", [{"gold": "42", "out": [RIGHT, WRONG], "ok": [True, True]}])
    words = ["grade", str(path), "--map", "answer=gold", "--map", "text=out", "--map", "score=ok"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["correct"] for line in done.stdout.splitlines()] == [True, False]
    assert "the file's own score agrees on 1 of 2" in done.stderr


def test_thoughts_take_a_mapping(tmp_path: Path) -> None:
    rows = [{"q": Q, "gold": "42", "out": {"think": "6*7", "say": RIGHT}}, {"q": None, "out": {}}]
    reading = Reading(map={"question": "q", "answer": "gold", "thought": "out.think", "solution": "out.say"})
    [thought], left_out = read_thoughts(write(tmp_path / "t.jsonl", rows), benchmark="pens", reading=reading)
    assert (thought.question, thought.answer, thought.origin) == (Q, "42", "t.jsonl:1")
    assert "6*7" in thought.text and RIGHT in thought.text
    assert sum(left_out.values()) == 1
