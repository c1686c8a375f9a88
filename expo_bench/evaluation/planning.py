"""A run before its first sample: settings, problems, folder, engine and manifest."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from expo_bench.config import NO_IDENTITY, CandidatesConfig, EvalConfig
from expo_bench.engines.base import Generator
from expo_bench.engines.choosing import engine_name, open_engine
from expo_bench.engines.digest import text_digest
from expo_bench.errors import UserError
from expo_bench.evaluation.drawing import count
from expo_bench.evaluation.progress import Progress
from expo_bench.evaluation.sampling import sampling
from expo_bench.grading.judge import GRADER
from expo_bench.grading.misread import unread_golds
from expo_bench.problems import Loaded, Reading, budget, load_all, select
from expo_bench.prompts import Prompt, explain_prompt, solve_prompt
from expo_bench.rows import Manifest, Problem
from expo_bench.settings import ProblemReading, load_settings, to_yaml
from expo_bench.storage import environment
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import SCHEMA_VERSION, RunFolder

Config = TypeVar("Config", bound=EvalConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run before anything expensive has happened."""

    config: EvalConfig
    run: RunFolder
    problems: list[Problem]
    loaded: list[Loaded]
    """Where the problems come from; empty where the run was begun before."""
    prompt: Prompt
    engine: str
    n_missing: int
    """Samples still to draw."""


def plan(config: EvalConfig, run_path: Path | None = None, results: Path = Path("results")) -> Plan:
    """Load the problems and find out what is left to do; nothing is written.

    Raises:
        UserError: bad input, or the folder holds a run with other settings.
    """
    config = _with_budget(config, run_path)
    prompt = solve_prompt(config.prompt)
    if isinstance(config, CandidatesConfig):
        _check_sources(config)
    run = RunFolder(run_path or results / _run_name(config))
    _check_same_run(run, config)
    if run.manifest_path.is_file():
        # a run that was begun keeps its problems, whatever became of their source
        loaded, problems = [], list(run.problems())
    else:
        loaded = planned_problems(config)
        problems = [problem for one in loaded for problem in one.problems]
    if len({problem.problem_id for problem in problems}) < len(problems):
        if not loaded:
            raise UserError(f"{run.problems_path} holds a problem twice; delete the second line")
        raise UserError(f"benchmarks {', '.join(config.benchmarks)} hold the same problem ids: evaluate them apart")
    return Plan(
        config=config,
        run=run,
        problems=problems,
        loaded=loaded,
        prompt=prompt,
        engine=engine_name(config),
        n_missing=count(sampling(config, prompt).missing(run, problems)),
    )


def warnings(planned: Plan) -> list[str]:
    """Return what is to be known of the problems before a sample is drawn, a line each; nothing of a run begun before.

    The gold answers of a benchmark with a known digest were read when it was taken up.
    """
    found = [line for one in planned.loaded for line in one.warnings]
    strange = [one for one in planned.loaded if one.provenance.get("digest_status") in ("unknown", "changed")]
    for one in strange:
        if unread := unread_golds(problem.answer for problem in one.problems):
            found.append(f"{one.provenance['name']}: {unread}")
    return found


def _check_sources(config: CandidatesConfig) -> None:
    """Look at what candidates are made of before a model is loaded for them."""
    explain_prompt(config.explain_prompt)
    if config.samples is not None:
        RunFolder(config.samples).read_manifest()
    if config.imported is not None and not config.imported.is_file():
        raise UserError(f"{config.imported} is not a file; --import takes JSON lines")


def resume_config(run_path: Path, kind: type[Config]) -> Config:
    """Return the configuration that the run folder was made with, one of candidates as `CandidatesConfig`.

    Raises:
        UserError: the folder holds none.
    """
    path = RunFolder(run_path).config_path
    if not path.is_file():
        RunFolder(run_path).read_manifest()
        raise UserError(f"{run_path} has no config.yaml: its samples were not drawn here, so that none can be added")
    return load_settings(kind, path, {})


def open_planned(planned: Plan, progress: Progress) -> Generator:
    """Load the model of the run in its engine."""
    config = planned.config
    progress.note(f"loading {config.model} ({planned.engine})")
    return open_engine(config)


def _save_plan(planned: Plan) -> None:
    """Write the settings and the problems of a new run; take out of an old one the errors that are drawn again."""
    run = planned.run
    if not run.manifest_path.is_file():
        write_atomically(run.config_path, to_yaml(planned.config))
        run.write_problems(planned.problems)
        return
    if not isinstance(planned.config, CandidatesConfig) and planned.config.n > resume_config(run.path, EvalConfig).n:
        run.write_manifest(replace(run.read_manifest(), status="started", finished=None))
        write_atomically(run.config_path, to_yaml(planned.config))
    if planned.config.redraw_errors and run.has_errors():
        run.write_manifest(replace(run.read_manifest(), status="started", finished=None))
        run.drop_errors()


def finish(run: RunFolder, manifest: Manifest, counts: dict[str, int]) -> None:
    """Write the counts into the manifest, and that the run is finished."""
    if manifest.status != "finished":
        manifest = replace(manifest, status="finished", finished=_now())
    run.write_manifest(replace(manifest, counts=counts))


