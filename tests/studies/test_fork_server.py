import os
import re
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

from expo_bench.studies.fork_server import ForkServer
from expo_bench.studies.study import Study, runs, train_all
from expo_bench.trainers.training import recipe_yaml
from tests.fakes import Silent
from tests.studies.test_study import SHARED


def test_a_run_fails_alone_and_is_stopped_with_its_server(tmp_path):
    log = tmp_path / "log"
    with closing(ForkServer(threads=1, with_vllm=False)) as server:
        server.begin(["train", str(tmp_path / "none.yaml")], log)
        assert server.ended() == 2
        assert "none.yaml" in log.read_text()
        server.begin(["--version"], log)
        assert server.ended() == 0
        first, last = log.read_text().strip().split("\n")
        assert last.startswith("expo-bench ") and first.startswith("expo-bench: ")
        assert server.alive
        # one that would never end
        server.begin(["view", str(tmp_path), "--port", "0"], log)
        while not (shown := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())):
            time.sleep(0.05)
        socket.create_connection(("127.0.0.1", int(shown[1]))).close()
    assert not server.alive
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(shown[1])))


@pytest.mark.slow
def test_a_run_is_equal_to_one_in_a_process_of_its_own(tmp_path):
    arms = {"first": {"method": "grpo"}, "second": {"method": "expo_grpo"}}
    study = Study(seeds=(0,), shared=SHARED, arms=arms)
    assert train_all(study, tmp_path / "study", Silent(), jobs=1) == []
    forked = runs(study, tmp_path / "study")[1].folder
    (tmp_path / "alone.yaml").write_text(recipe_yaml(runs(study, tmp_path)[1].recipe))
    subprocess.run(
        [sys.executable, "-m", "expo_bench", "train", str(tmp_path / "alone.yaml"), "-o", str(tmp_path / "alone")],
        env={**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())},
        check=True,
    )
    names = ["rollouts.jsonl", "checkpoints/checkpoint-2/model.safetensors"]
    names += [f"evaluations/checkpoint-{step}/{name}" for step in (0, 2) for name in ("samples.jsonl", "metrics.json")]
    for name in names:
        assert (forked.path / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
