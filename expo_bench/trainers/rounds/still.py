"""The rounds of STILL-2 (arXiv 2412.09413): imitate thoughts, then explore and learn from what was right.

A round makes a version of the set of thoughts, D_t = D_{t-1} + new, and rows of token ids: all of D_t for SFT; for DPO,
pairs of the round's own rollouts. docs/train-still.md tells what is the paper's and what is ours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.evaluation.planning import Plan
from expo_bench.evaluation.progress import Progress
from expo_bench.likelihood.pipeline import make_candidates
from expo_bench.prompts import solve_prompt
from expo_bench.rows import Problem, Sample, Thought
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.thoughts.cleaning import fault
from expo_bench.thoughts.dataset import ThoughtFolder, write
from expo_bench.thoughts.selection import select
from expo_bench.trainers.data import order
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.recipe_fields import Still
from expo_bench.trainers.rounds.exploring import Graded, explore, graded_rollouts, ledger, rollout_rows, write_ledger
from expo_bench.trainers.rounds.imitating import imitated, likelihoods_by_candidate, problem_of, with_perplexity
from expo_bench.trainers.rounds.pairs import Chain, Row, sequence
from expo_bench.trainers.rounds.thought_pairs import Scores, candidate_key, preference_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a round learns from."""

    rows: list[Row]
    n_problems: int
    left_out: Counter[str]
    facts: dict[str, Any]
    """More for the round's record: thoughts of the version, new ones, and totals of the ledger."""


def dataset_path(folder: TrainingFolder, number: int) -> Path:
    """Return the folder of the version of the thoughts that a round made."""
    return folder.round(number).path / "dataset"


def imitate(recipe: Recipe, folder: TrainingFolder, progress: Progress) -> Material:
    """Make D_0 and its rows."""
    tokenizer = load_tokenizer(find_model(recipe.model, recipe.revision))
    chosen, left_out = imitated(recipe, recipe.model, tokenizer, folder.round(0), progress)
    _write(recipe, folder, 0, chosen, left_out)
    return Material(
        rows=_sequences(recipe, chosen, tokenizer),
        n_problems=len({row.problem_id for row in chosen}),
        left_out=left_out,
        facts={"thoughts": len(chosen), "new": len(chosen)},
    )


def problems_to_explore(recipe: Recipe, problems: Sequence[Problem], number: int) -> list[Problem]:
    """Return the problems of a round, each once; rounds go through the epochs' permutations of all."""
    n = recipe.of_still.problems
    places = order(len(problems), n * number, recipe.seed)[n * (number - 1) :]
    return [problems[place] for place in dict.fromkeys(places)]


def self_improve(
    recipe: Recipe, planned: Plan, number: int, model: str, folder: TrainingFolder, progress: Progress
) -> Material:
    """Explore, make D_t of D_{t-1} and what was right, and the rows of the round.

    Args:
        recipe: method still.
        planned: candidates of the source own on the problems to explore.
        number: of the round, from 1.
        model: the policy that explores.
        folder: of the run.
        progress: told of rollouts and scoring.
    """
    still = recipe.of_still
    problems, run = planned.problems, planned.run
    tokenizer = load_tokenizer(find_model(model, recipe.revision if model == recipe.model else None))
    found = explore(planned, progress, wave=still.wave, enough=still.enough)
    left_out = make_candidates(replace(planned, n_missing=0), progress)
    totals = write_ledger(run.path / "exploration.json", ledger(problems, found), still.rollouts)
    scores: Scores = {}
    if recipe.prefers(number) or still.explored.needs_perplexity:
        scores = likelihoods_by_candidate(recipe, run, model, progress)
    before = list(ThoughtFolder(dataset_path(folder, number - 1)).rows())
    new, more = new_thoughts(
        still, problems, found, before, scores, number=_round_in_set(folder, number), seed=recipe.seed
    )
    left_out += more
    everything = [*before, *new]
    _write(recipe, folder, number, everything, left_out)
    if recipe.prefers(number):
        rows = preference_rows(recipe, problems, found, new, scores, tokenizer, left_out)
    else:
        rows = _sequences(recipe, everything, tokenizer)
    facts = {"thoughts": len(everything), "new": len(new), "explored": totals}
    return Material(rows=rows, n_problems=len(problems), left_out=left_out, facts=facts)


