"""What a recipe will cost, before anything is loaded: completions and tokens of a step, and memory by a formula."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from expo_bench.engines.loading import base_of, find_model
from expo_bench.trainers.recipe import Recipe

PROMPT_TOKENS = 256
"""Taken for the length of a prompt: the estimate reads no problems."""
_TILE = (4096, 32768)
"""TRL projects through the language-model head in tiles of so many tokens and entries of the vocabulary."""
_DIVIDED = ("weights", "copies in bfloat16", "gradients", "AdamW")
_BUCKETS = "buckets of DDP"
_STATES = (*_DIVIDED, _BUCKETS)
_CACHE, _ALL, _KNOWN = "cache of the sampler", "in all", "known of all"
_SLOT_BATCH = 512
"""Rollouts that the sampler of slots draws at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a run draws, at most: a rollout may end before `max_tokens`, a problem may come twice in a round."""

    processes: int
    sequences_per_pass: int
    """Of a forward pass on one device; chains of the auxiliary term are rows beside them."""
    passes_per_step: int
    period: Literal["step", "batch", "round"]
    """In which something is drawn: a step, a batch of rollouts that serves several, or a round."""
    periods: int
    """Those in which something is drawn."""
    own: int
    """The policy's own rollouts in a period."""
    explanations: int
    """Other completions in a period: self-explanations, hints, hinted rollouts; star's are of problems it fails."""
    tokens: int
    """Generated in a period."""
    steps: int
    checkpoints: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """Of the policy; None where it is not known."""

    parameters: int | None
    trainable: int | None
    layers: int | None = None
    hidden: int | None = None
    vocabulary: int | None = None
    kv_width: int | None = None
    """Entries of a key of one token in one layer: key-value heads times their width."""
    known_from: str


def most_drawn(recipe: Recipe) -> tuple[int, int, int]:
    """Return in how many periods a run draws, and the own rollouts and self-explanations of each, at most."""
    if recipe.is_online:
        drawn = recipe.of_method.drawn_at_most(recipe.settings, recipe.num_generations)
        problems = recipe.prompts_per_step * recipe.minibatches
        others = sum(number for source, number in drawn.items() if source != "own")
        return recipe.steps // recipe.updates_per_batch, problems * drawn.get("own", 0), problems * others
    return recipe.of_rounds.draws_at_most(recipe)


def work(recipe: Recipe, trl: Mapping[str, Any], n_processes: int) -> Work:
    """Return what a run of this many processes draws.

    Args:
        recipe: the run.
        trl: its arguments of TRL, for that many processes.
        n_processes: one a device.
    """
    periods, own, explanations = most_drawn(recipe)
    return Work(
        processes=n_processes,
        sequences_per_pass=trl["per_device_train_batch_size"] * (2 if recipe.prefers(recipe.rounds - 1) else 1),
        passes_per_step=trl["gradient_accumulation_steps"],
        period=_period(recipe),
        periods=periods,
        own=own,
        explanations=explanations,
        tokens=(own + explanations) * recipe.max_tokens,
        steps=recipe.steps,
        checkpoints=checkpoint_steps(recipe),
    )


def _period(recipe: Recipe) -> Literal["step", "batch", "round"]:
    if not recipe.is_online:
        return "round"
    return "batch" if recipe.updates_per_batch > 1 else "step"


def checkpoint_steps(recipe: Recipe) -> list[int]:
    """Return the steps after which there is a checkpoint."""
    every = recipe.checkpoint_every
    return sorted({*range(every, recipe.steps + 1, every), recipe.steps})


def checkpoint_bytes(recipe: Recipe, size: ModelSize, *, on_gpu: bool) -> int | None:
    """Return the bytes of a checkpoint on disk: the trained weights and AdamW's two moments of each; None if unknown.

    All weights, or those of the adapters. The tokenizer and the trainer's state, some MB, come on top.
    """
    trained = 4 if recipe.lora else _weight_bytes(recipe, on_gpu)
    return size.trainable and 3 * trained * size.trainable


def model_size(recipe: Recipe) -> ModelSize:
    """Return the policy's size: from its configuration where that is on this machine, else from a name like "1.5B".

    Raises:
        UserError: the name looks like a path and nothing is there.
    """
    files = find_model(recipe.model, recipe.revision)
    while (base := base_of(files)) is not None:
        files = base
    model = None if files.gguf_file else _empty_model(files.path, files.revision)
    if model is not None:
        return _measured(model, recipe)
    found = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)([BM])(?![a-z0-9])", files.path.replace("_", "-"), re.IGNORECASE)
    if not found:
        return ModelSize(
            parameters=None, trainable=None, known_from="unknown: no configuration here, no size in the name"
        )
    parameters = int(float(found[1]) * (1e9 if found[2] in "Bb" else 1e6))
    # all linear layers of models of 0.5B to 8B: 0.03% to 0.1% of the parameters for each rank
    trainable = parameters if recipe.lora is None else int(parameters * 0.001 * recipe.lora.r)
    return ModelSize(parameters=parameters, trainable=trainable, known_from="its name: no configuration here")


def _empty_model(path: str, revision: str | None) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(path, revision=revision, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, ImportError):
        return None


def _measured(model: Any, recipe: Recipe) -> ModelSize:
    config = model.config.get_text_config()
    parameters = model.num_parameters()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return ModelSize(
        parameters=parameters,
        trainable=parameters if recipe.lora is None else _adapter_parameters(model, recipe),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        kv_width=heads * width,
        known_from="its configuration",
    )


