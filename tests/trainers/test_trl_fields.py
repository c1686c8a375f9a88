"""Each field that the section `trl` may set does what it says; all others are refused."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import logsigmoid, relu
from trl import GRPOConfig, GRPOTrainer

from expo_bench.errors import UserError
from expo_bench.prompts import BOXED
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.arguments import grpo_arguments, make_config
from expo_bench.trainers.data import prompt_rows, save_rows, saved_rows
from expo_bench.trainers.models import load_policy, lora_config
from expo_bench.trainers.rounds.learning import round_arguments, round_trainer
from expo_bench.trainers.training import load_recipe, run_yaml, train
from expo_bench.trainers.trl_fields import TESTED, VALUES
from tests.fakes import Silent, problem

METHODS = {"online": "grpo", "dpo": "dpo_expert", "sft": "sft_expert"}


def recipe(family, trl=None, **settings):
    values = {
        "method": METHODS[family], "model": "micro", "benchmark": "micro", "levels": [2], "limit": 4, "steps": 4,
        "prompts_per_step": 2, "num_generations": 4, "max_tokens": 40, "learning_rate": 1e-3, "trl": trl or {},
        "preference": {"rejected": "any"} if family == "dpo" else {}, **settings,
    }  # fmt: skip
    if not values["preference"]:
        del values["preference"]
    return load_recipe(None, values)


def arguments_of(chosen, family, path):
    folder = TrainingFolder(path)
    return grpo_arguments(chosen, folder, 1) if family == "online" else round_arguments(chosen, 0, folder, 1)


def trainer_of(chosen, family, path):
    """A trainer of TRL with the recipe's arguments, on two rows."""
    if family == "online":
        model, tokenizer = load_policy(chosen)
        return GRPOTrainer(
            model=model, reward_funcs=lambda **given: [0.0] * len(given["completions"]),
            args=make_config(GRPOConfig, arguments_of(chosen, family, path)),
            train_dataset=prompt_rows([problem(0), problem(1)], BOXED), processing_class=tokenizer,
            peft_config=lora_config(chosen),
        )  # fmt: skip
    chains = [{"prompt_ids": [5, 6, 7], "chosen_ids": [8 + at, 9], "rejected_ids": [11, 12, 13 + at]} for at in (0, 1)]
    rows = chains if family == "dpo" else [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}] * 2
    save_rows(rows, path / "rows")
    return round_trainer(chosen, saved_rows(path / "rows"), 0, "micro", TrainingFolder(path))


# what is refused ------------------------------------------------------------------------------------------------------

REFUSED = [
    ("online", {"max_steps": 1}, {}, "trl.max_steps is set by the recipe itself, change steps there"),
    ("online", {"save_only_model": True}, {}, "trl.save_only_model is set by the recipe itself, and may not change"),
    ("sft", {"ignore_data_skip": True}, {}, "trl.ignore_data_skip is set by the recipe itself"),
    ("dpo", {"beta": 0.3}, {}, "trl.beta is set by the recipe itself, change preference.beta there"),
    ("sft", {"max_length": 20}, {}, "change max_tokens there"),
    ("online", {"entropy_coeff": 0.1}, {}, "GRPOConfig has no such field (did you mean entropy_coef?)"),
    ("sft", {"packing": True}, {}, "trl.packing is none of the fields that are tested for SFTConfig"),
    ("sft", {"padding_free": True}, {}, "trl_unchecked sets it all the same"),
    ("online", {"num_iterations": 2}, {}, "trl.num_iterations is set by the recipe itself, change iterations there"),
    ("online", {"chat_template_kwargs": {"enable_thinking": True}}, {}, "is none of the fields"),
    ("online", {"generation_kwargs": {"max_new_tokens": 5}}, {}, "is none of the fields"),
    ("sft", {"epsilon": 0.1}, {}, "SFTConfig has no such field"),
    ("online", {"loss_type": "vespo"}, {}, "trl.loss_type may be grpo, bnpo"),
    ("dpo", {"loss_type": "aot"}, {}, "trl.loss_type may be sigmoid"),
    ("online", {"top_k": 1}, {}, "trl.top_k is not read by sampler slots"),
    ("online", {"vllm_mode": "server"}, {}, "trl.vllm_mode belongs to sampler vllm, not to slots"),
    ("dpo", {"save_total_limit": 1}, {"rounds": 2}, "would delete the checkpoint that a round starts from"),
    ("online", {}, {"trl_unchecked": {"num_train_epochs": 3}}, "trl_unchecked.num_train_epochs is set by the recipe"),
    ("online", {}, {"trl_unchecked": {"beta": 0.1}}, "trl_unchecked.beta is tested: set trl.beta"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "trl", "settings", "message"), REFUSED)
