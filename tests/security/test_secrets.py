"""Keys come from the environment and are found nowhere else; a server that cannot prove who it is gets none."""

import contextlib
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from expo_bench.config import EngineSpec, load_config
from expo_bench.engines.server.engine import ServerEngine
from expo_bench.errors import UserError
from tests.engines.server.fake_server import FakeServer, Plan
from tests.faults.pipeline import write_problems

pytestmark = pytest.mark.fault

KEY = "sk-never-to-be-seen-0123456789"
COMMAND = str(Path(sys.executable).with_name("expo-bench"))


def _eval(folder: Path, url: str, *more: str) -> "subprocess.CompletedProcess[str]":
    words = [*f"eval -m {url}#m -b sums.jsonl -n 1 --max-tokens 8 -o run".split(), *more]
    return subprocess.run(
        [COMMAND, *words, "engine_options.max_retries=0"], cwd=folder, env={**os.environ, "OPENAI_API_KEY": KEY},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _assert_nowhere(secret: str, folder: Path, done: "subprocess.CompletedProcess[str]") -> None:
    assert secret not in done.stdout + done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 1
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_a_key_that_the_server_repeats_is_in_no_file_and_no_line(tmp_path: Path) -> None:
    write_problems(tmp_path, 4)
    with FakeServer() as server:
        refusal = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
        server.everything = Plan(status=401, body=refusal)
        refused = _eval(tmp_path, server.url)
        assert refused.returncode == 2
        assert "OPENAI_API_KEY" in refused.stderr
        _assert_nowhere(KEY, tmp_path, refused)
        # past the first request, each sample ends in an error that the row tells
        server.everything = None
        server.plan = lambda text: Plan(status=400, body=refusal) if "Compute" in text else Plan()  # type: ignore[method-assign]
        failed = _eval(tmp_path, server.url)
        assert failed.returncode == 0, failed.stderr
        assert "***" in (tmp_path / "run" / "samples.jsonl").read_text()
        assert (tmp_path / "run" / "report.html").is_file()
        _assert_nowhere(KEY, tmp_path, failed)
        assert {asked["headers"]["authorization"] for asked in server.seen} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "model", ["http://user:hunter2@127.0.0.1:1/v1#m", "http://hunter2@127.0.0.1/v1#m", "https://h/v1?token=hunter2#m"]
)
def test_a_url_that_holds_a_secret_is_refused_before_it_is_written(model: str) -> None:
    with pytest.raises(UserError, match="OPENAI_API_KEY") as raised:
        load_config(None, {"model": model, "benchmarks": ["micro"]})
    assert "hunter2" not in str(raised.value)


def test_a_key_among_the_settings_is_refused() -> None:
    with pytest.raises(UserError, match="OPENAI_API_KEY") as raised:
        load_config(None, {"model": "http://h/v1#m", "benchmarks": ["micro"]}, ["engine_options.api_key=hunter2"])
    assert "hunter2" not in str(raised.value)


@contextlib.contextmanager
def _self_signed(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of an HTTPS server that nobody vouches for, and the keys that it has been sent."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(
        [*made, "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    sent: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": []}')

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with Quiet(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_port}/v1", sent
        server.shutdown()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's pauses before it tries again
    with _self_signed(tmp_path) as (url, sent):
        with pytest.raises(UserError, match="no server answers"):
            ServerEngine(EngineSpec(model=f"{url}#m"))
        assert sent == []
        # the same server is reached once its certificate is trusted: it was refused for that alone
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        ServerEngine(EngineSpec(model=f"{url}#m"))
        assert sent == [f"Bearer {KEY}"]
