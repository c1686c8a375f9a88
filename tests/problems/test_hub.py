"""The hub path with the real `datasets`: against a stand-in for the hub on loopback, and against folders.

The library reads its environment when it is imported, so each test loads in a process of its own.
"""

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from expo_bench import RunFolder

OLD, NEW = "a" * 40, "b" * 40  # two commits
CARD = b"""---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train.jsonl}
  - {split: test, path: main/test.jsonl}
---
"""
FILES = {
    OLD: {
        "README.md": CARD,
        "main/train.jsonl": b'{"question": "1+1?", "answer": "#### 2"}\n',
        "main/test.jsonl": b'{"question": "1+2?", "answer": "#### 3"}\n',
    },
    NEW: {
        "README.md": CARD,
        "main/train.jsonl": b'{"question": "2+1?", "answer": "#### 3"}\n',
        "main/test.jsonl": b'{"question": "2+2?", "answer": "#### 4"}\n',
    },
}
PLAIN_FILE = b'{"domain": ["Mathematics -> Algebra"], "difficulty": 4.5, "problem": "3+3?", "answer": "6"}\n'


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as it takes to read one repository, openai/gsm8k."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/datasets/openai/gsm8k/resolve/([^/]+)/(.+)", path):
            self.send_repository_file(match[1], match[2])
        elif match := re.fullmatch(r"/api/datasets/openai/gsm8k/revision/(\w{40})", path):
            names = [{"rfilename": name} for name in FILES[match[1]]]
            self.send_json({"id": "openai/gsm8k", "sha": match[1], "siblings": names})
        elif match := re.fullmatch(r"/api/datasets/openai/gsm8k/tree/(\w{40})/?(.*)", path):
            found = {name: body for name, body in FILES[match[1]].items() if name.startswith(match[2])}
            self.send_json(
                [
                    {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                    for name, body in found.items()
                ]
            )
        elif path.startswith("/raw/"):
            self.send(200, PLAIN_FILE, ETag='"1"')
        else:
            self.send(404)

    do_HEAD = do_GET

    def send_repository_file(self, revision: str, name: str) -> None:
        commit = NEW if revision == "main" else revision
        if commit not in FILES:
            self.send(404, X_Error_Code="RevisionNotFound")
        elif name not in FILES[commit]:
            self.send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        else:
            body = FILES[commit][name]
            self.send(200, body, X_Repo_Commit=commit, ETag=f'"{hashlib.sha1(body).hexdigest()}"')

    def send_json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), Content_Type="application/json")

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


SCRIPT = """
import dataclasses, json, sys
from expo_bench.errors import UserError
from expo_bench.problems import load, loading
for changes, arguments in json.loads(sys.argv[1]):
    name = arguments["name"]
    for field, value in changes.items():
        benchmark = loading._PUBLISHED[name]
        source = dataclasses.replace(benchmark.source, **{field: value})
        loading._PUBLISHED[name] = dataclasses.replace(benchmark, source=source)
    try:
        loaded = load(**arguments)
        print(json.dumps([[[p.question, p.answer, p.level] for p in loaded.problems], loaded.provenance]))
    except UserError as error:
        print(json.dumps(["UserError", str(error)]))
"""