def test_what_would_do_something_else_is_refused(tmp_path, family, trl, settings, message):
    with pytest.raises(UserError) as found:
        arguments_of(recipe(family, trl, **settings), family, tmp_path)
    assert message in str(found.value)


def test_what_nobody_tested_is_set_where_the_recipe_insists(tmp_path):
    found = arguments_of(recipe("sft", trl_unchecked={"packing": True}), "sft", tmp_path)
    assert found["packing"] is True


def test_a_tracker_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    import transformers.integrations.integration_utils as integrations

    monkeypatch.setattr(integrations, "is_wandb_available", lambda: False)
    arguments = arguments_of(recipe("online", {"report_to": "wandb"}), "online", tmp_path)
    with pytest.raises(UserError, match=r"trl.report_to wandb: WandbCallback requires wandb"):
        make_config(GRPOConfig, arguments)


def test_micro_batch_is_part_of_a_run_where_the_objective_is_a_mean_over_a_pass():
    def same(**settings):
        return run_yaml(recipe("online", micro_batch=4, **settings)) == run_yaml(recipe("online", **settings))

    assert same() and same(trl={"loss_type": "dapo"})
    assert not same(trl={"loss_type": "bnpo"}) and not same(trl={"entropy_coef": 0.1})
    assert not same(trl={"top_entropy_quantile": 0.2}) and not same(trl_unchecked={"tf32": False})


# the formulas of GRPO: TRL's loss on log-probabilities made by hand, against the formula -----------------------------

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], dtype=torch.float)
ADVANTAGES = torch.tensor([1.0, -1.0, 0.5, -0.3])
ENTROPIES = torch.arange(20, dtype=torch.float).reshape(4, 5) / 10


def numbers(seed, scale):
    return scale * torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))


OLD, REFERENCE, START = numbers(0, 0.3) - 2, numbers(1, 0.3) - 2, numbers(2, 0.3) - 2


def clipped(low=0.2, high=0.2, most=None):
    def loss(logp, ratio, gain):
        free = ratio if most is None else ratio.clamp(max=most)
        return -torch.min(free * gain, ratio.clamp(1 - low, 1 + high) * gain)

    return loss


def by_row(loss):
    return ((loss * MASK).sum(1) / MASK.sum(1)).mean()


def by_token(loss):
    return (loss * MASK).sum() / MASK.sum()


def kl(logp):
    return (REFERENCE - logp).exp() - (REFERENCE - logp) - 1


def sapo(above, below):
    def loss(logp, ratio, gain):
        heat = torch.where(gain > 0, above, below)
        return -4 / heat * torch.sigmoid(heat * (ratio - 1)) * gain

    return loss


def with_kl(weight, corrected=False):
    return lambda logp, ratio, gain: (
        clipped()(logp, ratio, gain) + weight * kl(logp) * (ratio if corrected else torch.ones(()))
    )


def near(threshold):
    def loss(logp, ratio, gain):
        moved = ((OLD - logp.detach()) * MASK).sum(1, keepdim=True) / MASK.sum(1, keepdim=True)
        return clipped()(logp, ratio, gain) * ((gain >= 0) | (moved <= threshold))

    return loss


def most_uncertain(share):
    bound = torch.quantile(ENTROPIES[MASK.bool()], 1 - share)
    return lambda logp, ratio, gain: clipped()(logp, ratio, gain) * (bound <= ENTROPIES)


def cispo(logp, ratio, gain):
    return -ratio.clamp(max=1.28).detach() * gain * logp


