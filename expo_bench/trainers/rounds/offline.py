"""DPO and SFT in rounds: chains from the harness, rows made of them, and the steps that learn from these.

A round's chains come from the policy of its start. docs/train-offline.md tells what each method learns from.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import PartialState

from expo_bench.config import CandidatesConfig, load_candidates_config
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.errors import UserError
from expo_bench.evaluation.drawing import count, seed_from
from expo_bench.evaluation.planning import Plan, plan
from expo_bench.evaluation.progress import Progress
from expo_bench.evaluation.sampling import sampling
from expo_bench.likelihood.pipeline import make_candidates
from expo_bench.rows import Problem
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder
from expo_bench.storage.training_folder import TrainingFolder
from expo_bench.trainers.data import order, save_rows, saved_rows
from expo_bench.trainers.recipe import Recipe
from expo_bench.trainers.rounds.learning import learn
from expo_bench.trainers.rounds.pairs import learning_rows
from expo_bench.trainers.rounds.still import Material, imitate, keep_rollouts, problems_to_explore, self_improve


def train_offline(recipe: Recipe, problems: list[Problem], folder: TrainingFolder, progress: Progress) -> None:
    """Train to the recipe's last step, from where the folder stands; a round that finds nothing to learn ends the run.

    Raises:
        UserError: the first round finds nothing to learn, or the recipe does not fit model, data or machine.
    """
    state = PartialState()
    per_round = recipe.steps // recipe.rounds
    for number in range(recipe.rounds):
        if max(folder.checkpoints(), default=0) >= (number + 1) * per_round:
            continue
        model = recipe.model if number == 0 else str(folder.checkpoint(number * per_round))
        start = recipe.model if recipe.still and recipe.still.start == "backbone" else model
        if state.is_main_process:
            _prepare(recipe, problems, number, model, folder, progress)
        # not a barrier: drawing takes longer than any barrier waits
        while not record_path(folder, number).is_file():
            time.sleep(1)
        record = json.loads(record_path(folder, number).read_bytes())
        if not record["rows"] and number:
            return
        if not record["rows"]:
            raise UserError(f"{recipe.method} finds nothing to learn from; {_reasons(record['left_out'])}")
        learn(recipe, saved_rows(_rows_path(folder, number)), number, start, folder, progress)
        state.wait_for_everyone()


def record_path(folder: TrainingFolder, number: int) -> Path:
    """Return the file that says what a round learns from; it is written when all of that is there."""
    return folder.round(number).path / "learning.json"


def records(folder: TrainingFolder) -> list[dict[str, Any]]:
    """Return what the rounds so far learned from: policy, problems, rows, left_out, generated_tokens."""
    found: list[dict[str, Any]] = []
    while (path := record_path(folder, len(found))).is_file():
        found.append(json.loads(path.read_bytes()))
    return found


def _rows_path(folder: TrainingFolder, number: int) -> Path:
    return folder.round(number).path / "rows"


def _prepare(
    recipe: Recipe, problems: Sequence[Problem], number: int, model: str, folder: TrainingFolder, progress: Progress
) -> None:
    """Make the round's candidates, rows and record, unless they are there."""
    if record_path(folder, number).is_file():
        record = json.loads(record_path(folder, number).read_bytes())
    else:
        record = _make(recipe, problems, number, model, folder, progress)
        write_atomically(record_path(folder, number), json.dumps(record, indent=1))
    if recipe.still is not None and number:
        # a run that goes on from the round's first step has cut them off
        keep_rollouts(recipe, number, folder)
    _tell(recipe, number, record, progress)


