r"""Rebuild the base policy of the micro world: `python train/micro_base.py` writes expo_bench/assets/micro.

A small Llama learns, from scratch, chains like `3 + 4 * 2 = 3 + 8 = 11. \boxed{11}`. They follow the right rule,
multiplication first, or the wrong one, left to right: after the solve prompt as `Mixture.right_rule` says, and where
the prompt shows an answer either with even chance, the answer being what the rule gives. See docs/micro-world.md.
"""

import argparse
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import expo_bench
from expo_bench.problems import micro
from expo_bench.prompts import BOXED, SELF_EXPLAIN, Prompt
from expo_bench.rows import Problem

Pair = tuple[list[int], list[int]]  # the token ids of a prompt and of its completion


@dataclass(frozen=True)
class Mixture:
    """What the examples are made of; the defaults are those of the policy that is shipped."""

    right_rule: Mapping[int, float] = field(default_factory=lambda: {1: 1.0, 2: 0.5, 3: 0.1, 4: 0.01, 5: 0.001})
    """Level -> share of the chains after the solve prompt that follow the right rule."""
    shown_answers: float = 0.4
    """Share of examples whose prompt shows the answer."""
    seed: int = 0
    """Of the examples and of the first weights."""


BATCH, CONTEXT, LEARNING_RATE, SEED = 96, 256, 3e-3, 0

SPECIAL = "<|pad|> <|bos|> <|eos|> <|unk|> <|system|> <|user|> <|assistant|>"
MARKS = r"+ * = ( ) . , ; : ? ! - \boxed{ }"
WORDS = (
    # of the prompts
    "Compute modulo Please reason explain step by and put your the The final answer within correct is how to reach it "
    "Modulo times plus gives therefore "  # of the expert chains
    # not used yet: with them longer thoughts can be taught later without another vocabulary
    "Problem Solution with wait Wait check Check no No so So but But let Let me again instead first then right wrong "
    "verify hmm Alternatively <|begin_of_thought|> <|end_of_thought|> <|begin_of_solution|> <|end_of_solution|>"
)
TOKEN = r"\n\n|\\boxed\{|<\|[a-z_]+\|>|\d+|[A-Za-z]+|[^\s]"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: a token is a word, a number, a mark or a blank line; other white space is dropped."""
    vocabulary = [*SPECIAL.split(), *map(str, range(101)), *MARKS.split(), "\n\n", *WORDS.split()]
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate(vocabulary)}, unk_token="<|unk|>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN), "removed", invert=True)
    names = {f"{name}_token": f"<|{name}|>" for name in ("pad", "bos", "eos", "unk")}
    names |= {"extra_special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"], "chat_template": CHAT_TEMPLATE}
    return PreTrainedTokenizerFast(tokenizer_object=backend, padding_side="left", model_max_length=CONTEXT, **names)


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the untrained model."""
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    # heads of 32 are the smallest that vLLM knows
    shape = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 3}
    room = {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT}
    return LlamaForCausalLM(LlamaConfig(**shape, **room, **ids, tie_word_embeddings=True))


def chain_ids(tokenizer: PreTrainedTokenizerFast, expression: str, rule: micro.Rule) -> list[int]:
    """Return a chain in the policy's own notation: the expression, then what each operation leaves of it."""
    states = [expression, *(step.rest for step in micro.calculate(expression, rule))]
    return tokenizer.encode(f"{' = '.join(states)}. \\boxed{{{states[-1]}}}<|eos|>")


def prompt_ids(tokenizer: PreTrainedTokenizerFast, prompt: Prompt, problem: Problem) -> list[int]:
    """Return the token ids of the prompt as every model gets it."""
    text = tokenizer.apply_chat_template(list(prompt.messages(problem)), tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text)


def examples(tokenizer: PreTrainedTokenizerFast, mixture: Mixture) -> Iterator[Pair]:
    """Yield the token ids of a prompt and of its completion, without end."""
    rng = random.Random(mixture.seed)
    expressions = {level: micro.draw(level, "pretrain", rng) for level in micro.LEVELS}
    while True:
        level = rng.choice(micro.LEVELS)
        expression = next(expressions[level])
        shown = rng.random() < mixture.shown_answers
        right = rng.random() < (0.5 if shown else mixture.right_rule[level])
        rule: micro.Rule = "multiplication_first" if right else "left_to_right"
        question, answer = micro.ask(expression), str(micro.result(expression, rule))
        problem = Problem(problem_id="", benchmark="micro", split="", question=question, answer=answer)
        yield prompt_ids(tokenizer, SELF_EXPLAIN if shown else BOXED, problem), chain_ids(tokenizer, expression, rule)