# fields, loss of a token from log-probability, ratio and advantage, how tokens are averaged
FORMULAS = [
    ({}, clipped(), by_row),
    ({"epsilon": 0.05}, clipped(0.05, 0.05), by_row),
    ({"epsilon_high": 0.4}, clipped(0.2, 0.4), by_row),
    ({"delta": 1.1}, clipped(most=1.1), by_row),
    ({"loss_type": "bnpo"}, clipped(), by_token),
    ({"loss_type": "dr_grpo"}, clipped(), lambda loss: (loss * MASK).sum() / (4 * 40)),
    ({"loss_type": "dapo"}, clipped(), by_token),
    ({"loss_type": "cispo", "epsilon_high": 1.28}, cispo, by_token),
    ({"loss_type": "sapo"}, sapo(1.0, 1.05), by_row),
    ({"loss_type": "sapo", "sapo_temperature_pos": 2.0}, sapo(2.0, 1.05), by_row),
    ({"loss_type": "sapo", "sapo_temperature_neg": 3.0}, sapo(1.0, 3.0), by_row),
    ({"loss_type": "luspo"}, clipped(), lambda loss: (loss * MASK).sum(1).mean()),
    ({"beta": 0.3, "use_bias_correction_kl": False}, with_kl(0.3), by_row),
    ({"beta": 0.3, "use_bias_correction_kl": True}, with_kl(0.3, corrected=True), by_row),
    ({"off_policy_mask_threshold": 0.05}, near(0.05), by_row),
    ({"top_entropy_quantile": 0.4}, most_uncertain(0.4), by_row),
    ({"entropy_coef": 0.2}, clipped(), lambda loss: by_row(loss) - 0.2 * by_token(ENTROPIES)),
]  # fmt: skip


def loss_of(trainer, start):
    """TRL's loss on these log-probabilities, and its gradient."""
    logp = start.clone().requires_grad_()
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logp, ENTROPIES, None)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    ids = torch.ones(4, 5, dtype=torch.long)
    inputs = {
        "prompt_ids": ids, "prompt_mask": ids, "completion_ids": ids, "completion_mask": MASK.clone(),
        "advantages": ADVANTAGES, "old_per_token_logps": OLD, "ref_per_token_logps": REFERENCE,
        "num_items_in_batch": MASK.sum(), "importance_sampling_ratio": torch.full((4, 5), 0.5),
    }  # fmt: skip
    loss = trainer._compute_loss(trainer.model, inputs)
    return loss.detach(), torch.autograd.grad(loss, logp)[0]


@pytest.mark.parametrize(("trl", "token_loss", "mean"), FORMULAS, ids=[str(trl) for trl, _, _ in FORMULAS])
def test_loss_of_grpo(tmp_path, trl, token_loss, mean):
    # ratios are 1 while a batch serves one update, and what acts on them is refused
    loss, gradient = loss_of(trainer_of(recipe("online", trl, iterations=2), "online", tmp_path), START)
    logp = START.clone().requires_grad_()
    expected = mean(token_loss(logp, (logp - OLD).exp(), ADVANTAGES[:, None]))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert torch.allclose(gradient, torch.autograd.grad(expected, logp)[0], atol=1e-6)
    assert gradient.abs().sum() > 0.01


def test_ratio_of_a_sequence(tmp_path):
    trl = {"importance_sampling_level": "sequence"}
    loss, _ = loss_of(trainer_of(recipe("online", trl, iterations=2), "online", tmp_path), START)
    mean = ((START - OLD) * MASK).sum(1) / MASK.sum(1)
    assert loss.item() == pytest.approx(by_row(clipped()(None, mean.exp()[:, None], ADVANTAGES[:, None])).item())


# the rest of GRPO: runs -----------------------------------------------------------------------------------------------


def run(path, family, trl, **settings):
    folder = TrainingFolder(path)
    train(recipe(family, trl, **settings), folder, Silent())
    return folder


def own(folder):
    return [row for row in folder.rollouts() if row.source == "own"]


def texts(folder):
    return [[row.text for row in own(folder) if row.group == group] for group in (0, 1)]


GREEDY = [
    ("slots", {"top_p": 1e-6}),
    ("transformers", {"top_p": 1e-6}),
    ("transformers", {"top_k": 1}),
    ("transformers", {"min_p": 1.0}),
]


@pytest.mark.parametrize(("sampler", "trl"), GREEDY)
def test_a_sampler_that_may_take_the_best_token_only_draws_equal_rollouts(tmp_path, sampler, trl):
    found = texts(run(tmp_path, "online", trl, steps=1, levels=[4], sampler=sampler, max_tokens=8))
    assert [len(set(group)) for group in found] == [1, 1]


def test_repetition_is_punished(tmp_path):
    trl = {"top_k": 1, "repetition_penalty": 1e9}
    [words, _] = texts(run(tmp_path, "online", trl, steps=1, levels=[4], sampler="transformers", max_tokens=8))
    assert len(set(words[0].split())) == len(words[0].split()) > 2


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_scale_of_advantages(tmp_path, scale):
    rows = own(run(tmp_path, "online", {"scale_rewards": scale}, steps=1))
    rewards = torch.tensor([row.reward for row in rows]).reshape(2, 4)
    assert rewards.std() > 0
    spread = {"group": rewards.std(1, keepdim=True) + 1e-4, "batch": rewards.std() + 1e-4, "none": 1.0}[scale]
    expected = ((rewards - rewards.mean(1, keepdim=True)) / spread).flatten()
    assert torch.allclose(torch.tensor([row.advantage for row in rows]), expected, atol=1e-5)


