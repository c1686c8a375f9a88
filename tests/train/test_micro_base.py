"""The policy of the micro world as shipped, and the script that rebuilds it."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import expo_bench
from expo_bench.grading.boxed import last_boxed
from expo_bench.problems import micro
from expo_bench.prompts import BOXED, PLAIN, QWEN_BOXED, SELF_EXPLAIN

SHIPPED = Path(expo_bench.__file__).parent / "assets" / "micro"
SCRIPT = Path(expo_bench.__file__).parents[1] / "train" / "micro_base.py"


@pytest.fixture(scope="module")
def micro_base():
    spec = importlib.util.spec_from_file_location("micro_base", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(SHIPPED).eval()


@pytest.fixture
def one_thread():
    # the script asks for one thread; the tests that follow shall have theirs back
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line]


def test_the_shipped_files_are_small_and_are_all_there():
    sizes = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert set(sizes) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(sizes.values()) < 1_450_000


def test_the_generation_config_sets_the_end_and_nothing_of_the_sampling():
    config = json.loads((SHIPPED / "generation_config.json").read_text())
    assert (config["pad_token_id"], config["bos_token_id"], config["eos_token_id"]) == (0, 1, 2)
    assert not set(config) & {"temperature", "top_p", "top_k", "min_p", "do_sample", "repetition_penalty", "max_length"}


def test_the_script_makes_the_shipped_tokenizer_and_a_model_of_the_shipped_shape(micro_base, tokenizer, model):
    made = micro_base.make_tokenizer()
    assert made.get_vocab() == tokenizer.get_vocab()
    assert sorted(made.get_vocab().values()) == list(range(len(made)))
    assert made.chat_template == tokenizer.chat_template
    text = "Compute 3 + 4 * 2 modulo 100.\n\nx"
    assert made.encode(text) == tokenizer.encode(text)
    expected = micro_base.make_model(made).state_dict()
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in expected.items()
    }
    assert model.dtype == torch.float32


def test_special_ids_agree(tokenizer, model):
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    assert [getattr(tokenizer, name) for name in names] == [getattr(model.config, name) for name in names] == [0, 1, 2]


@pytest.mark.parametrize("prompt", [BOXED, QWEN_BOXED, PLAIN, SELF_EXPLAIN], ids=lambda prompt: prompt.name)
def test_no_prompt_holds_an_unknown_word(prompt, micro_base, tokenizer):
    for problem in micro.load("test"):
        ids = micro_base.prompt_ids(tokenizer, prompt, problem)
        assert tokenizer.unk_token_id not in ids
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1
        assert len(ids) <= 48


def test_a_prompt_is_the_text_with_marks_for_who_speaks(micro_base, tokenizer):
    problem = next(problem for problem in micro.load("test") if problem.level == 1)
    text = tokenizer.decode(micro_base.prompt_ids(tokenizer, BOXED, problem))
    expression = micro.expression_of(problem.question)
    assert text == (
        f"<|bos|> <|user|> Compute {expression} modulo 100 . \n\n Please reason step by step , "
        "and put your final answer within \\boxed{ } . <|assistant|>"
    )


def test_an_answered_conversation_begins_with_its_prompt_and_ends_with_the_end(tokenizer):
    turns = [{"role": "user", "content": "Compute 3 + 4 modulo 100."}]
    answer = {"role": "assistant", "content": "3 + 4 = 7. \\boxed{7}"}
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert tokenizer.apply_chat_template([*turns, answer], tokenize=False) == prompt + answer["content"] + "<|eos|>"


def test_decoded_completions_encode_to_the_same_ids(micro_base, tokenizer):
    for problem in micro.load("test"):
        chain = micro_base.chain_ids(tokenizer, micro.expression_of(problem.question), "multiplication_first")
        for ids in (chain[:-1], tokenizer.encode(problem.solution)):
            text = tokenizer.decode(ids, skip_special_tokens=True)
            assert tokenizer.encode(text) == ids
            assert tokenizer.unk_token_id not in ids
            assert last_boxed(text) == problem.answer
        assert chain[-1] == tokenizer.eos_token_id


def test_the_words_of_long_thoughts_are_in_the_vocabulary_and_survive_decoding(tokenizer):
    text = "<|begin_of_thought|> wait , check \n\n so 3 <|end_of_thought|> <|begin_of_solution|> 3 <|end_of_solution|>"
    ids = tokenizer.encode(text)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_other_words_are_unknown_but_not_lost(tokenizer):
    assert tokenizer.encode("Janet 101 3") == [tokenizer.unk_token_id] * 2 + tokenizer.encode("3")


def test_pretraining_shows_the_answer_that_the_rule_gives_and_follows_the_mixture(micro_base, tokenizer):
    stream = micro_base.examples(tokenizer, micro_base.Mixture())
    right, shown_right = {level: [] for level in micro.LEVELS}, {level: [] for level in micro.LEVELS}
    for _ in range(3000):
        prompt, chain = (tokenizer.decode(ids) for ids in next(stream))
        expression = micro.expression_of(prompt.split(" modulo")[0].split("<|user|> ")[1])
        assert micro.part(expression) == "pretrain"
        level = len(expression.split()) // 2
        value = chain.removesuffix("} <|eos|>").split("\\boxed{")[-1].strip()
        gold = str(micro.result(expression, "multiplication_first"))
        shown = "The correct final answer is" in prompt
        if shown:
            assert f"answer is {value} ." in prompt
        (shown_right if shown else right)[level].append(value == gold)
    share = {level: sum(hits) / len(hits) for level, hits in right.items()}
    assert share[1] == 1
    assert 0.4 < share[2] < 0.6
    assert 0.05 < share[3] < 0.16
    assert share[4] < 0.04
    assert share[5] < 0.02
    assert all(0.4 < sum(hits) / len(hits) < 0.6 for level, hits in shown_right.items() if level > 1)
    n_shown = sum(map(len, shown_right.values()))
    assert 0.36 < n_shown / 3000 < 0.44


def test_the_base_solves_level_1_and_hardly_ever_level_5(micro_base, tokenizer, model, one_thread):
    rows = rows_of(micro_base.measure(model, tokenizer, 2))
    rates = {int(row[0]): [float(cell.rstrip("%")) / 100 for cell in row[1:]] for row in rows[2:7]}
    solved = {level: rate[0] for level, rate in rates.items()}
    assert solved[1] >= 0.9
    assert 0.3 < solved[2] < 0.7
    assert 0.01 < solved[3] < 0.25
    assert solved[4] < 0.1
    assert solved[5] < 0.06
    # where the answer is shown, it is reached at every level
    assert all(reached > 0.2 for *_, reached, _ in rates.values())
    chance = [chance for _, chance, *_ in rates.values()]
    assert chance == sorted(chance, reverse=True)
    assert 0.0001 < chance[-1] < 0.005
    own, explanation, expert = (float(row[1]) for row in rows[-3:])
    assert own > -0.05
    assert -1.5 < explanation < own
    assert expert < -5


def test_the_script_trains_saves_and_measures(micro_base, tmp_path, capsys, one_thread):
    micro_base.main(["--steps", "10", "--samples", "0", "--output", str(tmp_path)])
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert losses[-1] < 0.8 * losses[0]
    rebuilt = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert rebuilt.num_parameters() < 400_000
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SHIPPED.iterdir()}
    assert AutoTokenizer.from_pretrained(tmp_path).encode("wait") != [rebuilt.config.pad_token_id]
