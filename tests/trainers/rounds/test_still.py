"""STILL-2: what is imitated, explored and learned from; its masks and its losses; a small run."""

import json
import math
from collections import Counter

import pytest
import torch

from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.errors import UserError
from expo_bench.grading.judge import GRADER
from expo_bench.problems import micro
from expo_bench.prompts import BOXED
from expo_bench.rows import Likelihood
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.thoughts.dataset import ThoughtFolder, write
from expo_bench.thoughts.format import join
from expo_bench.thoughts.micro import micro_thoughts
from expo_bench.trainers.data import save_rows, saved_rows
from expo_bench.trainers.models import load_policy
from expo_bench.trainers.rounds.exploring import Explored, explore, ledger, write_ledger
from expo_bench.trainers.rounds.imitating import imitated
from expo_bench.trainers.rounds.learning import round_arguments, round_trainer
from expo_bench.trainers.rounds.offline import _planned
from expo_bench.trainers.rounds.still import dataset_path, new_thoughts, problems_to_explore
from expo_bench.trainers.rounds.thought_pairs import preference_rows, token_mask
from expo_bench.trainers.training import load_recipe, recipe_yaml, train
from tests.fakes import Silent, grade, problem, sample


def recipe(still=None, **settings):
    values = {
        "method": "still", "model": "micro", "benchmark": "micro", "levels": [2], "steps": 4, "rounds": 2,
        "prompts_per_step": 4, "max_tokens": 200, "learning_rate": 1e-4,
        "still": {"thoughts": "micro", "cleaning": {"min_words": 3}, **(still or {})}, **settings,
    }  # fmt: skip
    return load_recipe(None, values)


DPO = {"learn": "dpo", "start": "continued"}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(find_model("micro"))


@pytest.fixture(scope="module")
def thoughts(tmp_path_factory):
    path = tmp_path_factory.mktemp("thoughts") / "set"
    rows = micro_thoughts(micro.load("train")[:8], seed=0)
    return write(path, rows, parent=None, left_out={}, settings={})


# recipes --------------------------------------------------------------------------------------------------------------

REFUSED = [
    ({"method": "star"}, "still does nothing in star: take still out"),
    ({"expo": {"per_problem": 2}}, "take expo out"),
    ({"num_generations": 4}, "take num_generations out"),
    ({"still": {"thoughts": "micro", "rollouts": 2}}, r"still.enough \(4\) may not exceed still.rollouts \(2\)"),
    ({"benchmark": "gsm8k"}, "still.thoughts micro goes with benchmark micro"),
    ({"still": {"thoughts": "micro", "learn": "dpo"}}, "still.learn dpo wants still.start continued"),
    ({"still": {"thoughts": "micro", "mask": "both"}}, "still.mask belongs to still.learn dpo"),
    ({"preference": {"beta": 0.2}}, "preference belongs to still.learn dpo"),
    ({"still": {"thoughts": "micro", **DPO}, "preference": {"rejected": "any"}}, "still rejects wrong rollouts only"),
    ({"still": {"thoughts": "micro", "cleaning": {"words": 3}}}, r"still.cleaning.words .*: no such setting"),
    ({"still": {"thoughts": None}}, "still.thoughts: should be a valid string"),
    ({"still": {"dpo_learning_rate": 1e-5}}, "still.dpo_learning_rate belongs to still.learn dpo"),
    ({"rounds": 3}, "must be a multiple of rounds"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_recipes_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message) as found:
        recipe(**settings)
    assert "\n" not in str(found.value)
    with pytest.raises(UserError, match="still wants the section still"):
        load_recipe(None, {"method": "still", "model": "micro", "benchmark": "micro", "steps": 1})


@pytest.mark.parametrize("chosen", [recipe(), recipe({**DPO, "mask": "both"}, preference={"beta": 0.2})])
def test_a_resolved_recipe_reads_back(tmp_path, chosen):
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(chosen))
    assert recipe_yaml(load_recipe(tmp_path / "recipe.yaml", {})) == recipe_yaml(chosen)