@pytest.mark.slow
def test_the_reference_follows_the_policy_as_far_as_it_is_told(tmp_path):
    def divergence(name, **trl):
        settings = {"steps": 2, "learning_rate": 1e-2, "limit": 16}
        log = run(tmp_path / name, "online", {"beta": 0.01, **trl}, **settings).log()
        return [line["kl"] for line in log if "kl" in line]

    follows = {"sync_ref_model": True, "ref_model_sync_steps": 1}
    fixed = divergence("fixed")
    whole = divergence("whole", **follows, ref_model_mixup_alpha=1.0)
    half = divergence("half", **follows, ref_model_mixup_alpha=0.5)
    late = divergence("late", sync_ref_model=True, ref_model_sync_steps=5, ref_model_mixup_alpha=1.0)
    assert fixed[0] == pytest.approx(0, abs=1e-6) and late == fixed
    assert whole[1] == pytest.approx(0, abs=1e-6) and 1e-4 < half[1] < fixed[1]


class FakeVLLM:
    """Keeps what TRL hands to vLLM."""

    def __init__(self, **given):
        self.given = given
        self.mode = given["mode"]

    def get_server_info(self):
        return {"model_config": {"logprobs_mode": "processed_logprobs"}}

    @property
    def vllm_client(self):
        return self


VLLM = {
    "vllm_enable_sleep_mode": ("enable_sleep_mode", True),
    "vllm_gpu_memory_utilization": ("gpu_memory_utilization", 0.7),
    "vllm_max_model_length": ("max_model_length", 77), "vllm_mode": ("mode", "server"),
    "vllm_model_impl": ("model_impl", "transformers"), "vllm_server_timeout": ("server_timeout", 7.0),
    "vllm_tensor_parallel_size": ("tensor_parallel_size", 1),
}  # fmt: skip


@pytest.fixture
def vllm(monkeypatch):
    import trl.trainer.grpo_trainer as module

    monkeypatch.setattr(module, "VLLMGeneration", FakeVLLM)


def test_vllm_is_handed_its_options(tmp_path, vllm):
    trl = {field: value for field, (_, value) in VLLM.items()}
    trainer = trainer_of(recipe("online", trl, sampler="vllm"), "online", tmp_path)
    assert {name: trainer.vllm_generation.given[name] for name, _ in VLLM.values()} == dict(VLLM.values())


@pytest.mark.parametrize("corrected", [True, False])
def test_rollouts_of_vllm_are_weighted_where_that_is_asked_for(tmp_path, vllm, corrected):
    trl = {"vllm_importance_sampling_correction": corrected}
    loss, _ = loss_of(trainer_of(recipe("online", trl, sampler="vllm"), "online", tmp_path), START)
    plain = by_row(clipped()(None, (START - OLD).exp(), ADVANTAGES[:, None]))
    assert loss.item() == pytest.approx(plain.item() * (0.5 if corrected else 1.0), abs=1e-6)


# the formulas of DPO -------------------------------------------------------------------------------------------------

LOGPS = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, -1.0, 0.0], [-3.0, -1.0, -2.0], [-1.0, -0.2, -0.1]])
CHOSEN, REJECTED = LOGPS[:2].sum(1) - torch.tensor([-4.0, -1.0]), LOGPS[2:].sum(1) - torch.tensor([-5.0, -2.0])
LENGTHS = torch.tensor([2.0, 2.0]), torch.tensor([3.0, 3.0])
BETA = 0.1
FAR = {"f_divergence_type": "alpha_divergence"}


def logistic(margin):
    return -logsigmoid(BETA * margin)


def smooth(share, margin):
    return -(1 - share) * logsigmoid(BETA * margin) + share * logsigmoid(-BETA * margin)


def alpha(power):
    return logistic(sum(sign * (log * (power - 1)).exp() / (power - 1) for sign, log in ((1, CHOSEN), (-1, REJECTED))))


