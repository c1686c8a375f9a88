"""Problems -> the rows that a trainer reads, in the order in which it reads them."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expo_bench.errors import UserError
from expo_bench.problems import Loaded, Reading, load, select
from expo_bench.prompts import Prompt
from expo_bench.rows import Problem
from expo_bench.storage.row_files import writing
from expo_bench.trainers.recipe import Recipe


def training_problems(recipe: Recipe) -> Loaded:
    """Load the recipe's problems; those without a gold answer are left out and counted in the warnings.

    Raises:
        UserError: no such benchmark, or nothing left to train on.
    """
    loaded = load(
        recipe.benchmark,
        split=recipe.split,
        data_dir=recipe.data_dir,
        revision=recipe.dataset_revision,
        reading=Reading(**recipe.reading()),
    )
    chosen = select(
        loaded.problems,
        levels=recipe.levels,
        subjects=recipe.subjects,
        limit=recipe.limit,
        shuffle_seed=recipe.shuffle_seed,
    )
    problems = [problem for problem in chosen if problem.answer]
    warnings = list(loaded.warnings)
    if len(problems) < len(chosen):
        warnings.append(f"{len(chosen) - len(problems)} problems without a gold answer are left out of training")
    if not problems:
        raise UserError(
            f"{recipe.benchmark} ({recipe.split}) has no problem to train on: {len(loaded.problems)} rows, "
            f"{len(chosen)} after levels, subjects and limit, none with a gold answer"
        )
    return Loaded(problems=problems, provenance=loaded.provenance, warnings=warnings)


def order(n_problems: int, n_wanted: int, seed: int) -> list[int]:
    """Return which problem stands where: the epochs' permutations, one after the other, cut at `n_wanted`.

    It is written out once, so that a run that goes on in the middle of any epoch reads what an uninterrupted one reads.
    """
    places: list[int] = []
    epoch = 0
    while len(places) < n_wanted:
        permutation = list(range(n_problems))
        random.Random(f"{seed}/{epoch}").shuffle(permutation)
        places += permutation
        epoch += 1
    return places[:n_wanted]


def prompt_rows(problems: Sequence[Problem], prompt: Prompt) -> Any:
    """Return a `datasets.Dataset` with a row a problem: prompt (messages, or text without a chat template), index."""
    from datasets import Dataset

    def shown(problem: Problem) -> Any:
        messages = [dict(message) for message in prompt.messages(problem)]
        return messages if prompt.chat else messages[-1]["content"]

    return Dataset.from_dict({"prompt": [shown(one) for one in problems], "index": list(range(len(problems)))})


def save_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as a `datasets.Dataset` folder, in place of what is there.

    Raises:
        UserError: they cannot be written.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    shutil.rmtree(path, ignore_errors=True)
    with writing(path):
        Dataset.from_list(list(rows)).save_to_disk(str(path))


def saved_rows(path: Path) -> Any:
    """Return the `datasets.Dataset` of a folder, by which all processes of a run share what they compute of it."""
    from datasets import disable_progress_bars, load_from_disk

    disable_progress_bars()
    return load_from_disk(str(path))
