"""The vLLM engine's own logic, with a stand-in for vLLM; tests/real/test_vllm.py runs the real one."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from safetensors.numpy import save_file

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Request, SamplingParams
from expo_bench.engines.choosing import engine_name
from expo_bench.engines.loading import ModelFiles, find_model
from expo_bench.engines.vllm import engine as subject
from expo_bench.engines.vllm.adapters import adapter_options
from expo_bench.engines.vllm.engine import VllmEngine
from expo_bench.engines.vllm.options import cpu_dtype
from expo_bench.errors import UserError

PARAMS = SamplingParams(temperature=0.8, top_p=0.9, max_tokens=10, stop=("END",))


class FakeTokenizer:
    """One token a character."""

    chat_template = "{{ messages }}"
    name_or_path = "fake"

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [1] * add_special_tokens + [ord(c) for c in text]}

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        return f"<{messages[-1]['content']}>" + ("T" if options.get("enable_thinking") else "")


class FakeCore:
    """Answers the oldest requests first, two a step; a prompt that holds "!" is refused."""

    def __init__(self) -> None:
        self.waiting: dict[str, Any] = {}
        self.asked: dict[str, tuple[list[int], Any]] = {}
        self.most_waiting = 0
        self.aborted: list[str] = []
        self.engine_core = self
        self.down = False
        self.vllm_config = types.SimpleNamespace(
            scheduler_config=types.SimpleNamespace(max_num_seqs=4),
            model_config=types.SimpleNamespace(
                max_model_len=20, dtype="torch.bfloat16", hf_config=None, quantization="fp8"
            ),
            parallel_config=types.SimpleNamespace(tensor_parallel_size=2, pipeline_parallel_size=1),
            cache_config=types.SimpleNamespace(enable_prefix_caching=True),
            speculative_config=None,
        )

    @property
    def output_processor(self) -> Any:
        state = types.SimpleNamespace(detokenizer=types.SimpleNamespace(num_output_tokens=lambda: 0))
        return types.SimpleNamespace(request_states=dict.fromkeys(self.waiting, state))

    def add_request(self, number: str, prompt: dict[str, Any], sampling: Any, lora_request: None) -> None:
        if ord("!") in prompt["prompt_token_ids"]:
            raise ValueError("no exclamation marks\nplease")
        assert number not in self.asked
        self.asked[number] = (prompt["prompt_token_ids"], sampling)
        self.waiting[number] = sampling
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    def step(self) -> list[Any]:
        done = list(self.waiting.items())[:2]
        for number, _ in done:
            del self.waiting[number]
        return [self.output(number, sampling) for number, sampling in done]

    def output(self, number: str, sampling: Any) -> Any:
        reason = {7: "length", 8: "abort"}.get(sampling.seed, "stop")
        one = types.SimpleNamespace(
            text=f"seed {sampling.seed}", token_ids=[5, 6], finish_reason=reason, cumulative_logprob=-1.5
        )
        return types.SimpleNamespace(request_id=number, finished=True, outputs=[one])

    def abort_request(self, numbers: list[str]) -> None:
        self.aborted += numbers

    def shutdown(self) -> None:
        self.down = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A module that stands in for vllm; `fake.loaded` is what LLM was given, `fake.core` its engine."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    module: Any = types.ModuleType("vllm")
    module.__version__ = "0.0"
    module.core = FakeCore()
    module.folder = str(tmp_path)

    def load(**options: Any) -> Any:
        module.loaded = options
        os.write(1, b"noise on standard output\n")
        if "max_model_len" in options:
            raise ValueError("max_model_len is too large\nand more")
        return types.SimpleNamespace(llm_engine=module.core, get_tokenizer=FakeTokenizer)

    def sampling(**options: Any) -> Any:
        if options["top_p"] > 1:
            raise ValueError("top_p must be in (0, 1]")
        return types.SimpleNamespace(**options)

    module.LLM, module.SamplingParams = load, sampling
    names = (
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "block_size",
        "seed",
        "max_model_len",
        "speculative_config",
    )
    module.EngineArgs = dataclasses.make_dataclass("EngineArgs", names)
    module.sampling_params = types.SimpleNamespace(RequestOutputKind=types.SimpleNamespace(FINAL_ONLY="final"))
    module.on_cpu = True
    platforms: Any = types.ModuleType("vllm.platforms")
    platforms.current_platform = types.SimpleNamespace(is_cpu=lambda: module.on_cpu)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    for name in (*subject._ENVIRONMENT, *subject._CPU_ENVIRONMENT):
        # set first, so that what the engine adds is taken back at the end
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return module


def request(text: str, seeds: tuple[int, ...] = (1, 2), **changes: Any) -> Request:
    return Request(
        problem_id=text,
        messages=({"role": "user", "content": text},),
        sample_indexes=tuple(range(len(seeds))),
        seeds=seeds,
        **changes,
    )


def opened(model: str, **settings: Any) -> VllmEngine:
    return VllmEngine(EngineSpec(model=model, **settings))


def test_each_sample_is_one_request_with_its_seed(fake: Any) -> None:
    got = list(opened(fake.folder).generate([request("a", (1, 2, 3)), request("b", (4, 7))], PARAMS))
    assert {(c.problem_id, c.sample_index): c.text for c in got} == {
        ("a", 0): "seed 1", ("a", 1): "seed 2", ("a", 2): "seed 3", ("b", 0): "seed 4", ("b", 1): "seed 7"
    }  # fmt: skip
    assert {c.finish_reason for c in got if c.problem_id == "a"} == {"stop"}
    assert next(c for c in got if c.text == "seed 7").finish_reason == "length"
    assert all((c.token_ids, c.n_tokens, c.sum_logprob) == ((5, 6), 2, -1.5) for c in got)
    ids, sampling = fake.core.asked["0"]
    assert ids == [ord(c) for c in "<a>"]
    assert (sampling.temperature, sampling.top_p, sampling.stop, sampling.logprobs) == (0.8, 0.9, ["END"], 0)


def test_prompts(fake: Any) -> None:
    engine = opened(fake.folder, enable_thinking=True)
    list(engine.generate([request("a", (1,), prefix="x"), request("b", (1,), prefix="y", chat=False)], PARAMS))
    chat, plain = (ids for ids, _ in fake.core.asked.values())
    assert chat == [ord(c) for c in "<a>Tx"]
    assert plain == [1, *(ord(c) for c in "by")]


def test_no_more_requests_wait_than_the_window_holds(fake: Any) -> None:
    got = list(opened(fake.folder).generate([request(f"p{i}", tuple(range(10, 20))) for i in range(9)], PARAMS))
    assert len({(c.problem_id, c.sample_index) for c in got}) == len(got) == 90
    assert fake.core.most_waiting == 8


def test_room_in_the_context(fake: Any) -> None:
    requests = [request("x" * 14, (1,)), request("x" * 17, (1,)), request("x" * 18, (1, 2)), request("x" * 30, (1,))]
    got = {(c.problem_id, c.sample_index): c for c in opened(fake.folder).generate(requests, PARAMS)}
    assert [sampling.max_tokens for _, sampling in fake.core.asked.values()] == [4, 1]
    assert [c.finish_reason for c in got.values()].count("error") == 3
    assert "20 tokens" in str(got["x" * 18, 1].error)
    assert "32 tokens" in str(got["x" * 30, 0].error)


def test_one_bad_request_is_one_error(fake: Any) -> None:
    got = {c.problem_id: c for c in opened(fake.folder).generate(
        [request("a", (1,)), request("b!", (1,)), request("c", (8,)), request("d", (1,))], PARAMS
    )}  # fmt: skip
    assert {name: c.finish_reason for name, c in got.items()} == {"a": "stop", "b!": "error", "c": "error", "d": "stop"}
    assert got["b!"].error == "no exclamation marks"
    assert "abort" in str(got["c"].error)
    assert (got["c"].text, got["c"].token_ids, got["c"].n_tokens) == ("", None, 0)


def test_early_close_aborts_what_runs(fake: Any) -> None:
    completions = opened(fake.folder).generate([request("a", tuple(range(10, 30)))], PARAMS)
    next(completions)
    completions.close()  # type: ignore[attr-defined]
    assert len(fake.core.aborted) == 7
    assert set(fake.core.waiting) <= set(fake.core.aborted)


def test_generate_again_uses_new_request_numbers(fake: Any) -> None:
    engine = opened(fake.folder)
    for _ in range(2):
        assert len(list(engine.generate([request("a")], PARAMS))) == 2
    engine.close()
    assert fake.core.down


def test_bad_sampling_parameters(fake: Any) -> None:
    with pytest.raises(UserError, match=r"top_p must be in"):
        list(opened(fake.folder).generate([request("a")], SamplingParams(temperature=1, top_p=2, max_tokens=1)))


def test_no_chat_template(fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTokenizer, "chat_template", None)
    with pytest.raises(UserError, match="--prompt plain"):
        list(opened(fake.folder).generate([request("a")], PARAMS))
    template = tmp_path / "own.jinja"
    template.write_text("{{ x }}")
    assert len(list(opened(fake.folder, chat_template=template).generate([request("a")], PARAMS))) == 2


def test_options_go_to_vllm_over_the_defaults(fake: Any) -> None:
    opened(fake.folder, dtype="float16", engine_options={"tensor_parallel_size": 2, "block_size": 64})
    loaded = fake.loaded
    assert (loaded["tensor_parallel_size"], loaded["block_size"], loaded["dtype"]) == (2, 64, "float16")
    assert (loaded["enforce_eager"], loaded["enable_chunked_prefill"], loaded["load_format"]) == (
        True,
        False,
        "safetensors",
    )
    assert loaded["logprobs_mode"] == "raw_logprobs"
    fake.on_cpu = False
    opened(fake.folder)
    assert not {"enforce_eager", "enable_chunked_prefill", "block_size"} & set(fake.loaded)


def test_variables_of_the_user_are_left_alone(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "9")
    opened(fake.folder)
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "9"
    assert os.environ["VLLM_LOGGING_STREAM"] == "ext://sys.stderr"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_nothing_reaches_standard_output(fake: Any, capfd: pytest.CaptureFixture[str]) -> None:
    opened(fake.folder)
    out, err = capfd.readouterr()
    assert (out, "noise" in err) == ("", True)


def test_description(fake: Any) -> None:
    described = opened(fake.folder, engine_options={"seed": 3}).describe()
    assert (described["engine"], described["engine_version"], described["dtype"]) == ("vllm", "0.0", "bfloat16")
    assert (described["name"], described["engine_options"]) == (fake.folder, {"seed": "3"})
    assert len(described["weights_digest"]) == len(described["chat_template_digest"]) == 12
    assert (described["quantization"], described["prefix_caching"], described["speculation"]) == ("fp8", True, None)
    assert (described["tensor_parallel_size"], described["pipeline_parallel_size"]) == (2, 1)


@pytest.mark.parametrize("option", ["trust_remote_code", "logprobs_mode", "model"])
def test_reserved_options(fake: Any, option: str) -> None:
    with pytest.raises(UserError, match=f"engine_options.{option}"):
        opened(fake.folder, engine_options={option: True})


def test_an_unknown_option_is_refused_before_the_model_is_loaded(fake: Any) -> None:
    with pytest.raises(UserError, match=r"engine_options.max_model_lenn: .*no such option; is max_model_len meant\?$"):
        opened(fake.folder, engine_options={"max_model_lenn": 1})
    assert not hasattr(fake, "loaded")


def test_data_parallelism_is_for_replicas_and_servers(fake: Any) -> None:
    with pytest.raises(UserError, match=r"data_parallel_size: .*--replicas N .*-dp N"):
        opened(fake.folder, engine_options={"data_parallel_size": 2})


def test_pipeline_parallelism_is_not_for_the_cpu(fake: Any) -> None:
    with pytest.raises(UserError, match=r"engine_options.pipeline_parallel_size: .*use tensor_parallel_size"):
        opened(fake.folder, engine_options={"pipeline_parallel_size": 2})
    fake.on_cpu = False
    opened(fake.folder, engine_options={"pipeline_parallel_size": 2})
    assert fake.loaded["pipeline_parallel_size"] == 2


def test_a_value_that_vllms_own_models_refuse_is_one_line(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class ParallelConfig(pydantic.BaseModel):
        tensor_parallel_size: int

    monkeypatch.setattr(fake, "LLM", lambda **options: ParallelConfig(tensor_parallel_size=options["seed"]))
    with pytest.raises(UserError, match=r"tensor_parallel_size: Input should be a valid integer, unable to parse"):
        opened(fake.folder, engine_options={"seed": "two"})


def test_a_worker_that_dies_is_one_line(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(**_: Any) -> None:
        raise Exception("WorkerProc initialization failed\nand more")

    monkeypatch.setattr(fake, "LLM", die)
    with pytest.raises(UserError, match=r"WorkerProc initialization failed$"):
        opened(fake.folder)


def test_speculation_on_the_cpu_is_for_greedy_decoding(fake: Any) -> None:
    fake.core.vllm_config.speculative_config = types.SimpleNamespace(method="ngram")
    engine = opened(fake.folder, engine_options={"speculative_config": {"method": "ngram"}})
    with pytest.raises(UserError, match=r"engine_options.speculative_config: .*temperature 0"):
        list(engine.generate([request("a")], PARAMS))
    greedy = SamplingParams(temperature=0, top_p=1.0, max_tokens=10)
    assert len(list(engine.generate([request("a")], greedy))) == 2
    assert engine.describe()["speculation"] == "ngram"
    fake.on_cpu, fake.core.asked = False, {}
    assert len(list(opened(fake.folder).generate([request("a")], PARAMS))) == 2


ADAPTER = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "BASE", "bias": "none"}
NOT_FOR_VLLM: dict[str, dict[str, Any]] = {
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "use_dora": {"use_dora": True},
    "init_lora_weights=pissa": {"init_lora_weights": "pissa"},
    "bias": {"bias": "all"},
    "of the type IA3": {"peft_type": "IA3"},
    "rank is 1024": {"rank_pattern": {"q_proj": 1024}},
    "change lm_head": {"module": "lm_head"},
    "itself made of adapters": {"base_model_name_or_path": "ADAPTER"},
}


def _save_adapter(folder: Path, module: str) -> None:
    save_file({f"base_model.model.{module}.lora_A.weight": np.zeros(1)}, folder / "adapter_model.safetensors")


@pytest.fixture
def adapter(fake: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    _save_adapter(folder, "q_proj")
    (folder / "adapter_config.json").write_text(json.dumps({**ADAPTER, "base_model_name_or_path": fake.folder}))
    return folder


@pytest.mark.parametrize(("said", "changes"), NOT_FOR_VLLM.items())
def test_adapters_that_vllm_cannot_serve(
    fake: Any, adapter: Path, monkeypatch: pytest.MonkeyPatch, said: str, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(subject, "usable", lambda: True)
    refused = adapter.parent / "refused"
    refused.mkdir()
    _save_adapter(refused, changes.get("module", "q_proj"))
    config = {**ADAPTER, "base_model_name_or_path": fake.folder, **changes}
    config.pop("module", None)
    if config["base_model_name_or_path"] == "ADAPTER":
        config["base_model_name_or_path"] = str(adapter)
    (refused / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"{said}.*: use --engine transformers$"):
        opened(str(refused))
    assert engine_name(EngineSpec(model=str(refused))) == "transformers"


def test_auto_serves_adapters_with_vllm_but_those_of_the_micro_model(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "usable", lambda: True)
    assert engine_name(EngineSpec(model=str(adapter))) == "vllm"
    (adapter / "adapter_config.json").write_text(json.dumps({**ADAPTER, "base_model_name_or_path": "micro"}))
    assert engine_name(EngineSpec(model=str(adapter))) == "transformers"


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (4, 8), (8, 8), (65, 128), (512, 512)])
def test_room_for_the_rank(adapter: Path, rank: int, room: int) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "rank_pattern": {"q_proj": rank}, "r": 1}))
    options = adapter_options(find_model(str(adapter)))
    modules = ["q_proj"]
    assert options == {"enable_lora": True, "max_loras": 1, "max_lora_rank": room, "lora_target_modules": modules}


def test_a_damaged_configuration_of_adapters(adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "r": "many"}))
    with pytest.raises(UserError, match=r"adapter_config.json is damaged"):
        opened(str(adapter))


def test_what_vllm_refuses_is_one_line(fake: Any) -> None:
    with pytest.raises(UserError, match=r"max_model_len is too large$"):
        opened(fake.folder, engine_options={"max_model_len": 1})


def test_gguf_is_for_transformers(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="--engine transformers"):
        opened(str(tmp_path / "m.gguf"))


def test_vllm_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"pip install .*\[vllm\]"):
        opened(str(tmp_path))


@pytest.mark.parametrize(
    ("installed", "version", "device", "usable"),
    [
        (False, "0.32.0+cpu", True, False),
        (True, "0.32.0+cpu", False, True),
        (True, "0.32.0", False, False),
        (True, "0.32.0", True, True),
    ],
)
def test_usable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool, version: str, device: bool, usable: bool
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    monkeypatch.setattr(subject, "_ACCELERATORS", (str(tmp_path if device else tmp_path / "none"),))
    assert subject.usable() is usable


@pytest.mark.parametrize(
    ("config", "asked", "expected"),
    [
        ({"dtype": "bfloat16"}, "auto", "float32"),
        ({"dtype": "float32"}, "auto", "float32"),
        ({"dtype": "bfloat16"}, "bfloat16", "bfloat16"),
        ({"dtype": "bfloat16", "quantization_config": {"quant_method": "fp8"}}, "auto", "auto"),
        ({"model_type": "only-vllm-knows"}, "auto", "auto"),
    ],
)
def test_half_precision_on_a_processor_without_it(
    config: dict[str, Any], asked: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    assert cpu_dtype(ModelFiles(path=str(tmp_path)), asked) == expected
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    if config == {"dtype": "bfloat16"}:
        assert cpu_dtype(ModelFiles(path=str(tmp_path)), asked) == "bfloat16"
