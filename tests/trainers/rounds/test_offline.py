"""DPO and SFT in rounds: which rows are made of which chains, their losses, and runs that are stopped."""

import shutil

import pytest
import torch

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Request, SamplingParams
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.transformers.engine import TransformersEngine
from expo_bench.errors import UserError
from expo_bench.prompts import BOXED
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.data import save_rows, saved_rows
from expo_bench.trainers.models import load_policy
from expo_bench.trainers.rounds.learning import learn, round_trainer
from expo_bench.trainers.rounds.offline import record_path, records, round_problems
from expo_bench.trainers.rounds.pairs import learning_rows
from expo_bench.trainers.training import load_recipe, train
from tests.fakes import candidate, problem


class Notes:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def start(self, stage, total, done, gauge=None, beside=None):
        return lambda n_tokens: None


def recipe(method, **settings):
    values = {
        "method": method, "model": "micro", "benchmark": "micro", "levels": [5], "limit": 16, "steps": 4,
        "prompts_per_step": 4, "num_generations": 2, "max_tokens": 48, "learning_rate": 1e-4, **settings,
    }  # fmt: skip
    return load_recipe(None, values)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(find_model("micro"))


# rows -----------------------------------------------------------------------------------------------------------------


def explanation(index, ids, **fields):
    return candidate(0, f"self_explanation-{index}", token_ids=ids, **fields)


def rationalised(index, ids, **fields):
    return candidate(0, f"rationalised-{index}", token_ids=ids, **fields)


def own(index, ids, right=False, **fields):
    source = "own_correct" if right else "own_incorrect"
    return candidate(0, f"own-{index}", token_ids=ids, source=source, reaches_answer=right, **fields)


BAD = own(0, (7,)), own(1, (8,)), own(2, (9,))
WRONG = {"reaches_answer": False}
PAIRS = [
    # settings, candidates, pairs of a chosen and a rejected chain, left out
    ({}, [explanation(0, (1,)), *BAD], ["00", "01"], {}),
    ({}, [explanation(0, (1,)), explanation(1, (2,)), *BAD], ["00", "11"], {}),
    ({}, [explanation(0, (1,)), explanation(1, (2,)), BAD[0]], ["00", "10"], {}),
    ({"preference": {"pairs_per_problem": 1}}, [explanation(0, (1,)), *BAD], ["00"], {}),
    ({"preference": {"pairs_per_problem": 9}}, [explanation(0, (1,)), *BAD], ["00", "01", "02"], {}),
    # the same chain twice is one chain
    ({}, [explanation(0, (1,)), explanation(1, (1,)), BAD[0], own(1, (7,))], ["00"], {"repeats another chain": 1}),
    # filters
    ({}, [explanation(0, (1,), **WRONG), explanation(1, (2,)), BAD[0]], ["10"], {"does not reach the answer": 1}),
    ({}, [explanation(0, (1,), reaches_answer=None), BAD[0]], [], {"does not reach": 1, "without a chain": 1}),
    ({"expo": {"filter": []}}, [explanation(0, (1,), **WRONG), BAD[0]], ["00"], {}),
    ({"expo": {"filter": []}}, [explanation(0, (1,), truncated=True), BAD[0]], [], {"truncated": 1, "without a": 1}),
    ({}, [explanation(0, (1,), leaks_answer=True), BAD[0]], ["00"], {}),
    ({"expo": {"filter": ["no_leak"]}}, [explanation(0, (1,), leaks_answer=True), BAD[0]], [],
     {"leaks the answer": 1, "without a chain": 1}),
    ({"expo": {"filter": ["no_leak"]}}, [explanation(0, (1,), **WRONG), BAD[0]], ["00"], {}),
    # what is rejected
    ({}, [explanation(0, (1,)), own(0, (7,), right=True)], [], {"without a sample to reject": 1}),
    ({"preference": {"rejected": "any"}}, [explanation(0, (1,)), own(0, (7,), right=True)], ["00"], {}),
    ({"preference": {"rejected": "any"}}, [explanation(0, (1,)), own(0, (1,), right=True), own(1, (7,))], ["01"], {}),
    ({}, [explanation(0, (1,)), own(0, (7,), truncated=True)], ["00"], {}),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "candidates", "expected", "reasons"), PAIRS)
