"""Pairs for the DPO of `still`: right rollouts of high perplexity over wrong ones of low, and which tokens count."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.prompts import solve_prompt
from expo_bench.rows import Likelihood, Problem, Sample, Thought
from expo_bench.thoughts.format import END_THOUGHT, split
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rewards import reward
from expo_bench.trainers.rounds.exploring import Graded
from expo_bench.trainers.rounds.pairs import Chain, Row, paired

Scores = Mapping[tuple[str, str], Likelihood]
"""Problem id and candidate id -> likelihood under the policy that explored; empty where nothing was scored."""


def preference_rows(
    recipe: Recipe,
    problems: Sequence[Problem],
    found: Mapping[str, Graded],
    new: Sequence[Thought],
    scores: Scores,
    tokenizer: Any,
    left_out: Counter[str],
) -> list[Row]:
    """Return pairs of a right rollout of high perplexity and a wrong one of low perplexity of the same problem.

    Right ones are the round's new thoughts. Wrong ones must have whole tags, or nobody could tell thought from
    solution. The i-th of one list is paired with the i-th of the other.

    Args:
        recipe: pairs a problem, and the mask.
        problems: that were explored.
        found: their graded rollouts.
        new: what `new_thoughts` returned.
        scores: of the rollouts.
        tokenizer: the policy's.
        left_out: counts wrong rollouts and problems without a pair, by reason.
    """
    prompt = solve_prompt(recipe.prompt)
    rows: list[Row] = []
    for problem in problems:
        right = [row for row in new if row.problem_id == problem.problem_id and row.perplexity is not None]
        right.sort(key=lambda row: -(row.perplexity or 0.0))
        rejected = _rejected(found[problem.problem_id], scores, tokenizer, left_out)
        chosen = [
            Chain(name=row.thought_id, token_ids=row.token_ids or chain_ids(tokenizer, row.text)) for row in right
        ]
        if not (chosen and rejected):
            left_out["problems without a right rollout" if rejected else "problems without a wrong rollout"] += 1
            continue
        before = problem_ids(tokenizer, prompt, problem)
        rows += paired(problem, before, chosen, rejected, recipe.preference.pairs_per_problem)
    for row in rows:
        for side in ("chosen", "rejected"):
            row[f"{side}_mask"] = token_mask(tokenizer, row[f"{side}_ids"], recipe.of_still.mask)
    return rows


def token_mask(tokenizer: Any, ids: Sequence[int], part: str) -> list[int]:
    """Return 1 for the tokens of a completion that belong to the part, else 0.

    The thought ends with the token that completes its closing tag; all after that, end-of-sequence included, is the
    solution.

    Args:
        tokenizer: decodes.
        ids: of a completion with whole tags.
        part: thought, solution or both.
    """

    def ended(n: int) -> bool:
        return END_THOUGHT in tokenizer.decode(ids[:n], skip_special_tokens=True)

    n_thought = bisect_left(range(len(ids)), True, key=ended)
    within = {"thought": (1, 0), "solution": (0, 1), "both": (1, 1)}[part]
    return [within[0]] * n_thought + [within[1]] * (len(ids) - n_thought)


def candidate_key(sample: Sample) -> tuple[str, str]:
    """Return problem id and candidate id of a sample, as `candidates` names the policy's own."""
    return sample.problem_id, f"own-{sample.sample_index}"


def _rejected(listed: Graded, scores: Scores, tokenizer: Any, left_out: Counter[str]) -> list[Chain]:
    """Return the wrong rollouts of a problem, those of low perplexity first, each text once."""
    wrong: dict[str, Sample] = {}
    for sample, verdict in listed:
        if reward(verdict) != 0.0:
            continue
        if split(sample.text) is None or sample.finish_reason == "length":
            left_out["wrong, tags broken"] += 1
        elif candidate_key(sample) in scores:
            wrong.setdefault(sample.text, sample)
    ranked = sorted(wrong.values(), key=lambda sample: scores[candidate_key(sample)].perplexity)
    return [
        Chain(name=candidate_key(sample)[1], token_ids=sample.token_ids or chain_ids(tokenizer, sample.text))
        for sample in ranked
    ]
