"""Candidates -> what DPO and SFT learn from: token ids, made as the harness makes them.

The prompt is the solve prompt, which does not show the answer. A chain that a policy wrote is the ids that it sampled,
end-of-sequence included; an expert's is its text by itself, end-of-turn appended.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.prompts import solve_prompt
from expo_bench.rows import Candidate, Problem
from expo_bench.trainers.methods.terms import filter_fault
from expo_bench.trainers.recipe import PREFERENCE, Recipe

Row = dict[str, Any]
_IGNORED = -100  # the label that torch's cross-entropy leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain of thought that a row may hold."""

    name: str
    """The candidate's id, or the thought's."""
    token_ids: tuple[int, ...]


def learning_rows(
    recipe: Recipe, problems: Sequence[Problem], candidates: Iterable[Candidate], tokenizer: Any
) -> tuple[list[Row], Counter[str]]:
    """Return the rows of a round, and how many chains and problems were left out, by reason.

    A row of expo_dpo and dpo_expert is a pair: prompt_ids, chosen_ids, rejected_ids. One of sft_expert and star is a
    sequence: input_ids, and labels that hide the prompt. All name problem_id and the candidates' ids.

    Args:
        recipe: the method, its filter and its preference.
        problems: those of the round; the rows are in their order.
        candidates: of these problems; sft_expert needs none.
        tokenizer: the policy's.
    """
    prompt = solve_prompt(recipe.prompt)
    by_problem: dict[str, list[Candidate]] = {problem.problem_id: [] for problem in problems}
    for one in candidates:
        by_problem[one.problem_id].append(one)
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    for problem in problems:
        listed = sorted(by_problem[problem.problem_id], key=lambda one: one.candidate_id)
        positives = _positives(recipe, problem, listed, tokenizer, left_out)
        before = problem_ids(tokenizer, prompt, problem)
        if not positives:
            left_out["problems without a chain to learn from"] += 1
        elif recipe.method in PREFERENCE:
            rejected = _rejected(recipe, listed, tokenizer)
            pairs = paired(problem, before, positives, rejected, recipe.preference.pairs_per_problem)
            if not rejected:
                left_out["problems without a sample to reject"] += 1
            elif not pairs:
                left_out["problems whose chosen and rejected chains are the same"] += 1
            rows += pairs
        else:
            rows += [sequence(problem, before, one) for one in positives]
    return rows, left_out


def fault(one: Candidate, filters: Sequence[str]) -> str | None:
    """Return why a chain may not be learned from; see `terms.filter_fault`."""
    # the policy's plain samples never saw the answer: where the rules find a leak there, they are wrong
    leaks = one.leaks_answer and not one.source.startswith("own")
    return filter_fault(filters, truncated=one.truncated, reaches=one.reaches_answer, leaks=leaks)


def _positives(
    recipe: Recipe, problem: Problem, candidates: Sequence[Candidate], tokenizer: Any, left_out: Counter[str]
) -> list[Chain]:
    if recipe.method in ("sft_expert", "dpo_expert"):
        return _expert(recipe, problem, tokenizer, left_out)
    sources = ("self_explanation",) if recipe.method == "expo_dpo" else ("rationalised", "own_correct")
    found = []
    for one in candidates:
        if one.source in sources:
            why = fault(one, recipe.expo.filter)
            if why is None:
                found.append(_chain(one, tokenizer))
            else:
                left_out[f"{one.source}: {why}"] += 1
    distinct = _distinct(found)
    left_out["repeats another chain of the problem"] += len(found) - len(distinct)
    return distinct


def _expert(recipe: Recipe, problem: Problem, tokenizer: Any, left_out: Counter[str]) -> list[Chain]:
    if not problem.solution:
        left_out["expert: the benchmark has no solution"] += 1
        return []
    ids = chain_ids(tokenizer, problem.solution)
    if len(ids) > recipe.max_tokens:
        left_out["expert: longer than max_tokens"] += 1
        return []
    return [Chain(name="expert-0", token_ids=ids)]


def _rejected(recipe: Recipe, candidates: Sequence[Candidate], tokenizer: Any) -> list[Chain]:
    sources = ("own_incorrect",) if recipe.preference.rejected == "wrong" else ("own_incorrect", "own_correct")
    return _distinct([_chain(one, tokenizer) for one in candidates if one.source in sources])


def paired(
    problem: Problem, before: list[int], chosen: Sequence[Chain], rejected: Sequence[Chain], at_most: int
) -> list[Row]:
    """Pair the i-th chosen with the i-th rejected chain; the shorter list begins anew. No pair comes twice."""
    n_pairs = min(at_most, max(len(chosen), len(rejected))) if rejected else 0
    both = [(chosen[place % len(chosen)], rejected[place % len(rejected)]) for place in range(n_pairs)]
    return [
        {
            "problem_id": problem.problem_id,
            "chosen": good.name,
            "rejected": bad.name,
            "prompt_ids": before,
            "chosen_ids": list(good.token_ids),
            "rejected_ids": list(bad.token_ids),
        }
        for good, bad in both
        if good.token_ids != bad.token_ids
    ]


def sequence(problem: Problem, before: list[int], chain: Chain) -> Row:
    """Return a row of SFT: the chain after its prompt, which the labels hide."""
    after = list(chain.token_ids)
    return {
        "problem_id": problem.problem_id,
        "chain": chain.name,
        "input_ids": before + after,
        "labels": [_IGNORED] * len(before) + after,
    }


def _chain(one: Candidate, tokenizer: Any) -> Chain:
    ids = chain_ids(tokenizer, one.text) if one.token_ids is None else one.token_ids
    return Chain(name=one.candidate_id, token_ids=ids)


def _distinct(chains: Sequence[Chain]) -> list[Chain]:
    """Return the first of equal chains: a policy that is sure of itself writes the same again and again."""
    return list({one.token_ids: one for one in reversed(chains)}.values())[::-1]