def _adapter_parameters(model: Any, recipe: Recipe) -> int:
    """Return the entries of the low-rank factors: r * (inputs + outputs) of each adapted linear layer."""
    import torch

    assert recipe.lora is not None
    chosen = recipe.lora.target_modules
    linear = {name: one for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}
    if chosen == "all-linear":
        head = model.get_output_embeddings()
        adapted = [one for one in linear.values() if one is not head]
    else:
        adapted = [one for name, one in linear.items() if name.split(".")[-1] in chosen]
    return sum(recipe.lora.r * (one.in_features + one.out_features) for one in adapted)


def memory(recipe: Recipe, size: ModelSize, done: Work, *, on_gpu: bool) -> dict[str, int | None]:
    """Return bytes on one device by purpose, with a whole copy of the policy on each; None where it is not known.

    With P parameters, T of them trained; b bytes a weight (4; 2 for `dtype` bfloat16 and for those under adapters on a
    GPU), b' bytes a trained weight (b; 4 for adapters); N tokens of a forward pass (its rows, chains of the auxiliary
    term among them, times 256 for the prompt plus `max_tokens`); L layers of width h; e = 2 bytes an activation on a
    GPU, else 4:

    - weights P b, once more for a reference (`trl.beta`, all weights trained) and for a copy that explains
      (`expo.policy`); copies in bfloat16, 2 P, where a GPU computes with float32 weights in bfloat16;
    - gradients T b', AdamW 2 T b', and of several processes the buckets in which DDP sends gradients, T b';
    - activations N h (e L + 17 e) with gradient checkpointing (a GPU), else 17 e N h L: 34 bytes a token, layer and
      entry in 16 bits (Korthikanti et al., arXiv 2205.05198, equation 1, without attention scores);
    - logits: a tile of TRL's of 4096 tokens by 32768 entries in e bytes, on a CPU four such;
    - cache of the slots' sampler: 2 L K b (256 + `max_tokens`) for each of up to 512 rollouts, K entries a key. vLLM's
      is not here: it takes `trl.vllm_gpu_memory_utilization` of the device for weights and cache.

    Training and sampling take turns, so the whole counts the larger of cache and activations with logits. Buffers,
    fragments and the framework, 1 to 2 GB on a GPU, come on top.
    """
    return _with_sum({**_states(recipe, size, done, on_gpu), **_passing(recipe, size, done, on_gpu)})


def sharded(parts: Mapping[str, int | None], n_processes: int) -> dict[str, int | None]:
    """Return what `memory` did where the policy's states are divided among the processes (ZeRO-3, FSDP)."""
    kept = {name: size for name, size in parts.items() if name not in (_ALL, _KNOWN)}
    divided = {name: size and size // n_processes for name, size in kept.items() if name in _DIVIDED}
    return _with_sum({**kept, **divided, _BUCKETS: 0})


def _with_sum(parts: dict[str, int | None]) -> dict[str, int | None]:
    passing = (parts["activations"] or 0) + (parts["logits"] or 0)
    whole = sum(parts[name] or 0 for name in _STATES) + max(passing, parts[_CACHE] or 0)
    return {**parts, _KNOWN if None in parts.values() else _ALL: whole}


def _states(recipe: Recipe, size: ModelSize, done: Work, on_gpu: bool) -> dict[str, int | None]:
    b = _weight_bytes(recipe, on_gpu)
    # adapters are float32 whatever lies under them
    trained = 4 if recipe.lora else b
    extra = (bool(recipe.trl.get("beta")) and recipe.lora is None) + _has_writer(recipe)
    n, t = size.parameters, size.trainable
    return {
        "weights": n and n * b * (1 + extra),
        "copies in bfloat16": n and (2 * n if on_gpu and b == 4 else 0),
        "gradients": t and t * trained,
        "AdamW": t and 2 * t * trained,
        _BUCKETS: t and (t * trained if done.processes > 1 else 0),
    }


def _has_writer(recipe: Recipe) -> bool:
    """Tell whether there is a copy of the policy that writes for the method."""
    if not recipe.is_online:
        return False
    drawn = recipe.of_method.drawn_at_most(recipe.settings, recipe.num_generations)
    return len(drawn) > 1 and recipe.of_method.writer(recipe.settings)[0] != "step"


def _weight_bytes(recipe: Recipe, on_gpu: bool) -> int:
    """Return the bytes of a weight as `models.load_policy` chooses its type."""
    return 2 if recipe.dtype == "bfloat16" or (recipe.dtype == "auto" and recipe.lora and on_gpu) else 4


def _passing(recipe: Recipe, size: ModelSize, done: Work, on_gpu: bool) -> dict[str, int | None]:
    if size.layers is None or size.hidden is None or size.vocabulary is None or size.kv_width is None:
        return {"activations": None, "logits": None, _CACHE: 0 if recipe.sampler == "vllm" else None}
    rows, e = done.sequences_per_pass, 2 if on_gpu else 4
    groups = recipe.prompts_per_step // done.processes
    beside = min(rows, groups * recipe.of_method.beside_at_most(recipe.settings)) if recipe.is_online else 0
    length = PROMPT_TOKENS + recipe.max_tokens
    tokens = (rows + beside) * length
    kept = e * size.layers + 17 * e if on_gpu else 17 * e * size.layers
    tile = min(tokens, _TILE[0]) * min(size.vocabulary, _TILE[1])
    at_once = min(_SLOT_BATCH, (done.own + done.explanations) // done.processes) if recipe.sampler == "slots" else 0
    cache = 2 * size.layers * size.kv_width * _weight_bytes(recipe, on_gpu) * length * at_once
    return {
        "activations": tokens * size.hidden * kept,
        # on a CPU the tile, its float32 copy, and what the softmax makes of it
        "logits": tile * (e if on_gpu else 4 * e),
        _CACHE: cache,
    }