def test_pairs(tokenizer, settings, candidates, expected, reasons):
    rows, left_out = learning_rows(recipe("expo_dpo", **settings), [problem(0)], candidates, tokenizer)
    assert [row["chosen"][-1] + row["rejected"][-1] for row in rows] == expected
    assert sum(left_out.values()) == sum(reasons.values())
    for reason, count in reasons.items():
        assert [found for name, found in left_out.items() if reason in name] == [count]


SEQUENCES = [
    ([rationalised(0, (1,)), explanation(0, (1,))], ["rationalised-0"]),
    ([own(0, (7,)), own(1, (8,), right=True)], ["own-1"]),
    ([own(0, (8,), right=True), own(1, (8,), right=True), own(2, (9,), right=True)], ["own-0", "own-2"]),
    # the rules for leaks are sometimes wrong: a sample that never saw the answer cannot leak it
    ([own(0, (8,), right=True, leaks_answer=True), rationalised(0, (1,), leaks_answer=True)], ["own-0"]),
    ([own(0, (7,)), explanation(0, (1,))], []),
]


@pytest.mark.parametrize(("candidates", "expected"), SEQUENCES)
def test_star_learns_from_what_reaches_the_answer(tokenizer, candidates, expected):
    chosen = recipe("star", expo={"filter": ["reaches_answer", "no_leak"]})
    rows, _ = learning_rows(chosen, [problem(0)], candidates, tokenizer)
    assert [row["chain"] for row in rows] == expected


def test_expert_chains(tokenizer):
    text = "3 + 4 = 7 . \\boxed{ 7 }"
    n_ids = len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1
    problems = [problem(0, solution=text), problem(1)]
    for method, n_rows in (("sft_expert", 1), ("dpo_expert", 2)):
        rows, left_out = learning_rows(recipe(method, max_tokens=n_ids), problems, BAD, tokenizer)
        assert len(rows) == n_rows
        assert left_out["expert: the benchmark has no solution"] == 1
        _, left_out = learning_rows(recipe(method, max_tokens=n_ids - 1), problems, BAD, tokenizer)
        assert left_out["expert: longer than max_tokens"] == 1


