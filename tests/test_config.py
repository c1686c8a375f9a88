"""Configuration: a file, the command line, overrides; bad input is one line that names the key."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expo_bench.config import EngineSpec, EvalConfig, load_config
from expo_bench.errors import UserError
from expo_bench.settings import to_yaml

GOOD = {"model": "micro", "benchmarks": ["micro"]}


def test_the_later_wins(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: micro\nbenchmarks: [micro]\nn: 2\nseed: 5\nengine_options: {batch_size: 4}\n")
    config = load_config(file, {"n": 3}, ["n=4", "engine_options.device=cpu", "levels=[4, 5]"])
    assert (config.n, config.seed, config.levels) == (4, 5, (4, 5))
    assert config.engine_options == {"batch_size": 4, "device": "cpu"}


def test_resolved_yaml_reads_back(tmp_path: Path) -> None:
    config = EvalConfig(
        model="a/b", benchmarks=("math500", "own.jsonl"), levels=(1,), stop=("\n\n",), data_dir=Path("d")
    )
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_config(file, {}) == config


def test_a_chat_template_travels_with_the_value_that_was_asked_for_it(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    spec = EngineSpec(model="micro", chat_template=file)
    with pytest.raises(UserError, match=r"own\.jinja cannot be read"):
        _ = spec.template
    file.write_text("{{ messages }}")
    read, unread = spec.model_copy(), EngineSpec(model="micro", chat_template=file)
    assert read.template == "{{ messages }}"
    file.unlink()
    there = pickle.loads(pickle.dumps(read.model_copy(update={"model": "/elsewhere"})))
    assert (there.model, there.template) == ("/elsewhere", "{{ messages }}")
    with pytest.raises(UserError):
        _ = pickle.loads(pickle.dumps(unread)).template
    assert read == unread and "template" not in to_yaml(read).replace("chat_template", "")


@pytest.mark.parametrize(
    ("settings", "overrides", "says"),
    [
        ({"benchmarks": ["micro"]}, [], "model: is not set"),
        ({"model": "micro", "benchmarks": []}, [], "benchmarks"),
        (GOOD, ["temprature=1"], "temprature (did you mean temperature?): no such setting"),
        (GOOD, ["n"], "key=value"),
        (GOOD, ["n=0"], "n: "),
        (GOOD, ["n=many"], "n: "),
        (GOOD, ["top_p=1.5"], "top_p: "),
        (GOOD, ["n.a=1", "n.b=2"], "n: "),
        (GOOD, ["model.a=1"], "model holds no keys"),
        (GOOD, ["stop=['']"], "empty"),
        (GOOD, ["seed={"], "not YAML"),
        ({**GOOD, "temperature": 0}, [], "temperature 0 is greedy"),
        ({**GOOD, "n": 4, "ks": [8]}, [], "pass@8 needs n >= 8"),
        ({**GOOD, "engine": "server"}, [], "URL#name"),
    ],
)
def test_bad_settings_are_one_line(settings: dict[str, object], overrides: list[str], says: str) -> None:
    with pytest.raises(UserError) as raised:
        load_config(None, settings, overrides)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"- a\n- b\n", "must hold"),
        (b"", "must hold"),
        (b"a: [", "not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
        (b"1: 2", "must hold"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "run.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=says) as raised:
        load_config(file, {})
    assert "\n" not in str(raised.value)


@given(override=st.text(max_size=40))
def test_any_override_is_taken_or_refused(override: str) -> None:
    try:
        load_config(None, GOOD, [override])
    except UserError as error:
        assert "\n" not in str(error)
