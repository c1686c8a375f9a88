"""The trainer around the methods, and the auxiliary term, on the micro policy."""

import logging
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from trl import GRPOConfig, GRPOTrainer
from trl.kernels import ChunkedLogProbFunction

from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.errors import UserError
from expo_bench.grading.judge import Judge
from expo_bench.prompts import BOXED
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.arguments import grpo_arguments
from expo_bench.trainers.data import order, prompt_rows, training_problems
from expo_bench.trainers.models import load_policy
from expo_bench.trainers.online import run as online_run
from expo_bench.trainers.online import scoring
from expo_bench.trainers.online.trainer import OnlineTrainer
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.training import train
from tests.fakes import Silent
from tests.trainers.plain import PlainReward


def recipe(method="expo_grpo", **settings):
    settings = {
        "model": "micro", "benchmark": "micro", "levels": (2,), "limit": 40, "steps": 3, "prompts_per_step": 2,
        "num_generations": 4, "max_tokens": 40, "learning_rate": 1e-4, **settings,
    }  # fmt: skip
    return Recipe.model_validate({"method": method, **settings})


@pytest.fixture(scope="module")
def judge():
    with Judge(workers=1) as judge:
        yield judge


def make(tmp_path, chosen, judge):
    problems = training_problems(chosen).problems
    folder = TrainingFolder(tmp_path)
    arguments = GRPOConfig(**grpo_arguments(chosen, folder, 1))
    return online_run.make_trainer(chosen, problems, folder, arguments, judge, True)


def chains(trainer):
    return [chain for group in trainer._groups for chain in group.chains]


def run(path, chosen):
    train(chosen, TrainingFolder(path), Silent())
    return TrainingFolder(path)


def parameters(folder, step):
    chosen = recipe(model=str(folder.checkpoint(step)))
    return dict(load_policy(chosen)[0].named_parameters())


def largest_difference(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in one)


def test_beta_0_is_trl_bit_for_bit(tmp_path, judge):
    chosen = recipe(steps=8, num_generations=4, sampler="transformers", expo={"weight": 0.0})
    problems = training_problems(chosen).problems

    ours = make(tmp_path / "ours", chosen, judge)
    ours.train()
    model, tokenizer = load_policy(chosen)
    theirs = GRPOTrainer(
        model=model,
        reward_funcs=PlainReward(problems, judge, {tokenizer.eos_token_id}),
        args=GRPOConfig(**grpo_arguments(chosen, TrainingFolder(tmp_path / "theirs"), 1)),
        train_dataset=prompt_rows(problems, BOXED).select(order(len(problems), 16, chosen.seed)),
        processing_class=tokenizer,
    )
    theirs.train()

    def losses(trainer):
        return [line["loss"] for line in trainer.state.log_history if "loss" in line]

    assert any(losses(theirs))
    assert losses(ours) == losses(theirs)
    assert largest_difference(dict(ours.model.named_parameters()), dict(model.named_parameters())) == 0