Loader = Callable[..., list[Any]]


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    """Run `load` with each of the arguments in turn, in one process, and return what came of each."""

    def run(*calls: tuple[dict[str, Any], dict[str, Any]], **environment: str) -> list[Any]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "EXPO_BENCH_"))}
        home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(calls)],
            env=kept | home | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def gsm8k(**arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {"name": "gsm8k", **arguments}


def test_hub_with_and_without_network(load: Loader, endpoint: str) -> None:
    newest, train, pinned, gone = load(
        gsm8k(), gsm8k(split="train"), gsm8k(revision=OLD), gsm8k(revision="nope"), HF_ENDPOINT=endpoint
    )
    assert newest[0] == [["2+2?", "4", None]]
    assert newest[1]["source"] == "hub:openai/gsm8k"
    assert newest[1]["revision"] == NEW
    assert newest[1]["digest_status"] == "changed"
    assert train[0] == [["2+1?", "3", None]]
    assert pinned[0] == [["1+2?", "3", None]]
    assert pinned[1]["revision"] == OLD
    assert gone[0] == "UserError"
    assert "Revision 'nope' doesn't exist" in gone[1]

    # from the cache that this left behind
    pinned, other, missing = load(
        gsm8k(revision=OLD), gsm8k(revision="c" * 40), ({}, {"name": "math500"}), HF_HUB_OFFLINE="1"
    )
    assert pinned[0] == [["1+2?", "3", None]]
    assert pinned[1]["revision"] == OLD
    assert other[0] == "UserError"
    assert f"revision {'c' * 40} is not in the cache" in other[1]
    assert missing[0] == "UserError"
    assert missing[1].startswith("cannot get math500 from hub:HuggingFaceH4/MATH-500: ")
    for hint in ("HF_HUB_OFFLINE", "math500.jsonl", "--data-dir", "EXPO_BENCH_DATA"):
        assert hint in missing[1]
    assert "\n" not in missing[1]


def test_file_that_is_not_on_the_hub(load: Loader, endpoint: str) -> None:
    changes = {"url": f"{endpoint}/raw/{{revision}}/rule.jsonl"}
    pinned, named = load(
        (changes, {"name": "omni-math-rule"}), (changes, {"name": "omni-math-rule", "revision": "main"})
    )
    assert pinned[0] == [["3+3?", "6", 4]]
    assert pinned[1]["source"] == "github:KbsdJames/omni-math-rule"
    assert len(pinned[1]["revision"]) == 40
    assert named[1]["revision"] == "main"


def test_folders_in_the_shape_of_repositories(load: Loader, tmp_path: Path) -> None:
    """All seven configurations of MATH are read, and AIME 2024's test split is the repository's "train"."""
    math = tmp_path / "math"
    configs = [
        "algebra",
        "counting_and_probability",
        "geometry",
        "intermediate_algebra",
        "number_theory",
        "prealgebra",
        "precalculus",
    ]
    for number, config in enumerate(configs):
        (math / config).mkdir(parents=True)
        row = {"problem": f"{number}+1?", "level": "Level 3", "type": config, "solution": rf"\boxed{{{number + 1}}}"}
        (math / config / "test.jsonl").write_text(json.dumps(row))
    listed = [
        f"- config_name: {config}\n  data_files:\n  - {{split: test, path: {config}/test.jsonl}}\n"
        for config in configs
    ]
    (math / "README.md").write_text(f"---\nconfigs:\n{''.join(listed)}---\n")
    aime = tmp_path / "aime"
    aime.mkdir()
    (aime / "train.jsonl").write_text('{"id": 1, "problem": "1+1?", "solution": "2", "answer": "002"}')

    whole, year = load(({"repo": str(math)}, {"name": "math"}), ({"repo": str(aime)}, {"name": "aime24"}))
    assert whole[0] == [[f"{number}+1?", str(number + 1), 3] for number in range(7)]
    assert whole[1]["revision"] is None
    assert year[0] == [["1+1?", "2", None]]


def test_samples_of_the_hub_are_imported(tmp_path: Path, endpoint: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "EXPO_BENCH_"))}
    environment |= {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    mapping = ["--map", "question=question", "--map", "answer=answer", "--map", "text=answer"]

    def import_(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "expo_bench", "import", *arguments],
            env=environment | {"HF_ENDPOINT": endpoint},
            capture_output=True,
            text=True,
            check=False,
        )

    hub = ("openai/gsm8k", f"hf://datasets/openai/gsm8k@{OLD}:main/train")
    for number, (address, question) in enumerate(zip(hub, ("2+2?", "1+1?"), strict=True)):
        run = tmp_path / str(number)
        done = import_(address, "-o", str(run), *mapping)
        assert done.returncode == 0, done.stderr
        [problem] = RunFolder(run).problems()
        manifest = RunFolder(run).read_manifest()
        assert (problem.question, manifest.model["name"]) == (question, "gsm8k")
        assert (NEW if number == 0 else OLD) in str(manifest.environment["imported_files"])
    for address, words in (
        ("hf://openai/gsm8k:main/dev", "there is no split 'dev'; choose train, test"),
        ("hf://openai/gsm8k:other", "other"),
        ("nobody/nothing", "no file nobody/nothing here"),
        ("hf://x", "hf://x is not a file"),
    ):
        refused = import_(address, "-o", str(tmp_path / "refused"))
        assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1), refused.stderr
        assert words in refused.stderr
