import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from expo_bench import GRADER, RunFolder, UserError, load
from expo_bench.commands.cli import app
from expo_bench.importing.importing import import_run
from expo_bench.storage.row_files import write_atomically

STAMP = "2026-01-02T03-04-05.678901"
GENERATION = {"until": ["Question:", "</s>"], "do_sample": True, "temperature": 0.8, "max_gen_toks": 24}
APPLES = {"question": "Ann has 3 apples and buys 4. How many?", "answer": "She has 3+4=<<3+4=7>>7 apples.\n#### 7"}
EGGS = {"question": " What are 2 boxes of 600 eggs?", "answer": "2*600=<<2*600=1200>>1200\n#### 1,200"}
SUM = {
    "problem": "What is $x$ in $x - 1 = 1/2$?\n",
    "solution": "It is $\\boxed{\\frac{3}{2}}$.",
    "answer": "\\frac{3}{2}",
    "subject": "Algebra",
    "level": 2,
    "unique_id": "test/algebra/0.json",
}


def line(doc_id, doc, texts, **fields):
    """A line as lm-eval 0.4.13 writes it; checked against a file that it wrote."""
    question = next(value for key, value in doc.items() if key.lower() in ("problem", "question"))
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": str(doc.get("answer")),
        "arguments": {"gen_args_0": {"arg_0": f"Question: {question}\nAnswer:", "arg_1": GENERATION}},
        "resps": [texts],
        "filtered_resps": ["[invalid]"],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "doc_hash": "986c",
        "prompt_hash": "b7d0",
        "target_hash": "623a",
        "exact_match": 0.0,
        **fields,
    }


def write(folder, task, lines, stamp=STAMP, results=None):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{stamp}.jsonl"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines))
    if results is not None:
        (folder / f"results_{stamp}.json").write_text(json.dumps(results))
    return path


def results(name="org/base", seed=7):
    return {
        "config": {"model": "hf", "model_revision": "main", "model_dtype": "torch.bfloat16", "torch_seed": seed},
        "lm_eval_version": "0.4.13",
        "model_source": "hf",
        "model_name": name,
    }


def test_lm_eval_file_becomes_a_graded_run(tmp_path):
    lines = [line(0, APPLES, [" so\n#### 7", " I say 8"]), line(1, EGGS, ["\\boxed{1200}", "#### 1,200"])]
    # each filter has its own lines, over the same completions; they may come in any order
    again = [{**one, "filter": "flexible-extract"} for one in lines]
    path = write(tmp_path / "org__base", "gsm8k", [*reversed(lines), *again], results=results())
    out = tmp_path / "run"
    found = CliRunner().invoke(app, ["import", str(path), "-o", str(out), "--json"])
    assert found.exit_code == 0, found.output
    run = RunFolder(out)
    assert [sample.text for sample in run.samples()] == [" so\n#### 7", " I say 8", "\\boxed{1200}", "#### 1,200"]
    first = next(run.samples())
    assert (first.token_ids, first.sum_logprob, first.seed, first.n_tokens) == (None, None, None, None)
    assert [grade.correct for grade in run.grades(GRADER)] == [True, None, True, True]
    values = {one["name"]: one["value"] for one in json.loads(found.stdout)["metrics"] if one["subset"] == "all"}
    # 3 of 4; one of two problems with both, the other with one of two
    assert (values["avg@2"], values["pass@2"], values["no_answer"]) == (0.75, 1.0, 0.25)
    manifest = run.read_manifest()
    assert (manifest.status, manifest.seed, manifest.started) == ("finished", 7, "2026-01-02T03:04:05.678901")
    assert manifest.model["name"] == "org/base"
    told = {"imported": True, "temperature": 0.8, "max_tokens": 24, "stop": ["Question:", "</s>"], "top_p": None}
    assert told.items() <= manifest.protocol.items()
    assert "org/base" not in str(manifest.protocol)
    assert (out / "report.html").is_file()
    again = CliRunner().invoke(app, ["grade", str(out), "--as", "second"])
    assert again.exit_code == 0, again.output
    assert run.graders() == sorted([GRADER, "second"])


