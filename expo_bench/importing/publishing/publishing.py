"""`expo-bench publish`: the files of a run or a checkpoint that others read, and their way to the hub."""

import json
import os
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from expo_bench.errors import UserError
from expo_bench.importing.publishing import every_eval_ever
from expo_bench.importing.publishing.scores import card_section, eval_results, finished, scores, with_section
from expo_bench.storage.row_files import write_atomically
from expo_bench.storage.run_folder import RunFolder

CARD = "README.md"
_OF_TRAINING = ("recipe.yaml", "training.json", "log.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was made of a run."""

    files: dict[str, Path]
    """Path in the model's repository -> file; what the hub takes."""
    others: list[Path]
    """Files for other places: Every Eval Ever."""
    section: str
    """Of the model card."""


def write(run: RunFolder, out: Path, *, grader: str, organization: str) -> Written:
    """Write `.eval_results/`, the card's section and Every Eval Ever's files of a finished run.

    Raises:
        UserError: the run is not finished, or has no metrics by this grader.
    """
    manifest = finished(run)
    told = scores(run, manifest, grader)
    release = version("expo-bench")
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for one in told:
        text = eval_results(one, manifest)
        if text is not None:
            place = f".eval_results/expo-bench_{_slug(one.benchmark)}.yaml"
            files[place] = _put(out / place, text.encode())
    section = card_section(told, manifest, release)
    _put(out / "card-section.md", section.encode())
    samples = b"".join(every_eval_ever.sample_lines(run, manifest, grader))
    place = every_eval_ever.place(manifest)
    rows = _put(out / "every_eval_ever" / f"{place}_samples.jsonl", samples)
    results = every_eval_ever.results(told, manifest, release, organization, samples, f"{place}_samples.jsonl")
    about = _put(out / "every_eval_ever" / f"{place}.json", json.dumps(results, indent=1).encode())
    return Written(files=files, others=[about, rows], section=section)


def checkpoint_files(training: Path, checkpoint: Path, others: list[Path]) -> dict[str, Path]:
    """Return what of a training goes to the hub: a checkpoint's weights, the recipe and record, and named files.

    Raises:
        UserError: no such checkpoint.
    """
    if not any(checkpoint.glob("*.safetensors")):
        raise UserError(f"{checkpoint} holds no weights (*.safetensors); name a folder of {training / 'checkpoints'}")
    weights = {one.name: one for one in checkpoint.iterdir() if one.is_file() and not one.name.startswith(".")}
    weights = {name: one for name, one in weights.items() if one.suffix not in (".pt", ".pth", ".bin")}
    record = {f"training/{name}": training / name for name in _OF_TRAINING if (training / name).is_file()}
    return {**weights, **record, **{f"training/{one.name}": one for one in others}}


def hub_token(repo: str) -> str:
    """Return the token that may write to a model of the hub.

    Raises:
        UserError: the name is none of a model, or there is no token.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UserError(f"{repo!r} names no model of the hub: OWNER/NAME is wanted")
    token = os.environ.get("HF_TOKEN")
    if not token:
        raise UserError("publishing on the hub needs a token that may write: set HF_TOKEN")
    return token


def push(repo: str, files: dict[str, Path], section: str | None, *, message: str, as_pull_request: bool) -> str:
    """Commit files and the card's section to a model of the hub; return the address of the commit or pull request.

    The token is that of HF_TOKEN; HF_ENDPOINT names another hub.

    Raises:
        UserError: there is no token, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=hub_token(repo))
    try:
        if not as_pull_request:
            hub.create_repo(repo, exist_ok=True)
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
        if section is not None and CARD not in files:
            try:
                card = Path(hub.hf_hub_download(repo, CARD, force_download=True)).read_text(encoding="utf-8")
            except EntryNotFoundError:
                card = ""
            content = with_section(card, section).encode()
            operations.append(CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=content))
        done = hub.create_commit(repo, operations, commit_message=message, create_pr=as_pull_request)
    except RepositoryNotFoundError as error:
        raise UserError(f"the hub has no model {repo} that this token may see") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"the hub did not take it: {' '.join(str(error).split())[:300]}") from error
    return done.pr_url or done.commit_url


def _put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path


def _slug(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name)