def plain_logprobs(model, prompt, chain):
    """Log-probabilities of a chain's tokens by one plain forward pass of one row."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *chain]])).logits[0].double().log_softmax(-1)
    return torch.stack([logits[len(prompt) - 1 + at, token] for at, token in enumerate(chain)])


@pytest.mark.parametrize("sampler", ["slots", "transformers"])
def test_rollouts_are_recorded_with_their_log_probability(tmp_path, sampler):
    chosen = recipe(steps=1, micro_batch=2, sampler=sampler, learning_rate=0.1)
    problems = {one.problem_id: one for one in training_problems(chosen).problems}
    model, tokenizer = load_policy(chosen)
    found = [row for row in run(tmp_path, chosen).rollouts() if row.source == "own" and row.finish_reason == "stop"]
    assert len(found) > 4
    for row in found:
        ids = chain_ids(tokenizer, row.text)
        assert len(ids) == row.n_tokens
        logprobs = plain_logprobs(model, problem_ids(tokenizer, BOXED, problems[row.problem_id]), ids)
        assert row.sum_logprob == pytest.approx(logprobs.sum().item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("normalise", ["tokens", "sequence"])
@pytest.mark.parametrize("method", ["expo_grpo", "grpo_expert"])
def test_term_equals_a_hand_computed_value(tmp_path, judge, method, normalise):
    term = {"weight": 0.3, "normalise": normalise, **({"filter": []} if method == "expo_grpo" else {})}
    trainer = make(tmp_path, recipe(method, expo=term), judge)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    rows = next(iter(trainer.get_train_dataloader()))
    inputs = trainer._prepare_inputs(rows)
    with_term = trainer._compute_loss(trainer.model, inputs)
    nobody = torch.full_like(inputs["beside"], -1)
    without = trainer._compute_loss(trainer.model, {**inputs, "beside": nobody})

    used = [one for one in chains(trainer) if one.weight]
    assert len(used) == 2
    expected = 0.0
    for one in used:
        logprobs = plain_logprobs(trainer.model, one.prompt_ids, one.token_ids)
        assert one.sum_logprob == pytest.approx(logprobs.sum().item(), rel=1e-4)
        expected += (logprobs.mean() if normalise == "tokens" else logprobs.sum()).item() / 2
    assert (without - with_term).item() == pytest.approx(0.3 * expected, rel=1e-3)
    assert trainer._value_of_term() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_share_of_the_term_in_the_gradient(tmp_path, judge, micro_batch):
    chosen = recipe(levels=(3,), prompts_per_step=4, steps=2, expo={"weight": 0.3, "filter": [], "share_every": 2})
    trainer = make(tmp_path / "whole", chosen, judge)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    nobody = torch.full_like(inputs["beside"], -1)
    whole, alone = (
        torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(trainer.model.parameters()))])
        for loss in (trainer._compute_loss(trainer.model, one) for one in (inputs, {**inputs, "beside": nobody}))
    )
    log = run(tmp_path / "run", chosen.model_copy(update={"micro_batch": micro_batch})).log()
    shares = {line["step"]: line["term/gradient_share"] for line in log if "term/gradient_share" in line}
    assert shares == {1: pytest.approx(((whole - alone).norm() / whole.norm()).item(), rel=1e-4)}
    assert abs(shares[1] - 1) > 0.01


def test_term_learns_under_the_prompt_that_hides_the_answer(tmp_path, judge):
    trainer = make(tmp_path, recipe(), judge)
    trainer.model.train()
    trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    explained = [one for one in chains(trainer) if one.source == "self_explanation"]
    assert explained
    for one in explained:
        problem = trainer._toolbox.problem(one.index)
        text = trainer.processing_class.apply_chat_template(
            list(BOXED.messages(problem)), tokenize=False, add_generation_prompt=True
        )
        assert one.prompt_ids == trainer.processing_class(text, add_special_tokens=False)["input_ids"]
        shown = trainer._toolbox.explain_ids(problem)
        assert shown != one.prompt_ids


def test_explanations_change_no_rollout_and_no_advantage(tmp_path):
    with_them = run(tmp_path / "expo", recipe(steps=1))
    without = run(tmp_path / "grpo", recipe("grpo", steps=1))
    own = [row for row in with_them.rollouts() if row.source == "own"]
    assert len(own) == 8
    assert own == [row for row in without.rollouts() if row.source == "own"]
    assert [row for row in with_them.rollouts() if row.source == "self_explanation"]


def test_no_pass_has_more_rows_than_micro_batch_and_the_chains_beside_them(tmp_path, monkeypatch):
    rows, score = [], GRPOTrainer._get_per_token_logps_and_entropies

    def counted(self, model, ids, mask, kept, batch_size=None, **more):
        rows.append(batch_size or len(ids))
        return score(self, model, ids, mask, kept, batch_size=batch_size, **more)

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", counted)
    chosen = recipe(steps=1, micro_batch=2, prompts_per_step=4, expo={"per_problem": 3})
    folder = run(tmp_path / "run", chosen)
    assert all(row.sum_logprob is not None for row in folder.rollouts() if row.text)
    assert max(rows) <= 4 and len(rows) > 4


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", recipe(steps=6, save_every=2, limit=5))
    chosen = recipe(steps=6, save_every=2, limit=5)

    class Stop(Exception):
        pass

    take = online_run.Recorder.take

    def stop_at_3(self):
        rows = take(self)
        if self._step == 3:
            raise Stop
        return rows

    monkeypatch.setattr(online_run.Recorder, "take", stop_at_3)
    with pytest.raises(Stop):
        run(tmp_path / "stopped", chosen)
    monkeypatch.undo()
    stopped = TrainingFolder(tmp_path / "stopped")
    assert stopped.checkpoints() == [2]
    torn = stopped.checkpoints_path / "checkpoint-4"
    torn.mkdir()
    # memory that ran out is no reason to begin again
    run(tmp_path / "stopped", recipe(steps=6, save_every=2, limit=5, micro_batch=1))
    for found, expected in zip(stopped.rollouts(), whole.rollouts(), strict=True):
        assert replace(found, sum_logprob=0.0) == replace(expected, sum_logprob=0.0)
        assert found.sum_logprob == pytest.approx(expected.sum_logprob, abs=1e-3)
    assert len({row.problem_id for row in whole.rollouts()}) == 5
    assert largest_difference(parameters(whole, 6), parameters(stopped, 6)) < 1e-5
    assert [line["step"] for line in stopped.log()] == [line["step"] for line in whole.log()]


@pytest.mark.parametrize("policy", ["base", "refreshed"])
def test_who_explains(tmp_path, policy):
    folder = run(tmp_path, recipe(steps=3, expo={"policy": policy, "refresh_every": 3}))
    live = run(tmp_path / "live", recipe(steps=3))
    rows = [row for row in folder.rollouts() if row.source == "self_explanation"]
    assert rows[:2] == [row for row in live.rollouts() if row.source == "self_explanation"][:2]
    assert {row.step for row in rows} == {0, 1, 2}


def test_annealing(tmp_path, judge):
    trainer = make(tmp_path, recipe(steps=4, expo={"weight": 0.4, "schedule": "anneal"}), judge)
    found = []
    for step in range(5):
        trainer.state.global_step = step
        found.append(round(trainer._method.coefficient(), 6))
    assert found == [0.4, 0.3, 0.2, 0.1, 0.0]


def test_no_chain_passes_the_filter(tmp_path, caplog):
    # one token is never an answer
    chosen = recipe(steps=4, max_tokens=1, expo={"warn_after": 2})
    with caplog.at_level(logging.WARNING, logger="expo_bench"):
        folder = run(tmp_path, chosen)
    lines = [record.getMessage() for record in caplog.records if "no chain has passed" in record.getMessage()]
    assert [line.split(" for ")[1].split(";")[0] for line in lines] == ["2 steps", "4 steps"]
    assert folder.checkpoints() == [4]


def test_ungradable_rollouts_have_no_reward_and_no_advantage(tmp_path, judge):
    chosen = recipe(num_generations=2)
    trainer = make(tmp_path, chosen, judge)
    # an unreadable gold answer: nobody can tell
    judged = trainer._drawing._judge
    judged._problems = [replace(one, answer="\\frac{") for one in judged._problems]
    trainer.model.train()
    trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    rows = trainer._recorder.take()
    own = [row for row in rows if row.source == "own"]
    assert {row.reward for row in own if row.status != "no_answer"} <= {None}
    assert {row.advantage for row in own} == {0.0}


def test_the_head_sees_the_scored_tokens_only_and_the_gradient_is_the_same(tmp_path, judge, monkeypatch):
    there, back, losses, gradients = [], [], [], []
    forward, backward = ChunkedLogProbFunction.forward, ChunkedLogProbFunction.backward

    def counted(ctx, hidden, *more):
        there.append(len(hidden))
        return forward(ctx, hidden, *more)

    def counted_back(ctx, *given):
        back.append(len(ctx.saved_tensors[0]))
        return backward(ctx, *given)

    monkeypatch.setattr(ChunkedLogProbFunction, "forward", staticmethod(counted))
    monkeypatch.setattr(ChunkedLogProbFunction, "backward", staticmethod(counted_back))
    trainer = make(tmp_path, recipe(expo={"filter": []}), judge)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    # as if all of a group were wrong
    inputs["advantages"] = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.5, -0.5, -0.5, -0.5])
    for large in (10**6, 1):
        monkeypatch.setattr(scoring, "LARGE", large)
        there.clear(), back.clear()
        loss = trainer._compute_loss(trainer.model, inputs)
        gradients.append(torch.autograd.grad(loss, list(trainer.model.parameters())))
        losses.append((loss.item(), sum(there), sum(back)))
    beside = sum(len(one.token_ids) for one in trainer._pass.beside)
    scored, learned = (int(mask.sum()) + beside for mask in (inputs["completion_mask"], inputs["completion_mask"][4:]))
    assert losses[1][1:] == (scored, learned)
    assert losses[0][1] == losses[0][2] > 2 * scored
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("sampler", ["slots", "transformers"])
def test_a_model_that_counts_positions_from_the_padding_is_refused(tmp_path, sampler):
    tokenizer = load_policy(recipe())[1]
    # wide weights, so that a position is as much as a token
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=256, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    # questions of several lengths
    chosen = recipe("grpo", model=str(tmp_path / "gpt2"), levels=(1, 5), steps=1, prompts_per_step=4, sampler=sampler)
    with pytest.raises(UserError, match="do not compute the same policy; positions counted from the left padding"):
        run(tmp_path / "run", chosen)


@pytest.mark.parametrize("method", ["grpo", "luffy"])
def test_groups_without_a_gradient_are_not_gone_back_through(tmp_path, monkeypatch, method):
    # level 5: what the base never solves; a tiny step of level 2 before gives the optimizer its momentum
    whole = {"method": method, "levels": (2, 5), "steps": 4, "prompts_per_step": 2, "micro_batch": 2, "limit": 12}
    if method == "luffy":
        whole |= {"luffy": {"guest": "self_explanation"}, "minibatches": 1, "trl": {"entropy_coef": 0.0}}
    idle = []
    ask = OnlineTrainer._nothing_to_learn
    monkeypatch.setattr(OnlineTrainer, "_nothing_to_learn", lambda self, done: idle.append(ask(self, done)) or idle[-1])
    ours = run(tmp_path / "ours", recipe(**whole))
    assert {True, False} == set(idle)
    monkeypatch.setattr(OnlineTrainer, "_nothing_to_learn", lambda *_: False)
    theirs = run(tmp_path / "theirs", recipe(**whole))
    assert ours.rollouts_path.read_bytes() == theirs.rollouts_path.read_bytes()
    assert largest_difference(parameters(ours, 4), parameters(theirs, 4)) == 0


def test_what_the_sampler_told_of_groups_without_a_gradient_is_not_read_again(tmp_path, monkeypatch):
    whole = {
        "method": "grpo", "levels": (2, 5), "steps": 4, "prompts_per_step": 2, "micro_batch": 2, "limit": 12,
        "measure_every": 3,
    }  # fmt: skip
    monkeypatch.setattr(scoring, "LARGE", 1)
    read = []
    ask = OnlineTrainer._scored
    monkeypatch.setattr(OnlineTrainer, "_scored", lambda self, *a, **b: read.append(self._pass) or ask(self, *a, **b))
    ours = run(tmp_path / "ours", recipe(**whole))
    n_read = len(read)
    monkeypatch.setattr(OnlineTrainer, "_sampler_told_all", lambda *_: False)
    theirs = run(tmp_path / "theirs", recipe(**whole))
    assert n_read < len(read) - n_read
    assert ours.rollouts_path.read_bytes() == theirs.rollouts_path.read_bytes()
    assert largest_difference(parameters(ours, 4), parameters(theirs, 4)) == 0
    for one, other in zip(ours.log(), theirs.log(), strict=True):
        assert one.get("entropy") == pytest.approx(other.get("entropy"), abs=0.3)
    # at these steps all is read again, and sampler and loss are compared
    assert {1, 4} <= {one["step"] for one in ours.log() if "sampling/logprob_gap" in one}


@pytest.mark.parametrize("pull", ["beta", "entropy_coef"])
def test_what_pulls_without_an_advantage_is_learned_from(tmp_path, monkeypatch, pull):
    wrong = {"method": "grpo", "levels": (5,), "steps": 2, "prompts_per_step": 2, "limit": 4, "trl": {pull: 0.1}}
    ours = run(tmp_path / "ours", recipe(**wrong))
    monkeypatch.setattr(OnlineTrainer, "_nothing_to_learn", lambda *_: False)
    theirs = run(tmp_path / "theirs", recipe(**wrong))
    assert largest_difference(parameters(ours, 2), parameters(theirs, 2)) == 0