NATIVE = {
    "gsm8k": ("gsm8k_test.jsonl", "gsm8k_cot", [APPLES, EGGS], [APPLES, EGGS]),
    "math500": ("math500.jsonl", "hendrycks_math500", [SUM], [SUM]),
    # minerva_math writes a normalised answer over the benchmark's own
    "minerva": ("math500.jsonl", "minerva_math500", [SUM], [{**SUM, "answer": "3/2"}]),
    "aime25": ("aime25.jsonl", "aime25", [{"problem": "Find $n$.", "answer": "7", "id": "0"}], None),
    "math": (
        "math_test.jsonl",
        "minerva_math_algebra",
        [{"problem": "One?", "level": "Level 3", "type": "Algebra", "solution": "$\\boxed{1}$"}],
        [{"problem": "One?", "level": "Level 3", "type": "Algebra", "solution": "$\\boxed{1}$", "answer": "1"}],
    ),
}


@pytest.mark.parametrize("case", NATIVE)
def test_problems_are_those_of_a_native_run(tmp_path, case):
    file, task, rows, docs = NATIVE[case]
    (tmp_path / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    native = load("math500" if case == "minerva" else case, data_dir=tmp_path).problems
    path = write(tmp_path, task, [line(number, doc, ["7"]) for number, doc in enumerate(docs or rows)])
    run = RunFolder(tmp_path / "run")
    import_run([path], run)
    assert list(run.problems()) == native


def test_aime_keys_with_capitals_and_whole_numbers(tmp_path):
    # as in the dataset that lm-eval's aime24 reads; the native rows spell the answer 007
    (tmp_path / "aime24.jsonl").write_text(
        json.dumps({"problem": "Find $n$.", "answer": "007", "solution": "7."}) + "\n"
    )
    doc = {"ID": "2024-I-1", "Problem": "Find $n$.", "Solution": "7.", "Answer": 7}
    run = RunFolder(tmp_path / "run")
    import_run([write(tmp_path, "aime24", [line(0, doc, ["7"])])], run)
    assert list(run.problems()) == load("aime24", data_dir=tmp_path).problems


def test_own_task_keeps_its_name(tmp_path):
    docs = [
        {"question": "1 + 1?", "answer": 2},
        {"problem": "2 + 1?", "solution": "So \\boxed{3}"},
        {"question": "2 + 2?", "answer": "It is\n#### 4"},
    ]
    run = RunFolder(tmp_path / "run")
    import_run([write(tmp_path, "my_sums", [line(i, doc, ["2"]) for i, doc in enumerate(docs)])], run)
    assert [(one.benchmark, one.question, one.answer) for one in run.problems()] == [
        ("my_sums", "1 + 1?", "2"),
        ("my_sums", "2 + 1?", "3"),
        ("my_sums", "2 + 2?", "4"),
    ]
    assert run.read_manifest().model["name"] == tmp_path.name


def test_files_are_seeds_or_tasks(tmp_path):
    def file(number, task, doc, text):
        stamp = f"2026-01-0{number}T00-00-00"
        return write(tmp_path / str(number), task, [line(0, doc, [text])], stamp, results(seed=number))

    seeds = [file(1, "gsm8k", APPLES, "#### 1"), file(2, "gsm8k", APPLES, "#### 2")]
    other = file(3, "hendrycks_math500", SUM, "x")
    run = RunFolder(tmp_path / "run")
    manifest = import_run([*seeds, other], run)
    assert [(one.problem_id[:5], one.sample_index, one.text) for one in run.samples()] == [
        ("gsm8k", 0, "#### 1"),
        ("gsm8k", 1, "#### 2"),
        ("math5", 0, "x"),
    ]
    assert set(manifest.benchmarks) == {"gsm8k", "math500"}
    assert manifest.counts == {"problems": 2, "samples": 3}
    assert manifest.seed is None


def test_protocol_hash_is_of_prompt_and_sampling(tmp_path):
    def hash_of(name, texts, model="org/base", prompt=None, **generation):
        one = line(0, APPLES, texts)
        request = one["arguments"]["gen_args_0"]
        request["arg_1"] = {**GENERATION, **generation}
        request["arg_0"] = prompt or request["arg_0"]
        path = write(tmp_path / name, "gsm8k", [one], results=results(model))
        return import_run([path], RunFolder(tmp_path / name / "run")).protocol_hash

    base = hash_of("base", ["1"])
    assert hash_of("trained", ["2"], model="org/trained") == base
    assert hash_of("colder", ["2"], temperature=0.5) != base
    assert hash_of("worded", ["2"], prompt=f"Q: {APPLES['question']}") != base


def test_lines_without_filter(tmp_path):
    """Lines of a document with the same completions are its filters; with others, its repeats."""
    lines = [line(0, APPLES, ["a"]), line(0, APPLES, ["b"]), line(0, APPLES, ["a"])]
    for one in lines:
        del one["filter"]
    run = RunFolder(tmp_path / "run")
    import_run([write(tmp_path, "gsm8k", lines)], run)
    assert [one.text for one in run.samples()] == ["a", "b"]


def test_greedy_is_temperature_zero(tmp_path):
    one = line(0, APPLES, ["a"])
    one["arguments"]["gen_args_0"]["arg_1"] = {"until": "\n", "do_sample": False, "temperature": 0.7}
    manifest = import_run([write(tmp_path, "gsm8k", [one])], RunFolder(tmp_path / "run"))
    assert (manifest.protocol["temperature"], manifest.protocol["stop"]) == (0.0, ["\n"])


GOOD = line(0, APPLES, ["7"])
LIKELIHOOD = {
    "arguments": {"gen_args_0": {"arg_0": "1 + 1 =", "arg_1": " 2"}, "gen_args_1": {"arg_0": "1 + 1 =", "arg_1": " 3"}},
    "resps": [[["-1.5", "True"]], [["-3.5", "False"]]],
}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([{**GOOD, **LIKELIHOOD}], "nothing was generated"),
        ([{key: value for key, value in GOOD.items() if key != "resps"}], ":1: not a sample .* lacks resps"),
        ([line(3, {**APPLES, "answer": "seven"}, ["x"])], "doc_id 3: has no gold answer.* has question, answer"),
        ([{**GOOD, "doc": {"text": "?", "answer": "#### 7"}}], "has no question.* has text, answer"),
        ([], "holds no samples"),
    ],
)
def test_bad_lines_are_refused(tmp_path, lines, words):
    with pytest.raises(UserError, match=words):
        import_run([write(tmp_path, "gsm8k", lines)], RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_files_that_do_not_go_together_are_refused(tmp_path):
    def file(name, *, texts=("7",), doc=APPLES, model="org/base", task="sums", **generation):
        one = line(0, doc, list(texts))
        one["arguments"]["gen_args_0"]["arg_1"] = {**GENERATION, **generation}
        return write(tmp_path / name, task, [one], results=results(model))

    one = file("one")
    for other, words in (
        (file("same"), "are the same"),
        (file("model", texts="8", model="org/other"), "several models"),
        (file("colder", texts="8", temperature=0.1), "other settings"),
        (file("gold", texts="8", doc={**APPLES, "answer": "8"}), "two gold answers, '7' and '8'"),
        (tmp_path / "missing.jsonl", "is not a file"),
    ):
        with pytest.raises(UserError, match=words):
            import_run([one, other], RunFolder(tmp_path / "run"))
    import_run([one], RunFolder(tmp_path / "run"))
    with pytest.raises(UserError, match="not empty"):
        import_run([file("another", texts="8")], RunFolder(tmp_path / "run"))
    with pytest.raises(UserError, match="neither"):
        import_run([Path(__file__)], RunFolder(tmp_path / "new"))


def test_an_import_that_is_there_is_left_as_it_is_and_one_that_was_stopped_is_made_again(tmp_path):
    path = write(tmp_path, "gsm8k", [line(0, APPLES, ["7", "8"])], stamp="some-time")
    run = RunFolder(tmp_path / "run")
    manifest = import_run([path], run)
    rows = list(run.samples())
    mark = RunFolder(run.path).grades_path("mine")
    write_atomically(mark, "")
    before = run.manifest_path.stat()
    assert import_run([path], run) == manifest
    assert run.manifest_path.stat().st_mtime_ns == before.st_mtime_ns
    run.write_manifest(replace(manifest, status="started"))
    run.samples_path.write_bytes(run.samples_path.read_bytes()[:-20])
    assert import_run([path], run).status == "finished"
    assert list(run.samples()) == rows
    run.manifest_path.unlink()
    with pytest.raises(UserError, match="not empty"):
        import_run([path], run)


def write_details(root, task, rows, general=None):
    folder = root / "details" / "org" / "base" / STAMP
    folder.mkdir(parents=True)
    path = folder / f"details_{task}_{STAMP}.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    if general:
        (root / "results" / "org" / "base").mkdir(parents=True)
        file = root / "results" / "org" / "base" / f"results_{STAMP}.json"
        file.write_text(json.dumps({"config_general": general}))
    return path


def new_row(question, texts, tokens):
    """The columns and fields of lighteval 0.13 that are read, and some that are not."""
    return {
        "doc": {"query": f"Question: {question}\nAnswer:", "choices": [" 7"], "gold_index": 0, "generation_size": 256},
        "model_response": {"text": texts, "output_tokens": tokens, "input_tokens": [1, 2], "logprobs": []},
        "metric": {"extractive_match": 0.0},
    }


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    # the question of the third stands inside the first's
    rows = [APPLES, EGGS, {"question": "Ann has 3 apples", "answer": "#### 3"}]
    (folder / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("EXPO_BENCH_DATA", str(folder))


def test_lighteval_details(tmp_path, data):
    question = EGGS["question"]
    rows = [new_row(APPLES["question"], ["7", "8"], [[5, 6], [5] * 4]), new_row(question, ["a", "b"], [[1], [2]])]
    parameters = {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 4, "seed": 3, "stop_tokens": None}
    general = {"model_name": "org/base", "model_config": {"generation_parameters": parameters, "dtype": "bfloat16"}}
    run = RunFolder(tmp_path / "run")
    manifest = import_run([write_details(tmp_path, "gsm8k|0", rows, general)], run)
    assert list(run.problems()) == load("gsm8k").problems[:2]
    assert [(one.sample_index, one.text, one.n_tokens, one.finish_reason) for one in run.samples()] == [
        (0, "7", 2, "stop"),
        (1, "8", 4, "length"),
        (0, "a", 1, "stop"),
        (1, "b", 1, "stop"),
    ]
    assert (manifest.model["name"], manifest.seed) == ("org/base", 3)
    assert {"temperature": 0.6, "top_p": 0.95, "max_tokens": 4}.items() <= manifest.protocol.items()


def test_older_lighteval_details(tmp_path, data):
    row = {
        "example": f"Question: {APPLES['question']}\nAnswer:",
        "full_prompt": "...",
        "predictions": ["7", "8"],
        "cont_tokens": [[[5, 6], [5]]],
        "gold": [" 7"],
    }
    run = RunFolder(tmp_path / "run")
    manifest = import_run([write_details(tmp_path, "lighteval|gsm8k|5", [row])], run)
    assert [(one.text, one.n_tokens) for one in run.samples()] == [("7", 2), ("8", 1)]
    assert next(run.problems()).answer == "7"
    assert (manifest.model["name"], manifest.protocol["temperature"]) == ("base", None)


@pytest.mark.parametrize(
    ("task", "row", "words"),
    [
        (
            "gsm8k|0",
            {"inputs": "x", "outputs": "y"},
            "its fields: inputs, outputs; say which is which: --map question=PATH",
        ),
        ("gsm8k|0", new_row("Bob?", ["7"], [[5]]), "no question of gsm8k stands in"),
        ("gsm8k|0", {"example": "x", "predictions": "['7']", "cont_tokens": "[]"}, "list of texts"),
        ("mine|0", new_row("Bob?", ["7"], [[5]]), "mine is no benchmark known"),
    ],
)
def test_details_that_are_not_understood_are_refused(tmp_path, data, task, row, words):
    with pytest.raises(UserError, match=words):
        import_run([write_details(tmp_path, task, [row])], RunFolder(tmp_path / "run"))


@pytest.mark.real
@pytest.mark.skipif(not os.environ.get("EXPO_BENCH_DATA"), reason="EXPO_BENCH_DATA names no benchmark files")
@pytest.mark.parametrize(
    ("file", "task"),
    [
        ("gsm8k_test", "gsm8k"),
        ("math500", "hendrycks_math500"),
        ("aime24", "aime24"),
        ("aime25", "aime25"),
    ],
)
def test_whole_benchmark_has_its_digest(tmp_path, file, task):
    rows = (Path(os.environ["EXPO_BENCH_DATA"]) / f"{file}.jsonl").read_text().splitlines()
    path = write(tmp_path, task, [line(number, json.loads(row), ["7"]) for number, row in enumerate(rows)])
    run = RunFolder(tmp_path / "run")
    manifest = import_run([path], run)
    [about] = manifest.benchmarks.values()
    assert about["digest_status"] == "match"
    # AIME 2025's solutions are in a file of their own
    there = {one.problem_id: one.solution for one in run.problems()}
    known = [replace(one, solution=there[one.problem_id]) for one in load(about["name"]).problems]
    assert list(run.problems()) == known