def keep_rollouts(recipe: Recipe, number: int, folder: TrainingFolder) -> None:
    """Write the rollouts that a round explored beside those of the rounds before, where the ledgers look for them."""
    step, run = number * (recipe.steps // recipe.rounds), folder.round(number)
    problems = list(run.problems())
    folder.put_rollouts(step, rollout_rows(problems, graded_rollouts(run, problems), step))


def new_thoughts(
    still: Still,
    problems: Sequence[Problem],
    found: Mapping[str, Graded],
    before: Sequence[Thought],
    scores: Scores,
    *,
    number: int,
    seed: int,
) -> tuple[list[Thought], Counter[str]]:
    """Return the right rollouts that join the thoughts, and how many right ones were left out, by reason.

    Args:
        still: rules of cleaning, and the selection of explored thoughts.
        problems: that were explored; the thoughts are in their order, then in that of the samples.
        found: their graded rollouts.
        before: the thoughts so far.
        scores: of the rollouts, where the selection asks for perplexities.
        number: of the round, as the rows tell it.
        seed: decides which are taken where any would do.
    """
    left_out: Counter[str] = Counter()
    seen = {(row.problem_id, row.text) for row in before}
    kept = []
    for problem in problems:
        for sample, verdict in found[problem.problem_id]:
            if not verdict.correct:
                continue
            why = _fault(problem, sample, still)
            if why is None and (problem.problem_id, sample.text) in seen:
                why = "repeats another thought of the problem"
            if why:
                left_out[f"right, {why}"] += 1
                continue
            seen.add((problem.problem_id, sample.text))
            kept.append(with_perplexity(_thought(problem, sample, number), scores.get(candidate_key(sample))))
    chosen, more = select(kept, still.explored, seed)
    return chosen, left_out + Counter({f"right, {reason}": count for reason, count in more.items()})


def _fault(problem: Problem, sample: Sample, still: Still) -> str | None:
    if sample.finish_reason == "length":
        return "truncated"
    return fault(problem.question, sample.text, still.cleaning)


def _thought(problem: Problem, sample: Sample, number: int) -> Thought:
    return Thought(
        thought_id=f"explored-{number}-{problem.problem_id}-{sample.sample_index}",
        problem_id=problem.problem_id,
        benchmark=problem.benchmark,
        question=problem.question,
        answer=problem.answer,
        level=problem.level,
        text=sample.text,
        token_ids=sample.token_ids,
        source="explored",
        round=number,
        n_tokens=sample.n_tokens,
        perplexity=None,
        policy=None,
        origin=f"round {number}, sample {sample.sample_index}",
    )


def _sequences(recipe: Recipe, thoughts: Sequence[Thought], tokenizer: Any) -> list[Row]:
    prompt = solve_prompt(recipe.prompt)
    rows = []
    for one in thoughts:
        problem = problem_of(one)
        chain = Chain(name=one.thought_id, token_ids=_ids(one, tokenizer))
        rows.append(sequence(problem, problem_ids(tokenizer, prompt, problem), chain))
    return rows


def _ids(row: Thought, tokenizer: Any) -> tuple[int, ...]:
    return row.token_ids or chain_ids(tokenizer, row.text)


def _round_in_set(folder: TrainingFolder, number: int) -> int:
    """Return the round's number in the set of thoughts: one that another run explored counts its rounds on."""
    return number + max((row.round for row in ThoughtFolder(dataset_path(folder, 0)).rows()), default=0)


def _write(
    recipe: Recipe, folder: TrainingFolder, number: int, rows: Sequence[Thought], left_out: Counter[str]
) -> None:
    source = Path(recipe.of_still.thoughts)
    parent = dataset_path(folder, number - 1) if number else source if source.is_dir() else None
    settings = {"round": number, "seed": recipe.seed, "still": recipe.of_still.model_dump(mode="json")}
    write(dataset_path(folder, number), rows, parent=parent, left_out=left_out, settings=settings)
