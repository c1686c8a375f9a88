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
from expo_bench.trainers.recipe import Recipe

Row = dict[str, Any]
_IGNORED = -100  # the label that torch's cross-entropy leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain of thought that a row may hold."""

    name: str
    """The candidate's id, or the thought's."""
    token_ids: tuple[int, ...]


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a round has of one problem; see `methods.rounds.OfProblem`."""

    recipe: Recipe
    problem: Problem
    candidates: list[Candidate]
    tokenizer: Any
    left_out: Counter[str]

    @property
    def _before(self) -> list[int]:
        return problem_ids(self.tokenizer, solve_prompt(self.recipe.prompt), self.problem)

    def passing(self, *sources: str) -> list[Chain]:
        """Return the chains of these sources that pass the filter, equal ones once."""
        found = []
        for one in self.candidates:
            if one.source in sources:
                why = fault(one, self.recipe.expo.filter)
                if why is None:
                    found.append(_chain(one, self.tokenizer))
                else:
                    self.left_out[f"{one.source}: {why}"] += 1
        distinct = _distinct(found)
        self.left_out["repeats another chain of the problem"] += len(found) - len(distinct)
        return distinct

    def expert(self) -> list[Chain]:
        """Return the benchmark's solution, where there is one that fits."""
        if not self.problem.solution:
            self.left_out["expert: the benchmark has no solution"] += 1
            return []
        ids = chain_ids(self.tokenizer, self.problem.solution)
        if len(ids) > self.recipe.max_tokens:
            self.left_out["expert: longer than max_tokens"] += 1
            return []
        return [Chain(name="expert-0", token_ids=ids)]

    def rejected(self) -> list[Chain]:
        """Return the own samples that are rejected, equal ones once."""
        wrong_only = self.recipe.preference.rejected == "wrong"
        sources = ("own_incorrect",) if wrong_only else ("own_incorrect", "own_correct")
        return _distinct([_chain(one, self.tokenizer) for one in self.candidates if one.source in sources])

    def pairs(self, chosen: Sequence[Chain], rejected: Sequence[Chain]) -> list[Row]:
        """Return rows of DPO."""
        found = paired(self.problem, self._before, chosen, rejected, self.recipe.preference.pairs_per_problem)
        if not chosen:
            self.left_out["problems without a chain to learn from"] += 1
        elif not rejected:
            self.left_out["problems without a sample to reject"] += 1
        elif not found:
            self.left_out["problems whose chosen and rejected chains are the same"] += 1
        return found

    def sequences(self, chains: Sequence[Chain]) -> list[Row]:
        """Return rows of SFT."""
        if not chains:
            self.left_out["problems without a chain to learn from"] += 1
        before = self._before
        return [sequence(self.problem, before, one) for one in chains]


def learning_rows(
    recipe: Recipe, problems: Sequence[Problem], candidates: Iterable[Candidate], tokenizer: Any
) -> tuple[list[Row], Counter[str]]:
    """Return the rows of a round, and how many chains and problems were left out, by reason.

    A row of DPO is a pair: prompt_ids, chosen_ids, rejected_ids. One of SFT is a sequence: input_ids, and labels that
    hide the prompt. All name problem_id and the candidates' ids.

    Args:
        recipe: the method, its filter and its preference.
        problems: those of the round; the rows are in their order.
        candidates: of these problems; a method that draws nothing needs none.
        tokenizer: the policy's.
    """
    by_problem: dict[str, list[Candidate]] = {problem.problem_id: [] for problem in problems}
    for one in candidates:
        by_problem[one.problem_id].append(one)
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    for problem in problems:
        listed = sorted(by_problem[problem.problem_id], key=lambda one: one.candidate_id)
        asked = Asked(recipe=recipe, problem=problem, candidates=listed, tokenizer=tokenizer, left_out=left_out)
        rows += recipe.of_rounds.rows(asked)
    return rows, left_out


def fault(one: Candidate, filters: Sequence[str]) -> str | None:
    """Return why a chain may not be learned from; see `terms.filter_fault`."""
    # the policy's plain samples never saw the answer: where the rules find a leak there, they are wrong
    leaks = one.leaks_answer and not one.source.startswith("own")
    return filter_fault(filters, truncated=one.truncated, reaches=one.reaches_answer, leaks=leaks)


def paired(
    problem: Problem, before: list[int], chosen: Sequence[Chain], rejected: Sequence[Chain], at_most: int
) -> list[Row]:
    """Pair the i-th chosen with the i-th rejected chain; the shorter list begins anew. No pair comes twice."""
    n_pairs = min(at_most, max(len(chosen), len(rejected))) if chosen and rejected else 0
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
