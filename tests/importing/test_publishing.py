"""What is published of a run, and how the hub is asked: a stand-in answers as its HTTP interface does."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from typer.testing import CliRunner

from expo_bench import RunFolder
from expo_bench.commands.cli import app
from expo_bench.importing.importing import import_run
from expo_bench.importing.publishing.scores import BEGIN, with_section
from expo_bench.problems import Reading

ROWS = [
    {"question": f"{n} + {n}?", "answer": str(2 * n), "text": [f"\\boxed{{{2 * n}}}", f"\\boxed{{{n}}}"]} for n in "12"
    for n in [int(n)]
]  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks on its way to a commit, and keeps what was committed."""

    card = "---\nlicense: mit\n---\n# A model\n"
    commits: list[dict[str, Any]]
    paths: list[str]
    tokens: set[str | None]

    def _answer(self, body: Any, code: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _read(self) -> bytes:
        self.tokens.add(self.headers.get("Authorization"))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self) -> None:
        self._read()
        if "/resolve/" in self.path:
            known = self.path.endswith("README.md") and bool(self.card)
            told = {"X_Repo_Commit": "a" * 40, "ETag": '"1"'}
            self._answer(self.card.encode() if known else b"", 200 if known else 404,
                         **(told if known else {"X_Error_Code": "EntryNotFound"}))  # fmt: skip
        else:
            self._answer({"id": "org/m", "sha": "a" * 40, "siblings": []})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self._read()
        self.paths.append(self.path)
        here = f"http://{self.headers['Host']}/org/m"
        if "/preupload/" in self.path:
            files = [{**one, "uploadMode": "regular", "shouldIgnore": False} for one in json.loads(body)["files"]]
            self._answer({"files": files})
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"]).decode()
                for line in lines
                if line["key"] == "file"
            }
            self.commits.append(files)
            address = f"{here}/commit/{'b' * 40}"
            request = {"pullRequestUrl": f"{here}/discussions/3"} if "create_pr=1" in self.path else {}
            self._answer({"commitUrl": address, "commitOid": "b" * 40, "success": True, **request})
        else:
            self._answer({"url": here, "name": "org/m"})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    kind = type("OneHub", (Hub,), {"commits": [], "paths": [], "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_standin")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield kind
    server.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "math500.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = ["import", str(tmp_path / "math500.jsonl"), "-m", "org/m", "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return tmp_path / "run"


def test_files_of_a_run(run: Path) -> None:
    done = CliRunner().invoke(app, ["publish", str(run), "--organization", "us"])
    assert done.exit_code == 0, done.output
    published = run / "published"
    [entry] = parse_eval_result_entries(
        yaml.safe_load((published / ".eval_results/expo-bench_math500.yaml").read_text())
    )
    assert (entry.dataset_id, entry.task_id, entry.value) == ("HuggingFaceH4/MATH-500", "default", 50.0)
    assert entry.notes is not None and entry.notes.startswith("avg@2; ")
    section = (published / "card-section.md").read_text()
    assert "| math500 | avg@2 | 50.0 |" in section and "| math500 | pass@2 | 100.0 |" in section
    [about] = (published / "every_eval_ever").rglob("*.json")
    told = json.loads(about.read_text())
    assert (told["schema_version"], told["model_info"]["id"]) == ("0.3.0", "org/m")
    assert told["source_metadata"]["source_organization_name"] == "us"
    scores = {one["evaluation_name"]: one["score_details"]["score"] for one in told["evaluation_results"]}
    assert (scores["math500 avg@2"], scores["math500 pass@2"]) == (0.5, 1.0)
    detailed = told["detailed_evaluation_results"]
    rows = [
        json.loads(line) for line in (published / "every_eval_ever" / detailed["file_path"]).read_text().splitlines()
    ]
    assert len(rows) == detailed["total_rows"] == 4
    assert {row["evaluation_id"] for row in rows} == {told["evaluation_id"]}
    assert [row["evaluation"]["is_correct"] for row in rows] == [True, False, True, False]
    # what is written is read again
    again = RunFolder(run.parent / "again")
    import_run([published / "every_eval_ever" / detailed["file_path"]], again, reading=Reading())
    assert [one.text for one in again.samples()] == [one.text for one in RunFolder(run).samples()]


def test_a_section_takes_the_place_of_an_earlier_one() -> None:
    first = with_section("# A model\n", f"{BEGIN}\nold\n<!-- expo-bench: end -->\n")
    second = with_section(first + "\nMore.\n", f"{BEGIN}\nnew\n<!-- expo-bench: end -->\n")
    assert second.count(BEGIN) == 1 and "old" not in second and "new" in second and second.endswith("More.\n")


@pytest.mark.parametrize("as_request", [True, False])
def test_results_go_to_the_hub(run: Path, hub: type[Hub], as_request: bool) -> None:
    words = ["publish", str(run), "--to", "org/m", *["--pull-request"] * as_request]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    [files] = hub.commits
    assert set(files) == {".eval_results/expo-bench_math500.yaml", "README.md"}
    assert files["README.md"].startswith("---\nlicense: mit\n---\n# A model\n")
    assert "| math500 | avg@2 | 50.0 |" in files["README.md"]
    assert ("/discussions/3" if as_request else "/commit/") in done.stderr
    assert hub.tokens == {"Bearer hf_standin"}
    assert any("/repos/create" in path for path in hub.paths) is not as_request


def test_a_checkpoint_goes_to_the_hub_with_its_recipe(run: Path, hub: type[Hub], tmp_path: Path) -> None:
    training = tmp_path / "training"
    checkpoint = training / "checkpoints" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    for path in (training / "recipe.yaml", training / "training.json", checkpoint / "model.safetensors"):
        path.write_text(path.name)
    (checkpoint / "optimizer.pt").write_text("not for others")
    (tmp_path / "ledger.html").write_text("ledger")
    words = ["publish", str(training), "--checkpoint", str(checkpoint), "--to", "org/m", "--evaluation", str(run)]
    done = CliRunner().invoke(app, [*words, "--with", str(tmp_path / "ledger.html")])
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    [files] = hub.commits
    assert {
        "model.safetensors", "training/recipe.yaml", "training/training.json", "training/ledger.html", "README.md",
        ".eval_results/expo-bench_math500.yaml",
    } == set(files)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "is not a run folder"),
        (["run", "--to", "org/m"], "set HF_TOKEN"),
        (["run", "--pull-request"], "name it with --to"),
        (["run", "--grader", "nobody"], "no metrics of math500 by the grader nobody"),
        (["run", "--checkpoint", "run"], "name its repository with --to"),
    ],
)
def test_refusals(run: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str) -> None:
    monkeypatch.chdir(run.parent)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    done = CliRunner().invoke(app, ["publish", *words])
    assert says in str(done.exception)
