"""A GGUF file's own wish for a beginning-of-sequence token, and its chat template, on a model of one layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Request, SamplingParams
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.prompts import Message

gguf = pytest.importorskip("gguf")

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the")]
TOKENS = [*BYTES, *("".join(pair) for pair in MERGES), "<bos>", "<eos>"]
BOS, EOS = len(TOKENS) - 2, len(TOKENS) - 1
TEMPLATE = "{{ bos_token }}{% for one in messages %}{{ one['role'] }}: {{ one['content'] }}\n{% endfor %}"
WIDTH = 32
TEXTS = ["the sum", " the the", "12 + 30 = ", "thé", ""]


def written(path: Path, wish: bool | None) -> Path:
    """Write a llama of one layer; `wish` is what the file says of the token, None: nothing."""
    file = gguf.GGUFWriter(str(path), "llama")
    file.add_context_length(64)
    file.add_embedding_length(WIDTH)
    file.add_block_count(1)
    file.add_feed_forward_length(WIDTH)
    file.add_head_count(2)
    file.add_head_count_kv(2)
    file.add_rope_dimension_count(WIDTH // 2)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(len(TOKENS))
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_list(TOKENS)
    file.add_token_types([gguf.TokenType.NORMAL] * BOS + [gguf.TokenType.CONTROL] * 2)
    file.add_token_merges([" ".join(pair) for pair in MERGES])
    file.add_bos_token_id(BOS)
    file.add_eos_token_id(EOS)
    file.add_chat_template(TEMPLATE)
    if wish is not None:
        file.add_add_bos_token(wish)
    random = np.random.default_rng(0)
    squares = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (len(TOKENS), WIDTH), "output": (len(TOKENS), WIDTH)}
    shapes |= {f"blk.0.{name}": (WIDTH, WIDTH) for name in squares}
    for name, shape in shapes.items():
        file.add_tensor(f"{name}.weight", random.normal(0, 0.3, shape).astype(np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        file.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


def reference(folder: Path, *, adds_bos: bool) -> PreTrainedTokenizerFast:
    """Return the same tokenizer, written as a folder of safetensors has it."""
    made = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(TOKENS)}, merges=MERGES))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if adds_bos:
        made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<bos>", eos_token="<eos>").save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("wish", [True, False, None])
def test_the_tokens_of_a_text_are_those_of_safetensors(tmp_path: Path, wish: bool | None) -> None:
    path = written(tmp_path / "tiny.gguf", wish)
    tokenizer = load_tokenizer(find_model(str(path)))
    expected = reference(tmp_path / "folder", adds_bos=wish is True)
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == expected(text)["input_ids"], text
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert plain == expected(text, add_special_tokens=False)["input_ids"], text
    assert tokenizer.chat_template == TEMPLATE
    # written as a folder, it wishes the same
    tokenizer.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert [again(text)["input_ids"] for text in TEXTS] == [expected(text)["input_ids"] for text in TEXTS]
    assert again.chat_template == TEMPLATE


def test_completions_are_those_of_generate(tmp_path: Path) -> None:
    path = written(tmp_path / "tiny.gguf", wish=True)
    engine = TransformersEngine(EngineSpec(model=str(path), dtype="float32"))
    messages = (Message(role="user", content="the sum"),)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    expected = reference(tmp_path / "folder", adds_bos=True)
    expected.chat_template = TEMPLATE
    for chat in (False, True):
        request = Request(problem_id="a", messages=messages, chat=chat, sample_indexes=(0,), seeds=(0,))
        [done] = engine.generate([request], SamplingParams(temperature=0.0, top_p=1.0, max_tokens=8))
        if chat:
            text = expected.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
            ids = expected(text, add_special_tokens=False)["input_ids"]
        else:
            ids = expected("the sum")["input_ids"]
        assert ids[0] == BOS and BOS not in ids[1:]
        found = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False, pad_token_id=EOS)
        assert list(done.token_ids) == found[0, len(ids) :].tolist()
    engine.close()