def test_thoughts_that_are_not_there_are_missed_first(tmp_path):
    with pytest.raises(UserError, match="is neither micro nor solutions, and no folder"):
        train(recipe({"thoughts": str(tmp_path / "none")}), TrainingFolder(tmp_path / "run"), Silent())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is no set of thoughts"):
        train(recipe({"thoughts": str(tmp_path / "empty")}), TrainingFolder(tmp_path / "run"), Silent())
    assert not (tmp_path / "run").exists()


def test_which_rounds_prefer_and_at_which_rate(tmp_path):
    folder = TrainingFolder(tmp_path)
    chosen = recipe({**DPO, "dpo_learning_rate": 1e-6}, preference={"sft_weight": 0.5})
    assert [chosen.prefers(number) for number in (0, 1)] == [False, True]
    assert [recipe().prefers(number) for number in (0, 1)] == [False, False]
    first, second = (round_arguments(chosen, number, folder, 1) for number in (0, 1))
    assert (first["learning_rate"], second["learning_rate"]) == (1e-4, 1e-6)
    assert (first["max_steps"], second["max_steps"]) == (2, 4)
    # the term beside DPO's loss is the trainer's own, not one of TRL's losses
    assert "beta" not in first and (second["beta"], second["loss_type"]) == (0.1, ["sigmoid"])


def test_rounds_explore_the_next_problems():
    problems = [problem(number) for number in range(10)]
    chosen = recipe({"problems": 4})
    first, second, third = (
        [one.problem_id for one in problems_to_explore(chosen, problems, number)] for number in (1, 2, 3)
    )
    assert len({*first, *second}) == 8 and len({*first, *second, *third}) == 10
    assert problems_to_explore(recipe({"problems": 40}), problems, 1)[10:] == []


# imitate --------------------------------------------------------------------------------------------------------------


def test_perplexities_are_those_of_a_plain_forward_pass(tmp_path, tokenizer, thoughts):
    chosen = recipe({"thoughts": str(thoughts.path), "selection": {"highest_perplexity": 0.5}})
    before = list(thoughts.rows())
    rows, left_out = imitated(chosen, "micro", tokenizer, RunFolder(tmp_path), Silent())
    model = load_policy(chosen)[0].eval()
    found = {}
    for row, asked in zip(before, problems_of(before), strict=True):
        start, after = problem_ids(tokenizer, BOXED, asked), chain_ids(tokenizer, row.text)
        found[row.thought_id] = math.exp(-masked_sum(model, start, after, [1] * len(after)) / len(after))
    half = math.ceil(len(before) / 2)
    highest = sorted(found, key=lambda name: -found[name])[:half]
    assert {row.thought_id for row in rows} == set(highest)
    assert left_out == {"perplexity: not among the highest": len(before) - half}
    for row in rows:
        assert row.perplexity == pytest.approx(found[row.thought_id], rel=1e-4)
        assert row.n_tokens == len(chain_ids(tokenizer, row.text))
    measured = {one.perplexity for one in RunFolder(tmp_path).likelihoods("micro")}
    assert {row.perplexity for row in rows} <= measured and len(list(RunFolder(tmp_path).candidates())) == len(before)


def problems_of(rows):
    by_id = {one.problem_id: one for one in micro.load("train")}
    return [by_id[row.problem_id] for row in rows]


def test_nothing_is_scored_where_nobody_asks(tmp_path, tokenizer, thoughts):
    chosen = recipe({"thoughts": str(thoughts.path)}, max_tokens=60)
    rows, left_out = imitated(chosen, "micro", tokenizer, RunFolder(tmp_path), Silent())
    assert list(tmp_path.iterdir()) == []
    assert [row.perplexity for row in rows] == [None] * len(rows)
    assert 0 < left_out["longer than max_tokens"] == sum(1 for _ in thoughts.rows()) - len(rows)


def test_the_revision_of_the_recipe_is_the_thoughts_own(tmp_path, tokenizer):
    with pytest.raises(UserError, match="micro has no revisions"):
        imitated(recipe(dataset_revision="main"), "micro", tokenizer, RunFolder(tmp_path), Silent())


# explore --------------------------------------------------------------------------------------------------------------