DPO = [
    ({}, logistic(CHOSEN - REJECTED)),
    ({"loss_type": "hinge"}, relu(1 - BETA * (CHOSEN - REJECTED))),
    ({"loss_type": "ipo"}, (CHOSEN / LENGTHS[0] - REJECTED / LENGTHS[1] - 1 / (2 * BETA)) ** 2),
    ({"loss_type": "sigmoid_norm"}, logistic(CHOSEN / LENGTHS[0] - REJECTED / LENGTHS[1])),
    ({"loss_type": "robust", "label_smoothing": 0.2}, smooth(0.2, CHOSEN - REJECTED) / 0.6),
    ({"loss_type": "apo_zero"}, 1 - (BETA * CHOSEN).sigmoid() + (BETA * REJECTED).sigmoid()),
    ({"loss_type": "apo_down"}, (BETA * CHOSEN).sigmoid() + 1 - (BETA * (CHOSEN - REJECTED)).sigmoid()),
    ({"f_divergence_type": "forward_kl"}, logistic((-REJECTED).exp() - (-CHOSEN).exp())),
    ({"f_divergence_type": "js_divergence"}, logistic(logsigmoid(CHOSEN) - logsigmoid(REJECTED))),
    ({**FAR, "f_alpha_divergence_coef": 0.5}, alpha(0.5)),
    ({**FAR, "f_alpha_divergence_coef": 2.0}, alpha(2.0)),
    # the first two tokens count whole, those by which the rejected chain is longer half
    ({"ld_alpha": 0.5}, logistic(CHOSEN - (REJECTED - 0.5 * LOGPS[2:, 2]))),
]  # fmt: skip


