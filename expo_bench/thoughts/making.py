"""From where thoughts come from to a version on disk: read, clean, keep the right ones, select."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import chain_ids
from expo_bench.errors import UserError
from expo_bench.grading.judge import Judge
from expo_bench.problems import Reading, load
from expo_bench.rows import Problem, Thought
from expo_bench.settings import ReadingSettings
from expo_bench.thoughts.cleaning import Cleaning, fault
from expo_bench.thoughts.dataset import ThoughtFolder, write
from expo_bench.thoughts.importing import of_solutions, read_thoughts, right_thoughts
from expo_bench.thoughts.micro import micro_thoughts
from expo_bench.thoughts.selection import Selection, select

MICRO, SOLUTIONS = "micro", "solutions"


class MakeSettings(ReadingSettings):
    """All that decides a set of thoughts that is made of what others wrote."""

    source: str
    """A file of long thoughts, `micro`, or `solutions`: the benchmark's expert solutions."""
    benchmark: str | None = None
    """Whose problems they are: ids, levels, gold answers."""
    split: str | None = "train"
    """Split of the benchmark."""
    data_dir: Path | None = None
    """Folder with benchmark files; as for eval."""
    dataset_revision: str | None = None
    """Revision of the benchmark on the hub."""
    limit: int | None = Field(default=None, ge=1)
    """Problems of the benchmark at most, from its beginning."""
    model: str | None = None
    """Whose tokenizer counts tokens; needed where the selection goes by length."""
    seed: int = 0
    """Decides which are taken where any would do."""
    cleaning: Cleaning = Cleaning()
    selection: Selection = Selection()


def make(settings: MakeSettings, path: Path, parent: Path | None = None) -> ThoughtFolder:
    """Write a set of thoughts; where the folder holds one that was made with the same settings, return that.

    Args:
        settings: where the thoughts come from, and what is taken of them.
        path: the new folder.
        parent: a set whose thoughts come first; the new ones are added.

    Raises:
        UserError: bad input, nothing left, or the folder holds another set.
    """
    folder = ThoughtFolder(path)
    asked = settings.model_dump(mode="json")
    if folder.is_complete:
        # sets of earlier versions do not name these
        later = {"dataset_revision": None, **ReadingSettings().model_dump(mode="json")}
        if {**later, **folder.manifest()["settings"]} == asked:
            return folder
        raise UserError(f"{path} holds a set that was made with other settings; choose another folder with -o")
    if settings.selection.needs_perplexity:
        raise UserError("selection by perplexity needs a policy: give it in the recipe of method still")
    rows, left_out = collect(settings)
    if settings.model:
        rows = counted(rows, settings.model)
    elif settings.selection.min_tokens or settings.selection.max_tokens or settings.selection.per_problem:
        raise UserError("selection by length counts tokens: name the model with -m")
    rows, more = select(rows, settings.selection, settings.seed)
    left_out += more
    before = list(ThoughtFolder(parent).rows()) if parent else []
    there = {row.thought_id for row in before}
    new = [row for row in rows if row.thought_id not in there]
    left_out["is in the parent"] += len(rows) - len(new)
    if not before and not new:
        reasons = "; ".join(f"{count} left out: {reason}" for reason, count in (+left_out).items())
        raise UserError(f"{settings.source}: no thought is left; {reasons or 'there was none'}")
    return write(path, [*before, *new], parent=parent, left_out=+left_out, settings=asked)


def collect(settings: MakeSettings) -> tuple[list[Thought], Counter[str]]:
    """Return the clean and right thoughts of the settings' source, and how many were left out, by reason.

    Raises:
        UserError: no such file, benchmark or split.
    """
    left_out: Counter[str] = Counter()
    if settings.source in (MICRO, SOLUTIONS):
        name = MICRO if settings.source == MICRO else settings.benchmark
        if name is None:
            raise UserError("solutions are those of a benchmark: name it with -b")
        problems = _problems(settings, name)[: settings.limit]
        rows = (
            micro_thoughts(problems, settings.seed) if name == MICRO else of_solutions(problems, f"{name}, solutions")
        )
    else:
        named = Path(settings.source)
        problems = _problems(settings, settings.benchmark) if settings.benchmark else []
        rows, left_out = read_thoughts(
            named,
            benchmark=settings.benchmark or named.stem,
            problems=problems,
            reading=Reading(**settings.reading()),
        )
    rows, dirty = clean(rows, settings.cleaning)
    with Judge() as judge:
        rows, wrong = right_thoughts(rows, judge)
    return rows, left_out + dirty + wrong


def clean(rows: Iterable[Thought], rules: Cleaning) -> tuple[list[Thought], Counter[str]]:
    """Return the thoughts that pass all rules, and the count of the others by the first rule that they break."""
    kept: list[Thought] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        broken = fault(row.question, row.text, rules)
        if broken:
            left_out[broken] += 1
        else:
            kept.append(row)
    return kept, left_out


def counted(rows: Sequence[Thought], model: str) -> list[Thought]:
    """Return the thoughts with their number of tokens, end-of-turn included.

    Raises:
        UserError: the model cannot be found.
    """
    tokenizer = load_tokenizer(find_model(model, None))
    return [replace(row, n_tokens=len(chain_ids(tokenizer, row.text))) for row in rows]


def _problems(settings: MakeSettings, benchmark: str) -> list[Problem]:
    return load(
        benchmark, split=settings.split, data_dir=settings.data_dir, revision=settings.dataset_revision
    ).problems