def test_a_problem_is_explored_until_enough_rollouts_are_right(tmp_path):
    chosen = recipe({"rollouts": 7, "wave": 3, "enough": 2, "problems": 8})
    problems = [one for one in micro.load("train") if one.level in (2, 5)][:8]
    planned = _planned(chosen, problems, 1, "micro", RunFolder(tmp_path), 7)
    found = explore(planned, Silent(), wave=3, enough=2)
    verdicts = {(row.problem_id, row.sample_index): bool(row.correct) for row in planned.run.grades(GRADER)}
    for one in problems:
        right = [verdicts[one.problem_id, index] for index in range(len(found[one.problem_id]))]
        stops = [upto for upto in (3, 6) if sum(right[:upto]) >= 2]
        assert len(right) == (stops[0] if stops else 7)
    drawn = Counter(len(listed) for listed in found.values())
    assert drawn[7] and drawn[3]
    rows = ledger(problems, found)
    assert [row.drawn for row in rows] == [len(found[one.problem_id]) for one in problems]
    # stopped in the middle of a wave, it draws the same
    ids = {key: [row.token_ids for row, _ in listed] for key, listed in found.items()}
    whole = planned.run.samples_path.read_bytes()
    planned.run.samples_path.write_bytes(whole[: len(whole) * 2 // 3])
    planned.run.grades_path(GRADER).unlink()
    again = explore(_planned(chosen, problems, 1, "micro", planned.run, 7), Silent(), wave=3, enough=2)
    assert {key: [row.token_ids for row, _ in listed] for key, listed in again.items()} == ids


def test_ledger_by_hand(tmp_path):
    rights = [[False, True, True], [False] * 4, [True]]
    problems = [problem(0, level=4), problem(1, level=5), problem(2, level=5)]
    rows = ledger(problems, found_of(rights))
    assert [(row.drawn, row.right, row.first_right) for row in rows] == [(3, 2, 1), (4, 0, None), (1, 1, 0)]
    assert rows[0] == Explored(problem_id="toy-000000000000", level=4, drawn=3, right=2, first_right=1)
    totals = write_ledger(tmp_path / "ledger.json", rows, 4)
    assert totals == {"problems": 3, "drawn": 8, "right": 3, "solved_within": [1, 2, 2, 2]}
    written = json.loads((tmp_path / "ledger.json").read_text())["totals"]
    assert written["level=5"] == {"problems": 2, "drawn": 5, "right": 1, "solved_within": [1, 1, 1, 1]}


def found_of(rights, texts=None):
    return {
        f"toy-{number:012x}": [
            (
                sample(number, index, text=texts[number][index] if texts else "x"),
                grade(number, index, correct=correct, grader=GRADER),
            )
            for index, correct in enumerate(listed)
        ]
        for number, listed in enumerate(rights)
    }


# self-improve ---------------------------------------------------------------------------------------------------------

GOOD, OTHER, SHORT = join("a b c d", "\\boxed{1}"), join("e f g h", "\\boxed{1}"), join("a b", "\\boxed{1}")


def test_new_thoughts():
    texts = [[GOOD, GOOD, OTHER, SHORT, "\\boxed{1}", GOOD + "x"]]
    found = found_of([[True, True, False, True, True, True]], texts)
    rows, left_out = new_thoughts(recipe().of_still, [problem(0)], found, [], {}, number=3, seed=0)
    assert [(row.thought_id, row.source, row.round) for row in rows] == [
        ("explored-3-toy-000000000000-0", "explored", 3)
    ]
    assert rows[0].token_ids == (1, 2, 3) and rows[0].answer == "1" and rows[0].text == GOOD
    assert left_out == {
        "right, repeats another thought of the problem": 1, "right, too short": 1, "right, tags broken": 2
    }  # fmt: skip
    again, left_out = new_thoughts(recipe().of_still, [problem(0)], found, rows, {}, number=4, seed=0)
    assert again == [] and left_out["right, repeats another thought of the problem"] == 2


def test_truncated_and_too_many_thoughts_are_left_out():
    [listed] = found_of([[True, True, True]], [[GOOD, OTHER, GOOD + " "]]).values()
    listed[1] = (sample(0, 1, text=OTHER, finish_reason="length"), listed[1][1])
    chosen = recipe({"explored": {"per_problem": 1}}).of_still
    rows, left_out = new_thoughts(chosen, [problem(0)], {"toy-000000000000": listed}, [], {}, number=1, seed=0)
    assert len(rows) == 1
    assert left_out == {"right, truncated": 1, "right, enough of the problem": 1}


def scores_of(perplexities):
    return {
        ("toy-000000000000", f"own-{index}"): Likelihood(
            problem_id="toy-000000000000", candidate_id=f"own-{index}", policy="p", n_tokens=3,
            sum_logprob=-3 * math.log(value), mean_logprob=-math.log(value), logprob_quantiles=(0.0,) * 5,
            perplexity=value, mean_entropy=None, rank=None, answer_logprob_with=0.0, answer_logprob_without=0.0,
            opening_logprob_with=0.0, opening_logprob_without=0.0, boundary_rule="r",
        )
        for index, value in enumerate(perplexities)
    }  # fmt: skip


def test_pairs_are_right_and_unlikely_over_wrong_and_likely(tokenizer):
    texts = [[join(f"a b c {letter}", "\\boxed{1}") for letter in "abcdefg"]]
    texts[0][6] = "no tags"
    rights = [[True, True, True, False, False, False, False]]
    [listed] = found_of(rights, texts).values()
    listed = [(sample(0, at, text=row.text, token_ids=(at + 4,)), verdict) for at, (row, verdict) in enumerate(listed)]
    found = {"toy-000000000000": listed}
    scores = scores_of([1.5, 3.0, 2.0, 1.3, 1.1, 1.2, 1.0])
    chosen = recipe(DPO, preference={"pairs_per_problem": 2})
    new, _ = new_thoughts(chosen.of_still, [problem(0)], found, [], scores, number=1, seed=0)
    assert [row.perplexity for row in new] == [1.5, 3.0, 2.0]
    left_out = Counter()
    rows = preference_rows(chosen, [problem(0)], found, new, scores, tokenizer, left_out)
    assert [(row["chosen_ids"], row["rejected_ids"]) for row in rows] == [([5], [8]), ([6], [9])]
    assert left_out == {"wrong, tags broken": 1}
    preference_rows(chosen, [problem(0)], found, [], scores, tokenizer, left_out)
    assert left_out["problems without a right rollout"] == 1


def test_masks_part_the_tokens_of_a_completion(tokenizer):
    text = join("3 + 4 = 7 .", "7 . \\boxed{ 7 }")
    ids = chain_ids(tokenizer, text)
    thought, solution, both = (token_mask(tokenizer, ids, part) for part in ("thought", "solution", "both"))
    assert both == [1] * len(ids) == [one + other for one, other in zip(thought, solution, strict=True)]
    kept = tokenizer.decode([token for token, kept in zip(ids, thought, strict=True) if kept])
    assert kept.split() == ["<|begin_of_thought|>", "3", "+", "4", "=", "7", ".", "<|end_of_thought|>"]
    assert thought == sorted(thought, reverse=True) and solution[-1] == 1


def masked_sum(model, before, after, mask):
    """Sum of log pi(token) over the tokens of `after` whose mask is 1, from a plain forward pass without padding."""
    ids = torch.tensor([[*before, *after]])
    with torch.no_grad():
        logs = torch.log_softmax(model(input_ids=ids).logits[0].double(), dim=-1)
    places = range(len(before) - 1, ids.shape[1] - 1)
    return sum(float(logs[place, ids[0, place + 1]]) for place, kept in zip(places, mask, strict=True) if kept)


@pytest.mark.parametrize("part", ["thought", "solution", "both"])
@pytest.mark.parametrize("sft_weight", [0.0, 0.5])
def test_dpo_compares_the_masked_tokens_alone(tmp_path, tokenizer, part, sft_weight):
    # -log sigmoid(beta (sum of log pi/pi_0 of the chosen - that of the rejected)), sums over the masked tokens; and
    # the SFT term is the mean over the masked tokens of the chosen
    pairs = [("3 + 4 = 7 .", "2 + 2"), ("8 * 6 = 48 . so 48", "wait , 6 * 8 = 48 ."), ("1 + 2", "1 + 1 + 1 = 3 .")]
    asked = problem(0, question="Compute 3 + 4 modulo 100.", answer="7")
    before, rows = problem_ids(tokenizer, BOXED, asked), []
    for number, pair in enumerate(pairs):
        row = {"problem_id": "x", "prompt_ids": before[: len(before) - number]}
        for side, thought in zip(("chosen", "rejected"), pair, strict=True):
            row[f"{side}_ids"] = list(chain_ids(tokenizer, join(thought, f"\\boxed{{ {number} }}")))
            row[f"{side}_mask"] = token_mask(tokenizer, row[f"{side}_ids"], part)
        rows.append(row)
    save_rows(rows, tmp_path / "rows")
    chosen = recipe(
        {**DPO, "mask": part}, steps=2, prompts_per_step=3, preference={"beta": 0.3, "sft_weight": sft_weight}
    )
    trainer = round_trainer(chosen, saved_rows(tmp_path / "rows"), 1, "micro", TrainingFolder(tmp_path / "run"))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(3)])
    start, model = load_policy(chosen)[0].eval(), trainer.model
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        loss = float(trainer._compute_loss(model, batch, return_outputs=False))
    losses, likely, n_tokens = [], 0.0, 0
    for row in rows:
        sides = [(row[f"{side}_ids"], row[f"{side}_mask"]) for side in ("chosen", "rejected")]
        now, was = ([masked_sum(one, row["prompt_ids"], *side) for side in sides] for one in (model, start))
        losses.append(math.log1p(math.exp(-0.3 * ((now[0] - was[0]) - (now[1] - was[1])))))
        likely, n_tokens = likely + now[0], n_tokens + sum(row["chosen_mask"])
    assert abs(sum(losses) / 3 - math.log(2)) > 0.02  # the policy did move
    assert loss == pytest.approx(sum(losses) / 3 - sft_weight * likely / n_tokens, abs=2e-4)


