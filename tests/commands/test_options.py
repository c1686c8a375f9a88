"""Options come from the settings; help has groups; misspelt words are told what was meant."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expo_bench.commands.cli import COMMANDS, app
from expo_bench.config import EvalConfig, load_config
from expo_bench.errors import UserError
from expo_bench.storage.run_folder import RunFolder
from expo_bench.trainers.training import load_recipe

RECIPE = Path(__file__).resolve().parents[2] / "train" / "configs" / "micro-expo-grpo.yaml"


def _help(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_setting_is_an_option_with_its_own_text() -> None:
    shown = " ".join(_help("eval").split())
    for name, field in EvalConfig.model_fields.items():
        if name in ("engine_options", "choice_seed"):  # no single value; nobody's first wish
            continue
        assert re.search(rf"(-n|--{name.replace('_', '-')})\b", shown), name
        assert " ".join((field.description or "").split()) in shown, name


def test_help_is_grouped_and_ends_with_an_example() -> None:
    page = _help("eval")
    places = [page.index(f"\n{group}:\n") for group in ("Model", "Problems", "Sampling", "Run", "Example")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    assert _help(name).startswith("Usage:")
    assert f"\n  {name} " in _help()


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"expo-bench \d+\.\d+\S*\n", CliRunner().invoke(app, ["--version"]).output)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["evl", "-m", "micro"], "did you mean eval?"),
        (["eval", "-m", "micro", "-b", "mikro"], "did you mean micro?"),
        (["eval", "-m", "micro", "-b", "micro", "tempreature=1"], "did you mean temperature?"),
        (["eval", "-m", "micro", "-b", "micro", "--engine", "vlm"], "did you mean vllm?"),
        (["train", str(RECIPE), "expo.wieght=1"], "did you mean weight?"),
        (["train", str(RECIPE), "stepz=1"], "did you mean steps?"),
        (["train", str(RECIPE), "evaluation.benchmarcs=micro"], "did you mean benchmarks?"),
    ],
)
def test_what_was_meant(words: list[str], meant: str) -> None:
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UserError)
    assert meant in str(done.exception)


@pytest.mark.parametrize("given", ["micro, gsm8k", ["micro", "gsm8k"], ("micro", "gsm8k")])
def test_a_list_may_be_one_text(given: object) -> None:
    config = load_config(None, {"model": "micro", "benchmarks": given, "levels": "4,5", "ks": 1})
    assert config.benchmarks == ("micro", "gsm8k")
    assert (config.levels, config.ks) == ((4, 5), (1,))
    assert load_recipe(RECIPE, {}, ["evaluation={benchmarks: micro, n: 2}"]).evaluation is not None


def test_all_unknown_keys_are_named_and_a_file_is_blamed_for_its_own_alone(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.read_text().replace("steps:", "stepz:") + "\nexpoo: {}\n")
    with pytest.raises(UserError, match=r"stepz \(did you mean steps\?\), expoo \(did you mean expo\?\)") as both:
        load_recipe(file, {})
    assert str(both.value).endswith(f"(in {file})")
    with pytest.raises(UserError, match=r"^steps: should be greater than or equal to 1$"):
        load_recipe(RECIPE, {}, ["steps=0"])
    file.write_text("method: grpo\nbenchmark: micro\nmodel: &own [*own]\n")
    with pytest.raises(UserError, match=r"^model: .* \(in .*recipe\.yaml\)$"):
        load_recipe(file, {}, ["lora.r=2", "steps=3"])
    with pytest.raises(UserError, match=r"expo.wieght \(did you mean weight\?\): no such setting") as one:
        load_recipe(RECIPE, {}, ["expo.wieght=0.1"])
    assert RECIPE.name not in str(one.value)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("recipe.yaml", "it is a training folder, whose checkpoints are evaluated in"),
        ("grpo/seed-0/recipe.yaml", "it is a study, whose runs lie in"),
        ("ledger.json", "it is a ledger, with its page in"),
    ],
)
def test_a_folder_that_is_no_run_is_told_what_it_is(tmp_path: Path, made: str, said: str) -> None:
    (tmp_path / made).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / made).write_text("{}")
    with pytest.raises(UserError, match=said):
        RunFolder(tmp_path).read_manifest()


def test_a_device_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    words = ["eval", "-m", "micro", "-b", "micro", "-n", "1", "--limit", "1", "engine_options.device=cuda:7"]
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "run")])
    assert isinstance(done.exception, UserError)
    assert "device cuda:7 cannot be used" in str(done.exception)


def test_flags_that_are_given_reach_the_settings_and_others_do_not(tmp_path: Path) -> None:
    words = ["eval", "-m", "micro", "-b", "micro", "--no-enable-thinking", "--compress", "--stop", "a", "--stop", "b,c"]
    done = CliRunner().invoke(app, [*words, "-n", "2", "--dry-run", "-o", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    for line in ("enable_thinking: false", "compress: true", "n: 2", "redraw_errors: false", "- b,c"):
        assert line in done.output


def test_the_start_takes_no_settings() -> None:
    code = "import sys; from expo_bench.commands.cli import app; from typer.testing import CliRunner; "
    code += "CliRunner().invoke(app, ['--help']); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