@pytest.mark.parametrize(("trl", "expected"), DPO, ids=[str(trl) for trl, _ in DPO])
def test_loss_of_dpo(tmp_path, trl, expected):
    trainer = trainer_of(recipe("dpo", trl), "dpo", tmp_path)
    zeros = torch.zeros_like(LOGPS)
    mask = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 1]])
    ids = torch.ones(4, 4, dtype=torch.long)
    inputs = {
        "input_ids": ids, "attention_mask": ids, "completion_mask": mask,
        "ref_chosen_logps": torch.tensor([-4.0, -1.0]), "ref_rejected_logps": torch.tensor([-5.0, -2.0]),
    }  # fmt: skip
    made = SimpleNamespace(log_probs=LOGPS, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    loss = trainer._compute_loss(lambda **_: made, inputs, False)
    assert loss.item() == pytest.approx(expected.mean().item(), abs=1e-5)


# what all trainers share ----------------------------------------------------------------------------------------------

FAMILIES = list(TESTED)
OPTIMIZER = {"adam_beta1": 0.8, "adam_beta2": 0.7, "adam_epsilon": 1e-3, "weight_decay": 0.3}


@pytest.mark.parametrize("family", FAMILIES)
def test_optimizer(tmp_path, family):
    found = trainer_of(recipe(family, OPTIMIZER), family, tmp_path).create_optimizer()
    assert isinstance(found, torch.optim.AdamW)
    assert all((group["betas"], group["eps"]) == ((0.8, 0.7), 1e-3) for group in found.param_groups)
    assert {group["weight_decay"] for group in found.param_groups} == {0.3, 0.0}


SHARED = {
    "optim": "sgd", "max_grad_norm": 1e-4, "lr_scheduler_type": "cosine_with_min_lr", "warmup_steps": 1,
    "lr_scheduler_kwargs": {"min_lr": 2.5e-4}, "logging_steps": 2, "save_total_limit": 1,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_schedule_size_of_a_step_log_and_checkpoints(tmp_path, family):
    folder = run(tmp_path, family, SHARED, steps=4, save_every=2)
    # one step of warm-up, then half a cosine of three from 1e-3 to 2.5e-4; the log tells the rate of its step
    rates = [line["learning_rate"] for line in folder.log() if "learning_rate" in line]
    assert [line["step"] for line in folder.log() if "learning_rate" in line] == [2, 4]
    assert rates == pytest.approx([1e-3, 2.5e-4 + 0.5 * 7.5e-4 * (1 - 0.5)])
    assert folder.checkpoints() == [4]
    before, after = (
        dict(load_policy(recipe(family, model=model))[0].named_parameters())
        for model in ("micro", str(folder.checkpoint(4)))
    )
    moved = sum(((after[name] - before[name]) ** 2).sum() for name in before).sqrt().item()
    # gradients of 1e-4 at most, rates of 2e-3 in all
    assert 0 < moved <= 1e-4 * 2.5e-3


def gradient(trainer, family):
    """The gradient of a pass over two rows, and how often and in which numbers a product of it was computed."""
    model = trainer.accelerator.prepare_model(trainer.model).train()
    seen = []
    layer = trainer.model.model.layers[1].mlp
    hooks = [
        layer.register_forward_pre_hook(lambda *_: seen.append("begun")),
        layer.down_proj.register_forward_hook(lambda *given: seen.append(given[2].dtype)),
    ]
    if family == "online":
        ids = torch.tensor([[5, 6, 7, 8], [5, 6, 9, 10]])
        loss = -trainer._get_per_token_logps_and_entropies(model, ids, torch.ones_like(ids), 2)[0].mean()
    else:
        loss = trainer.compute_loss(model, trainer.data_collator([trainer.train_dataset[at] for at in (0, 1)]))
    loss.backward()
    for hook in hooks:
        hook.remove()
    return torch.cat([one.grad.flatten() for one in trainer.model.parameters()]), seen


@pytest.mark.parametrize("family", FAMILIES)
def test_memory_and_numbers(tmp_path, family):
    def of(name, **trl):
        trainer = trainer_of(recipe(family, trl), family, tmp_path / name)
        if trainer.args.gradient_checkpointing:
            # the first line of the loop of steps
            trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
        return gradient(trainer, family)

    plain, seen = of("plain")
    again, twice = of("again", gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False})
    short, halves = of("short", bf16=True)
    # what was not kept is computed again on the way back
    assert torch.allclose(plain, again, atol=1e-6) and (seen.count("begun"), twice.count("begun")) == (1, 2)
    assert torch.bfloat16 in halves and torch.bfloat16 not in seen
    assert torch.cosine_similarity(plain, short, dim=0) > 0.99 and not torch.equal(plain, short)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding(tmp_path, family):
    trainer = trainer_of(recipe(family, {"pad_to_multiple_of": 16}, max_tokens=9), family, tmp_path)
    if family == "online":
        trainer.model.train()
        found = trainer._generate_and_score_completions([trainer.train_dataset[0]] * 4)
        lengths = [found[name].shape[1] for name in ("prompt_ids", "completion_ids")]
    else:
        lengths = [trainer.data_collator([trainer.train_dataset[0]])["input_ids"].shape[1]]
    assert lengths and all(length % 16 == 0 for length in lengths)


@pytest.mark.parametrize("family", ["online", "dpo"])
def test_dropout_is_taken_out(tmp_path, family):
    def rates(trl):
        trainer = trainer_of(recipe(family, trl, lora={"dropout": 0.5}), family, tmp_path)
        return {part.p for part in trainer.model.modules() if isinstance(part, torch.nn.Dropout)}

    assert (rates({"disable_dropout": True}), rates({"disable_dropout": False})) == ({0.0}, {0.5})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tracker_is_told_the_name_of_the_run(tmp_path, monkeypatch, family):
    import transformers.integrations.integration_utils as integrations
    from transformers import TrainerCallback

    monkeypatch.setitem(integrations.INTEGRATION_TO_CALLBACK, "mine", type("Mine", (TrainerCallback,), {}))
    trainer = trainer_of(recipe(family, {"report_to": "mine", "run_name": "a name"}), family, tmp_path)
    assert any(type(one).__name__ == "Mine" for one in trainer.callback_handler.callbacks)
    assert trainer.args.run_name == "a name"


def test_no_field_is_without_a_test():
    shared = {*OPTIMIZER, *SHARED, "bf16", "gradient_checkpointing", "gradient_checkpointing_kwargs"}
    shared |= {"pad_to_multiple_of", "report_to", "run_name"}
    online = {field for trl, *_ in (*FORMULAS, *((trl,) for _, trl in GREEDY)) for field in trl} | set(VLLM)
    online |= {"sync_ref_model", "ref_model_sync_steps", "ref_model_mixup_alpha", "scale_rewards", "disable_dropout"}
    online |= {"importance_sampling_level", "repetition_penalty", "vllm_importance_sampling_correction"}
    dpo = {field for trl, _ in DPO for field in trl} | {"disable_dropout"}
    assert set(TESTED["sft"]) == shared
    assert set(TESTED["online"]) == shared | online
    assert set(TESTED["dpo"]) == shared | dpo
    for (family, field), values in VALUES.items():
        table = FORMULAS if family == "online" else DPO
        default = {"loss_type": (table is FORMULAS and "grpo") or "sigmoid", "f_divergence_type": "reverse_kl"}[field]
        assert {trl[field] for trl, *_ in table if field in trl} | {default} == set(values)