# a run ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_imitates_explores_and_goes_on(tmp_path, thoughts):
    still = {"thoughts": str(thoughts.path), "problems": 4, "rollouts": 3, "wave": 2, "enough": 1}
    chosen = recipe(still, levels=[1, 5], save_every=2)
    folder = TrainingFolder(tmp_path / "run")
    record = train(chosen, folder, Silent())
    assert record["checkpoints"] == [2, 4]
    first, second = record["rounds"]
    assert first["generated_tokens"] == {} and first["thoughts"] == sum(1 for _ in thoughts.rows())
    assert second["policy"] == str(folder.checkpoint(2))
    rows = list(folder.rollouts())
    assert {row.step for row in rows} == {2} and all(row.source == "own" for row in rows)
    assert record["generated_tokens"] == {"own": sum(row.n_tokens for row in rows)}
    assert second["explored"]["drawn"] == len(rows)
    groups = {}
    for row in rows:
        groups.setdefault((row.level, row.problem_id), []).append(row.reward)
    for line in record["zero_reward"]:
        listed = [rewards for (level, _), rewards in groups.items() if level == line["level"]]
        assert line["groups"] == len(listed)
        assert line["all_wrong"] == sum(not any(rewards) for rewards in listed) / len(listed)
    versions = [ThoughtFolder(dataset_path(folder, number)) for number in (0, 1)]
    assert versions[1].manifest()["parent"]["digest"] == versions[0].manifest()["digest"]
    assert versions[0].manifest()["parent"]["digest"] == thoughts.manifest()["digest"]
    assert list(versions[1].rows())[: first["thoughts"]] == list(versions[0].rows())
    # the same command again, with the last checkpoint gone: the rollouts are there once
    before = folder.rollouts_path.read_bytes()
    (folder.checkpoint(4) / "trainer_state.json").unlink()
    train(chosen, folder, Silent())
    assert folder.rollouts_path.read_bytes() == before
