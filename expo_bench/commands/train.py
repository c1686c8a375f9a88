"""`expo-bench train`."""

import json
import logging
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expo_bench.commands.dry_runs import ProbeOption, check_probe, estimate, show
from expo_bench.commands.ending import stopped, terminated
from expo_bench.errors import UserError, install

if TYPE_CHECKING:
    from expo_bench.engines.base import Gauge
    from expo_bench.evaluation.progress import Told
    from expo_bench.storage.training_folder import TrainingFolder
    from expo_bench.trainers.recipe import Recipe


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="METHOD|RECIPE", help="A method, or a YAML file as in train/configs/.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Any key of the recipe, for instance expo.beta=0."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Hub id, folder or micro. [default: the recipe's]")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("-b", "--benchmark", help="Benchmark or JSON-lines file. [default: the recipe's]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Training folder. [default: a name under results/]")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved recipe, what a step draws and a memory estimate; stop."),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that --dry-run reckons with. [default: those of the launcher, or 1]"),
    ] = None,
    probe: ProbeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as one JSON object.")] = False,
) -> None:
    """Train a policy: GRPO, ExP-GRPO, ExP-DPO and their rivals, STILL-2.

    METHOD is one that `expo-bench list` shows; what is not set has the defaults of docs/train.md. The same command
    again goes on where a run was stopped. On several devices: accelerate launch -m expo_bench train RECIPE.
    """
    from expo_bench.storage.training_folder import TrainingFolder
    from expo_bench.trainers.libraries import quiet
    from expo_bench.trainers.training import load_recipe

    check_probe(dry_run, probe)
    quiet()
    if dry_run:
        # before the hub's library is imported: a plan asks nobody
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    n_processes = processes or launched if dry_run else launched
    try:
        file, settings = _source(recipe, model, benchmark)
        chosen = load_recipe(file, settings, overrides or [])
        folder = TrainingFolder(out or Path("results") / run_name(file, chosen))
        described = describe(chosen, folder, n_processes, with_problems=dry_run)
    except UserError:
        _only_first_process(2, of_node=True)
        raise
    if dry_run:
        _only_first_process(0)
        _print_plan(chosen, described, probe, as_json)
        return
    _run(chosen, folder, as_json)


def _print_plan(recipe: "Recipe", described: dict[str, Any], probe: float | None, as_json: bool) -> None:
    from dataclasses import asdict

    from expo_bench.costs.recipe_costs import recipe_costs

    on_gpu = described["device"] == "GPU"
    found = estimate(lambda progress: recipe_costs(recipe, probe, progress, known={}, on_gpu=on_gpu))
    if not as_json:
        show(found)
    typer.echo(json.dumps({**described, **asdict(found)}) if as_json else text_of(described))


def _source(word: str, model: str | None, benchmark: str | None) -> tuple[Path | None, dict[str, Any]]:
    """Return the recipe's file, or None where the word is a method's name, and what the command line sets itself."""
    named = {key: value for key, value in (("model", model), ("benchmark", benchmark)) if value is not None}
    if Path(word).suffix in (".yaml", ".yml") or "/" in word or Path(word).is_file():
        return Path(word), named
    return None, {"method": word, **named}


def run_name(file: Path | None, recipe: "Recipe") -> str:
    """Return a name that the same command finds again: recipe or model, method, and a digest of what decides it."""
    from expo_bench.engines.digest import text_digest
    from expo_bench.evaluation.planning import folder_name
    from expo_bench.trainers.training import run_yaml

    stem = file.stem if file else Path(recipe.model).name
    return folder_name(f"{stem}--{recipe.method}", text_digest(run_yaml(recipe)))


def _only_first_process(code: int, *, of_node: bool = False) -> None:
    """End a process that is not the first, or not the first of its machine: that one speaks for all."""
    if int(os.environ.get("LOCAL_RANK" if of_node else "RANK", "0")) > 0:
        raise typer.Exit(code)


def describe(recipe: "Recipe", folder: "TrainingFolder", n_processes: int, *, with_problems: bool) -> dict[str, Any]:
    """Return the resolved recipe, TRL's arguments, work and memory; bad input shows here, before anything is loaded.

    Raises:
        UserError: a key that TRL does not know, numbers that do not divide, no such model.
    """
    from dataclasses import asdict

    import torch
    import yaml

    from expo_bench.costs.estimate import memory, model_size, work
    from expo_bench.trainers.idle import idle_keys
    from expo_bench.trainers.training import recipe_yaml

    trl, *later = _trl_arguments(recipe, folder, n_processes)
    # who asks for vLLM means to train on GPUs, wherever the question is put
    on_gpu = torch.cuda.is_available() or recipe.sampler == "vllm"
    done, size = work(recipe, trl, n_processes), model_size(recipe)
    return {
        "folder": str(folder.path),
        "recipe": yaml.safe_load(recipe_yaml(recipe)),
        "trl": trl,
        "trl_rounds": [_differing(trl, arguments) for arguments in later],
        "idle": idle_keys(recipe),
        "problems": _problems(recipe) if with_problems else None,
        "work": asdict(done),
        "policy": asdict(size),
        "device": "GPU" if on_gpu else "CPU",
        "memory": memory(recipe, size, done, on_gpu=on_gpu),
    }


def _trl_arguments(recipe: "Recipe", folder: "TrainingFolder", n_processes: int) -> list[dict[str, Any]]:
    """Return TRL's arguments, those of each round; TRL has looked at them."""
    from expo_bench.trainers.arguments import grpo_arguments, make_config

    try:
        import trl

        if recipe.is_online:
            found = [(trl.GRPOConfig, grpo_arguments(recipe, folder, n_processes))]
        else:
            from expo_bench.trainers.rounds.learning import round_arguments

            found = [
                (
                    trl.DPOConfig if recipe.prefers(number) else trl.SFTConfig,
                    round_arguments(recipe, number, folder, n_processes),
                )
                for number in range(recipe.rounds)
            ]
        for config, arguments in found:
            make_config(config, arguments)
    except ImportError as error:
        raise UserError(f"training needs more packages ({error}): {install('train')}") from error
    return [arguments for _, arguments in found]