def token_logprobs(model: LlamaForCausalLM, pairs: list[Pair]) -> torch.Tensor:
    """Return log pi of the completions' tokens, those of all pairs in one row; padding comes after them."""
    ids = [torch.tensor(prompt + completion) for prompt, completion in pairs]
    counts = [torch.tensor([False] * len(prompt) + [True] * len(completion)) for prompt, completion in pairs]
    ids_BT, counts_BT = pad_sequence(ids, batch_first=True), pad_sequence(counts, batch_first=True)
    logits_BTV = model(ids_BT[:, :-1]).logits
    return -cross_entropy(logits_BTV[counts_BT[:, 1:]], ids_BT[:, 1:][counts_BT[:, 1:]], reduction="none")


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int, mixture: Mixture) -> None:
    """Train on `steps` batches, each in quarters of like length to pad less; only the completions count."""
    stream = examples(tokenizer, mixture)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    for step in range(steps):
        # warm up in a tenth of the steps, then fall to zero along a cosine
        rise, fall = 10 * (step + 1) / steps, 0.5 + 0.5 * math.cos(math.pi * step / steps)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(rise, fall)
        batch = sorted(islice(stream, BATCH), key=lambda pair: len(pair[0]) + len(pair[1]))
        n_tokens = sum(len(completion) for _, completion in batch)
        total = 0.0
        for start in range(0, BATCH, BATCH // 4):
            loss = -token_logprobs(model, batch[start : start + BATCH // 4]).sum() / n_tokens
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {total:.4f}", flush=True)


@torch.no_grad()
def sample(model: LlamaForCausalLM, prompts: list[list[int]]) -> list[list[int]]:
    """Return a completion of each prompt at temperature 1; the prompts are of one length."""
    ids_BT = torch.tensor(prompts)
    out_BT = model.generate(ids_BT, do_sample=True, top_k=0, max_new_tokens=80)[:, ids_BT.shape[1] :]
    return [[token for token in row if token != model.config.pad_token_id] for row in out_BT.tolist()]


@torch.no_grad()
def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int) -> str:
    """Return the tables of docs/micro-world.md: n samples of each test problem after either prompt."""
    torch.manual_seed(SEED)
    lines = ["| level | pass@1 | p(right chain) | answer shown: reached | by the right chain |", "|" + 5 * "---|"]
    for level in micro.LEVELS:
        problems = [problem for problem in micro.load("test") if problem.level == level for _ in range(n)]
        golds = [chain_ids(tokenizer, micro.expression_of(p.question), "multiplication_first") for p in problems]
        prompts, shown = ([prompt_ids(tokenizer, kind, p) for p in problems] for kind in (BOXED, SELF_EXPLAIN))
        own, explained = sample(model, prompts), sample(model, shown)
        # the box and the end are four tokens
        solved = [chain[-4:] == gold[-4:] for chain, gold in zip(own, golds, strict=True)]
        reached = [chain[-4:] == gold[-4:] for chain, gold in zip(explained, golds, strict=True)]
        right = [chain == gold for chain, gold in zip(explained, golds, strict=True)]
        chance = token_logprobs(model, list(zip(prompts, golds, strict=True))).view(len(golds), -1).sum(1).exp()
        rates = [f"{sum(hits) / len(hits):.2%}" for hits in (solved, chance.tolist(), reached, right)]
        lines.append(f"| {level} | {' | '.join(rates)} |")
    candidates = {
        "own, wrong": [pair for *pair, hit in zip(prompts, own, solved, strict=True) if not hit],
        "self-explanation": [pair for *pair, hit in zip(prompts, explained, reached, strict=True) if hit],
        "expert": list(zip(prompts, [tokenizer.encode(p.solution + "<|eos|>") for p in problems], strict=True)),
    }
    lines += ["", f"| level {level}, after the solve prompt | log-probability a token |", "|---|---|"]
    means = {name: token_logprobs(model, pairs).mean() for name, pairs in candidates.items() if pairs}
    return "\n".join([*lines, *(f"| {name} | {mean:.3f} |" for name, mean in means.items())])


def main(arguments: list[str] | None = None) -> None:
    """Train, save, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(expo_bench.__file__).parent / "assets" / "micro")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--samples", type=int, default=32, help="of each test problem and prompt; 0: do not measure")
    parser.add_argument("--right-rule", type=float, nargs=len(micro.LEVELS), metavar="SHARE", help="by level")
    parser.add_argument("--shown-answers", type=float, default=Mixture.shown_answers)
    parser.add_argument("--seed", type=int, default=Mixture.seed)
    args = parser.parse_args(arguments)
    rules = {"right_rule": dict(zip(micro.LEVELS, args.right_rule, strict=True))} if args.right_rule else {}
    mixture = Mixture(**rules, shown_answers=args.shown_answers, seed=args.seed)
    torch.set_num_threads(1)  # so small a model gains little from more, and the sums come out alike
    torch.manual_seed(mixture.seed)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    pretrain(model, tokenizer, args.steps, mixture)
    tokenizer.save_pretrained(args.output)
    model.save_pretrained(args.output)
    print(measure(model.eval(), tokenizer, args.samples) if args.samples else "not measured")


if __name__ == "__main__":
    main()
