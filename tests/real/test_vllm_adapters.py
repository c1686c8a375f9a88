"""Low-rank adapters that vLLM serves as they are, against the same adapters merged by the transformers engine."""

from collections.abc import Iterator

import numpy as np
import pytest

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Continuation, SamplingParams, Scored, Scorer, ScoreRequest
from expo_bench.engines.choosing import engine_name
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.engines.vllm.engine import VllmEngine
from tests.real.conftest import QUESTIONS, question

pytestmark = pytest.mark.real

TEXT = "First we write down what is given. Then 1 + 1 = 2, so the answer is \\boxed{2}. The sky scatters blue light."


@pytest.fixture(scope="module")
def adapter(real_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder as peft saves it, of rank 4; its B matrices are random, not zero, so that it changes the model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float32)
    modules = ["q_proj", "v_proj", "down_proj"]
    # two ranks, neither one that vLLM has kernels for
    config = LoraConfig(r=4, lora_alpha=8, target_modules=modules, rank_pattern={"down_proj": 6}, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                weights.normal_(0, 0.1)
    adapted.save_pretrained(folder)
    AutoTokenizer.from_pretrained(real_model).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def engine(adapter: str, vllm_here: None) -> Iterator[VllmEngine]:
    subject = VllmEngine(EngineSpec(model=adapter, dtype="float32", engine_options={"max_model_len": 512}))
    yield subject
    subject.close()


def scores(engine: Scorer) -> dict[str, Scored]:
    requests = [
        ScoreRequest(
            problem_id=text,
            messages=({"role": "user", "content": text},),
            continuations=(Continuation(key="a", token_ids=engine.tokenize(TEXT)),),
        )
        for text in QUESTIONS
    ]
    return {scored.problem_id: scored for scored in engine.score(requests)}


def difference(one: dict[str, Scored], other: dict[str, Scored]) -> float:
    """Return the mean distance of two engines' log-probabilities of the same tokens, in nats."""
    assert {key: scored.token_ids for key, scored in one.items()} == {key: s.token_ids for key, s in other.items()}
    return float(np.mean(np.abs(np.concatenate([one[key].logprobs - other[key].logprobs for key in one]))))


def test_agrees_with_merged_adapters_and_differs_from_the_base(
    real_model: str, adapter: str, engine: VllmEngine
) -> None:
    served, found = scores(engine), {}
    for name, folder in (("merged", adapter), ("base", real_model)):
        other = TransformersEngine(EngineSpec(model=folder, dtype="float32"))
        found[name] = difference(served, scores(other))
        if name == "merged":
            assert engine.describe()["weights_digest"] == other.describe()["weights_digest"]
        else:
            assert engine.describe()["weights_digest"] != other.describe()["weights_digest"]
        other.close()
    print(f"mean |difference| a token: merged {found['merged']:.3g}, base {found['base']:.3g}")
    # as tests/real/test_scoring_agreement.py has it for float32
    assert found["merged"] <= 1e-3
    assert found["base"] > 0.1


def test_samples_come_from_the_adapted_model(engine: VllmEngine) -> None:
    requests = [question(f"p{i}", text, (10 * i + 1, 10 * i + 2)) for i, text in enumerate(QUESTIONS)]
    drawn = list(engine.generate(requests, SamplingParams(temperature=1.0, top_p=1.0, max_tokens=32)))
    assert len(drawn) == 8
    by_key = {(c.problem_id, str(c.sample_index)): c for c in drawn}
    asked = [
        ScoreRequest(
            problem_id=request.problem_id,
            messages=request.messages,
            continuations=tuple(
                Continuation(key=str(index), token_ids=by_key[request.problem_id, str(index)].token_ids or ())
                for index in request.sample_indexes
            ),
        )
        for request in requests
    ]
    for scored in engine.score(asked):
        completion = by_key[scored.problem_id, scored.key]
        assert completion.sum_logprob == pytest.approx(float(scored.logprobs.sum()), abs=1e-3 * completion.n_tokens)


def test_how_they_are_recorded_and_chosen(real_model: str, adapter: str, engine: VllmEngine) -> None:
    described = engine.describe()
    assert (described["name"], described["adapter_of"]) == (adapter, real_model)
    assert engine_name(EngineSpec(model=adapter)) == "vllm"