def begin(planned: Plan, model: dict[str, Any], progress: Progress) -> Manifest:
    """Write settings, problems and manifest of a new run, or check that a stopped one goes on with the same model."""
    _save_plan(planned)
    run = planned.run
    if run.manifest_path.is_file():
        manifest = run.read_manifest()
        before = manifest.model.get("weights_digest")
        if before != model.get("weights_digest"):
            raise UserError(
                f"{run.path} was begun with other weights of {planned.config.model} "
                f"({before}, now {model.get('weights_digest')}); choose another folder with -o"
            )
        if manifest.model != model:
            progress.note("the engine, its version or its options differ from those that this run was begun with")
        return manifest
    protocol = _protocol(planned.config, planned.prompt)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        status="started",
        started=_now(),
        finished=None,
        protocol_hash=_digest(protocol),
        protocol=protocol,
        model=model,
        benchmarks={one.provenance["name"]: one.provenance for one in planned.loaded},
        seed=planned.config.seed,
        environment=environment.describe(),
        counts={},
    )
    run.write_manifest(manifest)
    return manifest


def _with_budget(config: EvalConfig, run_path: Path | None) -> EvalConfig:
    """Return the configuration with the tokens that papers on its benchmarks use, where the user names none."""
    if "max_tokens" in config.model_fields_set:
        return config
    if run_path is not None and RunFolder(run_path).config_path.is_file():
        return config.model_copy(update={"max_tokens": resume_config(run_path, type(config)).max_tokens})
    tokens = budget(config.benchmarks)
    return config if tokens is None else config.model_copy(update={"max_tokens": tokens})


def planned_problems(config: EvalConfig) -> list[Loaded]:
    """Return the problems of each benchmark, those that the run selects.

    Raises:
        UserError: they cannot be had, or none is selected.
    """
    found = load_all(
        config.benchmarks,
        split=config.split,
        data_dir=config.data_dir,
        revision=config.dataset_revision,
        choice_seed=config.choice_seed,
        reading=Reading(**config.reading()),
    )
    return [_selected(config, loaded) for loaded in found]


def _selected(config: EvalConfig, loaded: Loaded) -> Loaded:
    problems = select(
        loaded.problems,
        levels=config.levels,
        subjects=config.subjects,
        limit=config.limit,
        per_level=config.per_level,
        shuffle_seed=config.shuffle_seed,
    )
    provenance = {**loaded.provenance, "n_selected": len(problems)}
    return replace(loaded, problems=problems, provenance=provenance)


def _protocol(config: EvalConfig, prompt: Prompt) -> dict[str, Any]:
    """Return what two runs must share before their numbers are compared."""
    shared = {
        "prompt": prompt.name,
        "prompt_digest": prompt.digest(),
        "chat_template": None if config.template is None else text_digest(config.template),
        "enable_thinking": config.enable_thinking,
        "thinking_tokens": config.thinking_tokens,
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "stop": list(config.stop),
        "grader": GRADER,
    }
    if not isinstance(config, CandidatesConfig):
        return shared
    explain = explain_prompt(config.explain_prompt)
    imported = config.imported and hashlib.sha256(config.imported.read_bytes()).hexdigest()[:12]
    return {
        **shared,
        "explain_prompt": explain.name,
        "explain_prompt_digest": explain.digest(),
        "explain_temperature": config.explained_at,
        "sources": list(config.sources),
        "per_source": config.per_source,
        "imported_digest": imported,
    }


def _digest(value: Any) -> str:
    return text_digest(json.dumps(value, sort_keys=True))


def _run_name(config: EvalConfig) -> str:
    """Return a name that the same command finds again: benchmarks, model, and a digest of all settings."""
    model = config.model.rstrip("/").split("#")[-1].split("/")[-1]
    names = "+".join(Path(name).stem for name in config.benchmarks)
    settings = config.model_dump(mode="json", exclude=NO_IDENTITY)
    # so that runs from before these settings keep their folders
    settings = {key: value for key, value in settings.items() if key not in ProblemReading.model_fields or value}
    if isinstance(config, CandidatesConfig):
        names = f"candidates--{names}"
    return folder_name(f"{names}--{model}", _digest(settings))


def folder_name(label: str, digest: str) -> str:
    """Return a name for a folder: the label's first 80 letters, those that no shell minds, and 8 of the digest."""
    slug = "".join(letter if letter.isalnum() or letter in "+._-" else "-" for letter in label)
    short = slug[:80].encode()[:200].decode(errors="ignore")  # a file system counts bytes, 255 at most
    return f"{short}--{digest[:8]}"


def _check_same_run(run: RunFolder, config: EvalConfig) -> None:
    if not run.config_path.is_file():
        if run.path.is_file():
            raise UserError(f"{run.path} is a file; name a folder with -o")
        if run.path.exists() and not all(path.name.startswith(".") for path in run.path.iterdir()):
            raise UserError(f"{run.path} is not empty and no run folder; choose another folder with -o")
        return
    if run.manifest_path.is_file():
        run.read_manifest()
    there = resume_config(run.path, type(config)).model_dump(mode="json", exclude=NO_IDENTITY)
    wanted = config.model_dump(mode="json", exclude=NO_IDENTITY)
    differing = [key for key in wanted if wanted[key] != there[key]]
    if differing == ["n"] and wanted["n"] > there["n"] and not isinstance(config, CandidatesConfig):
        return  # seeds go by the sample's index: those that are there are the first of the greater run
    if differing:
        raise UserError(
            f"{run.path} holds a run with another {', '.join(differing)}; choose another folder with -o, "
            f"or go on with that run by --resume {run.path}"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
