"""likelihood.py, sharpening.py and tempered.py on small runs of the micro policy."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

import expo_bench
from analysis import likelihood, sharpening, tempered
from expo_bench import RunFolder, UserError
from expo_bench.commands.cli import app

pytestmark = pytest.mark.slow

SHARED = ["-m", "micro", "-b", "micro", "--levels", "2,3", "--limit", "6", "--max-tokens", "64"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the base, one of a copy tempered to half the temperature, and one at that temperature."""
    folder = tmp_path_factory.mktemp("runs")
    model = ["--engine", "transformers", "-n", "8"]
    with pytest.MonkeyPatch.context() as patch:
        run(tempered.main, patch, "micro", "0.5", "-o", folder / "model")
    copy = [str(folder / "model") if word == "micro" and at == 1 else word for at, word in enumerate(SHARED)]
    for name, words in (("base", SHARED), ("copy", copy), ("cool", [*SHARED, "--temperature", "0.5"])):
        expo_bench_command("eval", *words, *model, "-o", folder / name)
    return folder


def expo_bench_command(*words: object) -> None:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output


def run(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["analysis", *map(str, words)])
    main()


def is_figure(path: Path) -> bool:
    return ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_ledger_becomes_figures_and_tables(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [runs / "base", runs / "copy", "--control", runs / "cool", "-o", tmp_path]
    run(sharpening.main, monkeypatch, *words)
    content = json.loads((tmp_path / "ledger.json").read_bytes())
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["trained"] for row in rows if row["problems"] == "all"] == ["copy", "cool", "copy"]
    numbers = content["comparisons"][0]["subsets"]["level=3"]
    [row] = [row for row in rows if (row["trained"], row["base"], row["problems"]) == ("copy", "base", "level=3")]
    assert float(row["pass@1 after"]) == round(numbers["pass_at_k"]["trained"]["value"][0], 4)
    assert int(row["lost"]) == numbers["cells"]["base_only"]
    assert len((tmp_path / "table.md").read_text().splitlines()) == len(rows) + 2
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == [
        f"{number}_{name}.svg" for number in (1, 2, 3) for name in ("cells", "curves", "flows")
    ]
    assert all(map(is_figure, tmp_path.glob("*.svg")))


def test_a_tempered_copy_is_its_base_at_that_temperature(runs: Path) -> None:
    copy, cool, base = (RunFolder(runs / name) for name in ("copy", "cool", "base"))
    # the seeds are the same, and so are the samples; the copy's log-probabilities are those of what was sampled from
    assert [row.text for row in copy.samples()] == [row.text for row in cool.samples()]
    assert copy.read_manifest().protocol_hash == base.read_manifest().protocol_hash
    own = AutoModelForCausalLM.from_pretrained(Path(expo_bench.__file__).parent / "assets" / "micro")
    other = AutoModelForCausalLM.from_pretrained(runs / "model")
    tokens = torch.arange(3, 40)[None]
    torch.testing.assert_close(other(tokens).logits, own(tokens).logits / 0.5)


def test_a_model_that_does_not_end_in_a_norm_is_not_tempered() -> None:
    with pytest.raises(UserError, match="GPT2LMHeadModel cannot be tempered"):
        tempered.temper(GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=32)).eval(), 0.5)


def test_scored_runs_become_tables_and_the_plane(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    chains = tmp_path / "chains"
    words = [*SHARED, "--sources", "expert,own", "--samples", runs / "base", "-o", chains]
    expo_bench_command("candidates", *words)
    with pytest.raises(SystemExit):
        run(likelihood.main, monkeypatch, chains)
    assert "score its candidates with expo-bench likelihood" in capsys.readouterr().err
    expo_bench_command("likelihood", chains, "-m", "micro")
    run(likelihood.main, monkeypatch, chains, "-o", tmp_path / "out")
    metrics = {(one.subset, one.source, one.name): one for one in RunFolder(chains).likelihood_metrics()}
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    [expert] = [line for line in lines if line.startswith("| micro | all | expert | ")]
    assert f"| {metrics['all', 'expert', 'mean_logprob'].value:.3f} [" in expert
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(metrics)
    assert is_figure(tmp_path / "out" / "two_properties.svg")