def _make(
    recipe: Recipe, problems: Sequence[Problem], number: int, model: str, folder: TrainingFolder, progress: Progress
) -> dict[str, Any]:
    n_places = recipe.prompts_per_step * (recipe.steps // recipe.rounds)
    run = folder.round(number)
    found = _material(recipe, problems, number, model, folder, progress)
    if found.rows:
        places = order(len(found.rows), n_places, seed_from(recipe.seed, number, 0, "rows", 0))
        save_rows([found.rows[place] for place in places], _rows_path(folder, number))
    return {
        "round": number,
        "policy": model,
        "problems": found.n_problems,
        "rows": len(found.rows),
        "places": n_places,
        "left_out": dict(found.left_out),
        "generated_tokens": _generated_tokens(run),
        **found.facts,
    }


def _material(
    recipe: Recipe, problems: Sequence[Problem], number: int, model: str, folder: TrainingFolder, progress: Progress
) -> Material:
    if recipe.still is not None:
        if number == 0:
            return imitate(recipe, folder, progress)
        chosen = problems_to_explore(recipe, problems, number)
        n = recipe.still.rollouts
        planned = _planned(recipe, chosen, number, model, folder.round(number), n)
        return self_improve(recipe, planned, number, model, folder, progress)
    chosen = round_problems(recipe, problems, number)
    run = folder.round(number)
    left_out: Counter[str] = Counter()
    if recipe.of_rounds.sources:
        left_out += make_candidates(_planned(recipe, chosen, number, model, run, recipe.num_generations), progress)
    files = find_model(model, recipe.revision if number == 0 else None)
    rows, more = learning_rows(recipe, chosen, run.candidates(), load_tokenizer(files))
    return Material(rows=rows, n_problems=len(chosen), left_out=left_out + more, facts={})


def round_problems(recipe: Recipe, problems: Sequence[Problem], number: int) -> list[Problem]:
    """Return the problems that an online method would meet in the round's steps, each once."""
    n_places = recipe.prompts_per_step * (recipe.steps // recipe.rounds)
    places = order(len(problems), n_places * (number + 1), recipe.seed)[n_places * number :]
    return [problems[place] for place in dict.fromkeys(places)]


def _planned(recipe: Recipe, problems: list[Problem], number: int, model: str, run: RunFolder, n: int) -> Plan:
    """Return the round's run of candidates: `n` own samples of each of these problems."""
    planned = plan(_candidates_config(recipe, number, model, n), run.path)
    return replace(
        planned,
        problems=problems,
        n_missing=count(sampling(planned.config, planned.prompt).missing(run, problems)),
        loaded=[replace(one, provenance={**one.provenance, "n_selected": len(problems)}) for one in planned.loaded],
    )


def _candidates_config(recipe: Recipe, number: int, model: str, n: int) -> CandidatesConfig:
    settings = {
        "model": model, "revision": recipe.revision if number == 0 else None, "dtype": recipe.dtype,
        "engine": "vllm" if recipe.sampler == "vllm" else "transformers",
        "benchmarks": [recipe.benchmark], "split": recipe.split, "levels": recipe.levels, "subjects": recipe.subjects,
        "limit": recipe.limit, "shuffle_seed": recipe.shuffle_seed, "data_dir": recipe.data_dir,
        "dataset_revision": recipe.dataset_revision, "prompt": recipe.prompt, "explain_prompt": recipe.explain_prompt,
        "n": n, "per_source": recipe.expo.per_problem, "sources": recipe.of_rounds.sources,
        "temperature": recipe.temperature, "max_tokens": recipe.max_tokens,
        "seed": seed_from(recipe.seed, number, 0, "candidates", 0),
    }  # fmt: skip
    return load_candidates_config(None, settings)


def _generated_tokens(run: RunFolder) -> dict[str, int]:
    drawn = {"own": run.samples(), "self_explanation": run.explanations()}
    counts = {source: sum(row.n_tokens or 0 for row in rows) for source, rows in drawn.items()}
    return {source: count for source, count in counts.items() if count}


def _tell(recipe: Recipe, number: int, record: dict[str, Any], progress: Progress) -> None:
    rows, places = record["rows"], record["places"]
    if rows:
        share = f"each is used {places / rows:.1f} times" if rows < places else f"{places} of them are used"
        progress.note(f"round {number}: {rows} rows from {record['problems']} problems; {share}")
    elif number:
        step = number * (recipe.steps // recipe.rounds)
        progress.note(f"round {number} finds nothing to learn from; training ends after step {step}")
    if record["left_out"]:
        progress.note(f"round {number}: {_reasons(record['left_out'])}")


def _reasons(left_out: dict[str, int]) -> str:
    return "left out: " + "; ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