def test_rows_hold_the_ids_of_the_harness(tokenizer):
    asked = problem(0, question="Compute 3 + 4 modulo 100.", answer="7", solution="3 + 4 = 7 . \\boxed{ 7 }")
    request = Request(problem_id="x", messages=BOXED.messages(asked), sample_indexes=(), seeds=())
    before = prompt_ids(tokenizer, request)
    written = [*tokenizer(asked.solution, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    [pair], _ = learning_rows(recipe("dpo_expert"), [asked], BAD[:1], tokenizer)
    assert (pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"]) == (before, written, [7])
    [row], _ = learning_rows(recipe("sft_expert"), [asked], [], tokenizer)
    assert row["input_ids"] == before + written
    assert row["labels"] == [-100] * len(before) + written


def test_rounds_meet_the_problems_of_their_steps():
    problems = [problem(number) for number in range(10)]
    chosen = recipe("expo_dpo", steps=4, prompts_per_step=2, rounds=2)
    first, second = (round_problems(chosen, problems, number) for number in (0, 1))
    assert len(first) == len(second) == 4
    assert {one.problem_id for one in first}.isdisjoint(one.problem_id for one in second)
    everything = round_problems(recipe("expo_dpo", steps=4, prompts_per_step=8), problems, 0)
    assert {one.problem_id for one in everything} == {one.problem_id for one in problems}


REFUSED = [
    ("expo_dpo", {"expo": {"beta": 0.1, "per_problem": 3}}, "expo.beta: no such setting"),
    ("star", {"expo": {"scope": "no_positive", "filter": []}}, "expo.scope: no such setting"),
    ("dpo_expert", {"expo": {"filter": []}}, "expo does nothing in dpo_expert: take expo out"),
    ("sft_expert", {"rounds": 2}, "rounds belong to"),
    ("star", {"preference": {"beta": 1}}, "preference does nothing in star: take preference out"),
    ("star", {"rounds": 3}, "must be a multiple of rounds"),
]


@pytest.mark.parametrize(("method", "settings", "message"), REFUSED)
def test_recipes_that_make_no_sense_are_refused(method, settings, message):
    with pytest.raises(UserError, match=message):
        recipe(method, **settings)


# losses ---------------------------------------------------------------------------------------------------------------


def log_probability(model, before, after):
    """Sum over `after` of log pi(token), from a plain forward pass of one sequence without padding."""
    ids = torch.tensor([before + after])
    logs = torch.log_softmax(model(input_ids=ids).logits[0].double(), dim=-1)
    places = range(len(before) - 1, ids.shape[1] - 1)
    return sum(logs[place, ids[0, place + 1]] for place in places)


def rows_of(path, method, tokenizer, n, **settings):
    words = ["3 + 4 = 7", "8 * 6 = 48 . \\boxed{ 48 }", "1 + 2 + 3"]
    problems = [
        problem(number, question=f"Compute {number} + 4 modulo 100.", solution=words[number]) for number in range(n)
    ]
    rejected = [candidate(number, "own-0", token_ids=tuple(range(4, 9 + number))) for number in range(n)]
    chosen = recipe(method, steps=1, prompts_per_step=n, **settings)
    rows, _ = learning_rows(chosen, problems, rejected, tokenizer)
    save_rows(rows, path / "rows")
    return chosen, saved_rows(path / "rows")


def moved(trainer):
    """Move the trainer's policy away from its start; return it."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return trainer.model


@pytest.mark.parametrize("sft_weight", [0.0, 0.5])
def test_dpo_loss_is_that_of_the_paper(tmp_path, tokenizer, sft_weight):
    # -log sigmoid(beta ((log pi/pi_0)(chosen) - (log pi/pi_0)(rejected))), equation 7 of arXiv 2305.18290
    given = {"preference": {"beta": 0.3, "sft_weight": sft_weight}}
    chosen, rows = rows_of(tmp_path, "dpo_expert", tokenizer, 3, **given)
    trainer = round_trainer(chosen, rows, 0, "micro", TrainingFolder(tmp_path / "run"))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(3)])
    model, start = moved(trainer), load_policy(chosen)[0]
    with torch.no_grad():
        loss = trainer._compute_loss(model, batch, return_outputs=False)
        losses, likely, n_tokens = [], 0.0, 0
        for row in rows:
            ratios = []
            for after in (row["chosen_ids"], row["rejected_ids"]):
                now = log_probability(model, row["prompt_ids"], after)
                ratios.append(now - log_probability(start, row["prompt_ids"], after))
            losses.append(-torch.log(torch.sigmoid(0.3 * (ratios[0] - ratios[1]))))
            likely += log_probability(model, row["prompt_ids"], row["chosen_ids"])
            n_tokens += len(row["chosen_ids"])
    expected = sum(losses) / 3 - sft_weight * likely / n_tokens
    assert abs(sum(losses) / 3 - 0.6931) > 0.05  # the policy did move
    assert float(loss) == pytest.approx(float(expected), abs=1e-4)


def test_the_term_beside_dpo_is_a_mean_over_the_step_at_any_micro_batch(tmp_path):
    # chains of 3 to 9 tokens: the means of single pairs are not that of the step
    text = ["3 + 4 = 7", "8 * 6 = 48 . \\boxed{ 48 }", "1 + 2 + 3", "7"]
    problems = [problem(number, question=f"Compute {number} + 4 .", solution=text[number]) for number in range(4)]
    rejected = [candidate(number, "own-0", token_ids=(4, 5, 6)) for number in range(4)]
    weights = []
    for micro in (4, 2, 1):
        given = {"preference": {"sft_weight": 1.0}, "trl": {"optim": "sgd"}, "learning_rate": 0.1}
        chosen = recipe("dpo_expert", steps=2, micro_batch=micro, **given)
        folder = TrainingFolder(tmp_path / str(micro))
        rows, _ = learning_rows(chosen, problems, rejected, load_tokenizer(find_model("micro")))
        save_rows(rows * 2, folder.path / "rows")
        learn(chosen, saved_rows(folder.path / "rows"), 0, "micro", folder, Notes())
        weights.append(parameters(folder, 2))
    for other in weights[1:]:
        assert max((weights[0][name] - other[name]).abs().max().item() for name in other) < 1e-6


def test_sft_loss_is_that_of_the_chain_alone(tmp_path, tokenizer):
    chosen, rows = rows_of(tmp_path, "sft_expert", tokenizer, 3)
    trainer = round_trainer(chosen, rows, 0, "micro", TrainingFolder(tmp_path / "run"))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(3)])
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, batch)
        likely, n_tokens = 0.0, 0
        for row in rows:
            n_before = row["labels"].count(-100)
            likely += log_probability(trainer.model, row["input_ids"][:n_before], row["input_ids"][n_before:])
            n_tokens += len(row["input_ids"]) - n_before
    assert float(loss) == pytest.approx(float(-likely / n_tokens), abs=1e-5)


# runs -----------------------------------------------------------------------------------------------------------------


def run(path, chosen):
    progress = Notes()
    record = train(chosen, TrainingFolder(path), progress)
    return record, progress.notes


def parameters(folder, step):
    return dict(load_policy(recipe("star", model=str(folder.checkpoint(step))))[0].named_parameters())


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["expo_dpo", "dpo_expert", "sft_expert", "star"])
def test_a_run_ends_with_a_checkpoint_that_the_harness_loads(tmp_path, method):
    record, notes = run(tmp_path, recipe(method))
    folder = TrainingFolder(tmp_path)
    assert record["checkpoints"] == [4]
    [learned] = record["rounds"]
    assert learned["problems"] == 16 and learned["rows"] > 0
    assert any(note.startswith(f"round 0: {learned['rows']} rows") for note in notes)
    drawn = {"own": folder.round(0).samples(), "self_explanation": folder.round(0).explanations()}
    counts = {source: sum(row.n_tokens for row in rows) for source, rows in drawn.items()}
    assert record["generated_tokens"] == {source: count for source, count in counts.items() if count}
    assert set(record["generated_tokens"]) == {
        "expo_dpo": {"own", "self_explanation"}, "dpo_expert": {"own"}, "sft_expert": set(),
        "star": {"own", "self_explanation"},
    }[method]  # fmt: skip
    assert not equal(parameters(folder, 4), dict(load_policy(recipe(method))[0].named_parameters()))
    assert [line["step"] for line in folder.log() if "loss" in line] == [1, 2, 3, 4]
    engine = TransformersEngine(EngineSpec(model=str(folder.checkpoint(4))))
    request = Request(problem_id="x", messages=BOXED.messages(problem(0)), sample_indexes=(0,), seeds=(1,))
    [done] = engine.generate([request], SamplingParams(temperature=1.0, top_p=1.0, max_tokens=8))
    engine.close()
    assert done.n_tokens > 0


@pytest.fixture(scope="module")
def in_rounds(tmp_path_factory):
    """A run of two rounds of two steps, each a checkpoint."""
    path = tmp_path_factory.mktemp("rounds") / "run"
    schedule = {"lr_scheduler_type": "linear"}
    chosen = recipe("expo_dpo", rounds=2, save_every=1, expo={"per_problem": 4}, trl=schedule)
    run(path, chosen)
    return chosen, TrainingFolder(path)


def test_each_round_draws_from_the_policy_of_its_start(in_rounds):
    _, folder = in_rounds
    assert folder.checkpoints() == [1, 2, 3, 4]
    assert [one["policy"] for one in records(folder)] == ["micro", str(folder.checkpoint(2))]
    assert folder.round(1).read_manifest().model["name"] == str(folder.checkpoint(2))
    # DPO's reference is the round's start as well: there its loss is log 2, once for each round
    losses = {line["step"]: line["loss"] for line in folder.log() if "loss" in line}
    assert losses[1] == pytest.approx(0.6931, abs=1e-4) and losses[3] == pytest.approx(0.6931, abs=1e-4)
    assert abs(losses[2] - 0.6931) > 0.005 and abs(losses[4] - 0.6931) > 0.005


def test_each_round_has_a_schedule_of_its_own(in_rounds):
    rates = [line["learning_rate"] for line in in_rounds[1].log() if "learning_rate" in line]
    assert rates == pytest.approx([1e-4, 5e-5, 1e-4, 5e-5])


@pytest.mark.parametrize("lost", [[4], [3, 4], [2, 3, 4]])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(in_rounds, lost):
    chosen, folder = in_rounds
    expected = parameters(folder, 4)
    for step in lost:
        shutil.rmtree(folder.checkpoint(step))
    record, _ = run(folder.path, chosen)
    assert record["checkpoints"] == [1, 2, 3, 4]
    assert equal(parameters(folder, 4), expected)
    assert [line["step"] for line in folder.log() if "loss" in line] == [1, 2, 3, 4]


def test_a_run_goes_on_with_less_memory(in_rounds):
    chosen, folder = in_rounds
    expected = parameters(folder, 4)
    shutil.rmtree(folder.checkpoint(4))
    run(folder.path, chosen.model_copy(update={"micro_batch": 1}))
    learned = parameters(folder, 4)
    assert max((learned[name] - expected[name]).abs().max().item() for name in expected) < 1e-5
    shutil.rmtree(folder.checkpoint(4))
    run(folder.path, chosen)
    with pytest.raises(UserError, match="with another "):
        run(folder.path, chosen.model_copy(update={"learning_rate": 1.0}))


def test_a_run_that_was_stopped_while_drawing_ends_as_if_it_had_not_been(in_rounds):
    chosen, folder = in_rounds
    expected, drawn = parameters(folder, 4), folder.round(1)
    ids = {(row.problem_id, row.sample_index): row.token_ids for row in drawn.samples()}
    for step in (3, 4):
        shutil.rmtree(folder.checkpoint(step))
    record_path(folder, 1).unlink()
    drawn.candidates_path.unlink()
    drawn.explanations_path.unlink()
    whole = drawn.samples_path.read_bytes()
    drawn.samples_path.write_bytes(whole[: len(whole) // 2])
    run(folder.path, chosen)
    assert {(row.problem_id, row.sample_index): row.token_ids for row in drawn.samples()} == ids
    assert equal(parameters(folder, 4), expected)


def test_a_finished_run_does_nothing(in_rounds):
    chosen, folder = in_rounds
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.name != "training.json"}
    run(folder.path, chosen)
    after = {path: path.stat().st_mtime_ns for path in before if path.name not in ("log.jsonl", folder.path.name)}
    assert all(before[path] == stamp for path, stamp in after.items())


def test_adapters_of_a_round_are_merged_before_the_next(tmp_path):
    chosen = recipe("expo_dpo", rounds=2, save_every=1, expo={"per_problem": 4}, lora={"r": 4})
    run(tmp_path, chosen)
    folder = TrainingFolder(tmp_path)
    losses = {line["step"]: line["loss"] for line in folder.log() if "loss" in line}
    assert losses[1] == pytest.approx(0.6931, abs=1e-4) and losses[3] == pytest.approx(0.6931, abs=1e-4)
    expected = parameters(folder, 4)
    assert not equal(parameters(folder, 2), expected)
    shutil.rmtree(folder.checkpoint(4))
    run(tmp_path, chosen)
    assert equal(parameters(folder, 4), expected)


def test_nothing_to_learn_from_is_an_error_that_says_why(tmp_path):
    with pytest.raises(
        UserError, match=r"star finds nothing to learn from; left out: .*16 rationalised: does not reach"
    ):
        run(tmp_path, recipe("star", max_tokens=3))


def test_a_later_round_without_anything_to_learn_from_ends_the_run(tmp_path):
    # at this learning rate the policy is no policy any more after the first round
    chosen = recipe("star", rounds=2, learning_rate=1.0)
    record, notes = run(tmp_path, chosen)
    assert record["checkpoints"] == [2]
    assert [one["rows"] > 0 for one in record["rounds"]] == [True, False]
    assert any("round 1 finds nothing to learn from; training ends after step 2" in note for note in notes)
    assert run(tmp_path, chosen)[0]["checkpoints"] == [2]