def _differing(first: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in later.items() if key not in first or first[key] != value}


def _problems(recipe: "Recipe") -> str:
    """Return which problems there are; what only another machine may have does not stop a plan."""
    from expo_bench.trainers.callbacks import check_evaluation
    from expo_bench.trainers.checks import checked_problems, is_elsewhere, unless_elsewhere, with_solution
    from expo_bench.trainers.methods.finding import find_method

    with unless_elsewhere():
        check_evaluation(recipe)
    try:
        loaded = checked_problems(recipe)
    except UserError as error:
        if not is_elsewhere(error):
            raise
        return f"not loaded, {str(error).partition(';')[0]}"
    notes = "".join(f"; {warning}" for warning in loaded.warnings)
    if find_method(recipe.method).needs_solutions(recipe):
        notes = f", {with_solution(loaded)} of them with a solution{notes}"
    split = f" ({recipe.split})" if recipe.split else ""
    return f"{len(loaded.problems)} of {recipe.benchmark}{split}{notes}"


def text_of(found: dict[str, Any]) -> str:
    """Return what --dry-run prints: the recipe as YAML, the rest as its comments, and the folder in the last line."""
    import yaml

    done, size, parts = found["work"], found["policy"], found["memory"]
    drawn = f"{done['own']:,} own rollouts, {done['explanations']:,} self-explanations, {done['tokens']:,} tokens"
    known = (
        "unknown" if size["parameters"] is None else f"{size['parameters']:,}, {size['trainable']:,} of them trained"
    )
    lines = [
        *(f"trl.{key}: {value}" for key, value in found["trl"].items()),
        *(f"trl of round {number}: {_listed(one)}" for number, one in enumerate(found["trl_rounds"], start=1)),
        *(f"does nothing: {key} ({why})" for key, why in found["idle"].items()),
        f"problems: {found['problems']}",
        f"a {done['period']}, at most: {drawn}",
        f"the run, at most: {done['periods'] * done['tokens']:,} tokens in {done['periods']:,} {done['period']}s",
        f"forward passes: {done['passes_per_step']} a step on each of {done['processes']} devices, "
        f"{done['sequences_per_pass']} sequences each",
        f"checkpoints: after step {', '.join(map(str, done['checkpoints']))}",
        f"parameters: {known} (from {size['known_from']})",
        f"memory of a {found['device']}, roughly: {_memory_text(parts)}",
    ]
    if done["processes"] > 1:
        lines.append(f"the same under ZeRO-3 or FSDP: {_memory_text(_sharded(parts, done['processes']))}")
    if found["trl"].get("use_vllm") and found["trl"].get("vllm_mode", "colocate") == "colocate":
        share = found["trl"].get("vllm_gpu_memory_utilization", 0.3)
        lines.append(f"vLLM beside it: {share:.0%} of the device for weights and cache")
    comments = "".join(f"# {line}\n" for line in lines)
    return f"{yaml.safe_dump(found['recipe'], sort_keys=False, allow_unicode=True)}{comments}{found['folder']}"


def _listed(differing: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in differing.items()) + "; else as above"


def _sharded(parts: dict[str, int | None], n_processes: int) -> dict[str, int | None]:
    from expo_bench.costs.estimate import sharded

    return sharded(parts, n_processes)


def _memory_text(parts: dict[str, int | None]) -> str:
    return ", ".join(f"{name} {_in_units(size)}" for name, size in parts.items() if size != 0)


def _in_units(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _run(recipe: "Recipe", folder: "TrainingFolder", as_json: bool) -> None:
    from rich.console import Console

    from expo_bench.commands.progress import TerminalProgress
    from expo_bench.engines.vllm.engine import standard_output_to_error
    from expo_bench.trainers.summary import solved, summary
    from expo_bench.trainers.training import train as run_training

    signal.signal(signal.SIGTERM, terminated)
    is_first = int(os.environ.get("RANK", "0")) == 0
    if not is_first:
        logging.getLogger("expo_bench").setLevel(logging.ERROR)
    try:
        with TerminalProgress() if is_first else nullcontext(SilentProgress()) as progress, standard_output_to_error():
            progress.note(f"{recipe.method} of {recipe.model}, {recipe.steps} steps, in {folder.path}")
            record = run_training(recipe, folder, progress)
            if is_first:
                for line in summary(folder):
                    progress.note(line)
    except KeyboardInterrupt:
        _only_first_process(130)
        stopped()
    except UserError:
        _only_first_process(2, of_node=True)
        raise
    except (MemoryError, RuntimeError) as error:
        from expo_bench.engines.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _only_first_process(2, of_node=True)
        raise UserError(
            f"memory ran out ({str(error).partition(chr(10))[0][:120]}): "
            "give the command again with a smaller micro_batch; it goes on from the last checkpoint"
        ) from error
    _only_first_process(0)
    if not as_json and (table := solved(folder)):
        Console(stderr=True, highlight=False).print(table)
    typer.echo(json.dumps({"folder": str(folder.path), **record}) if as_json else str(folder.path))


class SilentProgress:
    """The progress of all processes but the first."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def start(
        self, stage: str, total: int, done: int, gauge: "Gauge | None" = None, beside: "Told | None" = None
    ) -> Callable[[int], None]:
        """Count nothing."""
        return lambda n_tokens: None
