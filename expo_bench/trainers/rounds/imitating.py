"""What `still` imitates: thoughts from a dataset folder, a file or the micro world, cleaned, scored and selected."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expo_bench.config import load_candidates_config
from expo_bench.engines.rendering import chain_ids
from expo_bench.errors import UserError
from expo_bench.evaluation.planning import Plan
from expo_bench.evaluation.progress import Progress
from expo_bench.grading.extraction import extract
from expo_bench.likelihood.pipeline import Policy, make_candidates, measure
from expo_bench.problems import Loaded
from expo_bench.prompts import solve_prompt
from expo_bench.rows import Likelihood, Problem, Thought
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder
from expo_bench.thoughts.dataset import ThoughtFolder
from expo_bench.thoughts.making import MICRO, SOLUTIONS, MakeSettings, clean, collect
from expo_bench.thoughts.selection import select
from expo_bench.trainers.recipe import Recipe


def check_thoughts(recipe: Recipe) -> None:
    """See that there is something to imitate, before anything is loaded.

    Raises:
        UserError: there is no such folder or file.
    """
    name = recipe.of_still.thoughts
    if name not in (MICRO, SOLUTIONS) and not Path(name).is_file():
        if not Path(name).is_dir():
            raise UserError(
                f"still.thoughts {name!r} is neither {MICRO} nor {SOLUTIONS}, and no folder of `expo-bench thoughts` "
                "and no file is there"
            )
        ThoughtFolder(name).manifest()


def imitated(
    recipe: Recipe, model: str, tokenizer: Any, run: RunFolder, progress: Progress
) -> tuple[list[Thought], Counter[str]]:
    """Return the thoughts of round 0 with their numbers of tokens, and how many were left out, by reason.

    They have perplexities under `model` where the selection asks for them: the run folder then holds the thoughts as
    imported candidates, and their likelihoods.

    Args:
        recipe: method still.
        model: the backbone.
        tokenizer: the model's.
        run: of round 0.
        progress: told of the scoring.

    Raises:
        UserError: thoughts that cannot be read.
    """
    still = recipe.of_still
    rows, left_out = _read(recipe)
    kept = []
    for row in rows:
        # a set that another run explored may hold the ids of another tokenizer
        own = row.token_ids is not None and tokenizer.decode(row.token_ids, skip_special_tokens=True) == row.text
        ids = row.token_ids if own else None
        n_tokens = len(ids or chain_ids(tokenizer, row.text))
        if n_tokens > recipe.max_tokens:
            left_out["longer than max_tokens"] += 1
        else:
            kept.append(replace(row, token_ids=ids, n_tokens=n_tokens))
    if still.selection.needs_perplexity and kept:
        kept = _scored(recipe, kept, model, run, progress)
    chosen, more = select(kept, still.selection, recipe.seed)
    return chosen, left_out + more


def problem_of(row: Thought) -> Problem:
    """Return the problem that a thought is about; where nobody knows the gold answer, with the thought's own answer.

    That answer fills the slot of `likelihoods`. A chain's perplexity does not depend on it.
    """
    return Problem(
        problem_id=row.problem_id,
        benchmark=row.benchmark,
        split="train",
        question=row.question,
        answer=row.answer or extract(row.text) or "unknown",
        level=row.level,
    )


def likelihoods_by_candidate(
    recipe: Recipe, run: RunFolder, model: str, progress: Progress
) -> dict[tuple[str, str], Likelihood]:
    """Score the candidates of a round's run folder under the policy of its start, with `measuring.measure`."""
    policy = policy_of(recipe, model)
    measure(run, [policy], progress)
    return {(row.problem_id, row.candidate_id): row for row in run.likelihoods(policy.name)}


def policy_of(recipe: Recipe, model: str) -> Policy:
    """Return the model as one that scores; it is the recipe's own, or a checkpoint."""
    revision = recipe.revision if model == recipe.model else None
    return Policy(model=model, revision=revision, dtype=recipe.dtype, engine="transformers")


def _read(recipe: Recipe) -> tuple[list[Thought], Counter[str]]:
    """Return clean thoughts whose answers are right, as far as anybody knows."""
    still = recipe.of_still
    if still.thoughts not in (MICRO, SOLUTIONS) and Path(still.thoughts).is_dir():
        return clean(ThoughtFolder(still.thoughts).rows(), still.cleaning)
    settings = MakeSettings(
        source=still.thoughts,
        benchmark=recipe.benchmark,
        split=recipe.split,
        data_dir=recipe.data_dir,
        dataset_revision=recipe.dataset_revision,
        seed=recipe.seed,
        cleaning=still.cleaning,
    )
    return collect(settings)


def _scored(recipe: Recipe, rows: Sequence[Thought], model: str, run: RunFolder, progress: Progress) -> list[Thought]:
    names = _write_texts(rows, run.path / "thoughts.jsonl")
    problems = list({row.problem_id: problem_of(row) for row in rows}.values())
    settings = {
        "model": model, "revision": recipe.revision, "dtype": recipe.dtype, "engine": "transformers",
        "benchmarks": [recipe.of_still.thoughts], "prompt": recipe.prompt, "sources": ["imported"],
        "imported": run.path / "thoughts.jsonl", "max_tokens": recipe.max_tokens, "seed": recipe.seed,
    }  # fmt: skip
    provenance = {"name": recipe.of_still.thoughts, "split": "train", "n_selected": len(problems)}
    planned = Plan(
        config=load_candidates_config(None, settings),
        run=run,
        problems=problems,
        loaded=[Loaded(problems=problems, provenance=provenance, warnings=[])],
        prompt=solve_prompt(recipe.prompt),
        engine="transformers",
        n_missing=0,
    )
    make_candidates(planned, progress)
    found = likelihoods_by_candidate(recipe, run, model, progress)
    return [with_perplexity(row, found.get((row.problem_id, name))) for row, name in zip(rows, names, strict=True)]


def with_perplexity(row: Thought, found: Likelihood | None) -> Thought:
    """Return the thought as it was scored; without a perplexity where it could not be."""
    return replace(row, perplexity=found.perplexity, policy=found.policy) if found else row


def _write_texts(rows: Iterable[Thought], path: Path) -> list[str]:
    """Write the thoughts for import; return the names that `candidates` gives them."""
    counts: Counter[str] = Counter()
    names, lines = [], []
    for row in rows:
        names.append(f"imported-{counts[row.problem_id]}")
        counts[row.problem_id] += 1
        lines.append(json.dumps({"problem_id": row.problem_id, "text": row.text}) + "\n")
    write_atomically(path, "".join(lines))
    return names
