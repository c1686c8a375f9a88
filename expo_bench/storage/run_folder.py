"""The run folder: every path, codec and write. Nobody else opens a result file."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from expo_bench.errors import UserError
from expo_bench.rows import (
    Candidate,
    Grade,
    Likelihood,
    LikelihoodMetric,
    Manifest,
    Metric,
    Problem,
    Sample,
    SlotAnswers,
)
from expo_bench.storage.locking import Lock
from expo_bench.storage.row_files import (
    Row,
    adapter_of,
    drop,
    encode,
    pack,
    read_keys,
    read_rows,
    row_files,
    there,
    write_atomically,
)

SCHEMA_VERSION = 1


class RunFolder:
    """One run on disk. Reading needs no lock; whoever writes holds `lock()`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest_path = self.path / "manifest.json"
        self.config_path = self.path / "config.yaml"
        self.problems_path = self.path / "problems.jsonl"
        self.samples_path = self.path / "samples.jsonl"
        self.metrics_path = self.path / "metrics.json"
        self.report_path = self.path / "report.html"
        self.explanations_path = self.path / "explanations.jsonl"
        self.candidates_path = self.path / "candidates.jsonl"
        self.likelihood_metrics_path = self.path / "likelihood_metrics.json"

    def likelihoods_folder(self, policy: str) -> Path:
        """Return the folder of one policy's token arrays; its rows are in the file of that name with .jsonl behind."""
        return self.path / "likelihoods" / file_name(policy)

    def policy_path(self, policy: str) -> Path:
        """Return the file that says which weights the policy's likelihoods come from."""
        return self.likelihoods_folder(policy) / "policy.json"

    def unscored_path(self, policy: str) -> Path:
        """Return the file that lists the candidates that could not be scored under the policy."""
        return self.likelihoods_folder(policy) / "unscored.json"

    def likelihoods_path(self, policy: str) -> Path:
        """Return the file of one policy's likelihoods."""
        return self.path / "likelihoods" / f"{file_name(policy)}.jsonl"

    def slot_answers_path(self, policy: str) -> Path:
        """Return the file of the answers that the policy drew in the answer's slot."""
        return self.likelihoods_folder(policy) / "answers.jsonl"

    def grades_path(self, grader: str) -> Path:
        """Return the file of one grader's verdicts."""
        return self.path / "grades" / f"{file_name(grader)}.jsonl"

    def lock(self) -> Lock:
        """Take the folder for this process; see `Lock`."""
        return Lock(self.path)

    def settings(self) -> dict[str, Any]:
        """Return what config.yaml holds, as it stands there; nothing where there is none or it cannot be read."""
        return readable_yaml(self.config_path)

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            UserError: there is none, it cannot be read, or a newer expo-bench wrote it.
        """
        if not self.manifest_path.is_file():
            raise UserError(f"{self.path} is not a run folder: it has no manifest.json{_what_it_is(self.path)}")
        text = self.manifest_path.read_bytes()
        try:
            version = json.loads(text).get("schema_version", 0)
            if version > SCHEMA_VERSION:
                raise UserError(
                    f"{self.manifest_path} has schema {version}, this expo-bench reads up to {SCHEMA_VERSION}: upgrade"
                )
            manifest: Manifest = adapter_of(Manifest).validate_json(text)
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self.manifest_path} is damaged: {_reason(error)}; delete it and resume the run"
            ) from error
        return manifest

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically."""
        write_atomically(self.manifest_path, adapter_of(Manifest).dump_json(manifest, indent=1))

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the run."""
        return read_rows(self.problems_path, Problem)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples, in the order in which they were finished."""
        return read_rows(self.samples_path, Sample)

    def sample_keys(self) -> Iterator[tuple[str, int, bool]]:
        """Yield problem id, sample index and whether it ended in an error, of each sample; see `read_keys`."""
        return read_keys(self.samples_path)

    def grades(self, grader: str) -> Iterator[Grade]:
        """Yield one grader's verdicts."""
        return read_rows(self.grades_path(grader), Grade)

    def explanations(self) -> Iterator[Sample]:
        """Yield the chains that the policy wrote when it was shown the answer."""
        return read_rows(self.explanations_path, Sample)

    def candidates(self) -> Iterator[Candidate]:
        """Yield the candidates."""
        return read_rows(self.candidates_path, Candidate)

    def likelihoods(self, policy: str) -> Iterator[Likelihood]:
        """Yield the likelihoods of the candidates under one policy."""
        return read_rows(self.likelihoods_path(policy), Likelihood)

    def slot_answers(self, policy: str) -> Iterator[SlotAnswers]:
        """Yield the counts of answers that one policy drew in the answer's slot."""
        return read_rows(self.slot_answers_path(policy), SlotAnswers)

    def policies(self) -> list[str]:
        """Return the names of the policies under which candidates were scored."""
        firsts = (next(read_rows(path, Likelihood), None) for path in row_files(self.path / "likelihoods"))
        return sorted(row.policy for row in firsts if row)

    def graders(self) -> list[str]:
        """Return the names of the graders that have verdicts here."""
        return [path.stem for path in row_files(self.path / "grades")]

    def has_errors(self) -> bool:
        """Tell whether a sample or a self-explanation ended in an error."""
        return any(failed for path in (self.samples_path, self.explanations_path) for *_, failed in read_keys(path))

    def drop_errors(self) -> None:
        """Remove the samples and self-explanations that ended in an error, and the grades of the former.

        All other lines stay byte for byte. A reader never sees a grade without its sample.
        """
        failed = {(problem, index) for problem, index, ended in self.sample_keys() if ended}
        for grader in self.graders():
            drop(self.grades_path(grader), Grade, lambda row: (row.problem_id, row.sample_index) in failed)
        for path in (self.samples_path, self.explanations_path):
            if there(path):
                drop(path, Sample, lambda row: row.finish_reason == "error")

    def pack(self) -> None:
        """Compress what grows with the samples; whoever reads or goes on need not know."""
        for path in (self.samples_path, self.explanations_path, *map(self.grades_path, self.graders())):
            pack(path)

    def write_problems(self, problems: Iterable[Problem]) -> None:
        """Write the exact problems of the run, once."""
        write_atomically(self.problems_path, b"".join(map(encode, problems)))

    def metrics(self) -> list[Metric]:
        """Return the metrics; an empty list where they were not computed yet.

        Raises:
            UserError: the file is damaged.
        """
        return _read_list(self.metrics_path, Metric, "resume the run")

    def write_metrics(self, metrics: list[Metric]) -> None:
        """Put the metrics in place of those by the same grader, atomically; other graders' stay."""
        graders = {metric.grader for metric in metrics}
        kept = [metric for metric in self.metrics() if metric.grader not in graders]
        write_atomically(self.metrics_path, adapter_of(list[Metric]).dump_json(kept + metrics, indent=1))

    def likelihood_metrics(self) -> list[LikelihoodMetric]:
        """Return the two-property metrics; an empty list where no candidate was scored yet.

        Raises:
            UserError: the file is damaged.
        """
        advice = "give the expo-bench likelihood command again"
        return _read_list(self.likelihood_metrics_path, LikelihoodMetric, advice)

    def scored_model(self, policy: str) -> dict[str, Any] | None:
        """Return what a policy's likelihoods come from, as its engine describes it; None where nothing was scored yet.

        Raises:
            UserError: the file is damaged.
        """
        return _read_object(self.policy_path(policy))

    def write_scored_model(self, policy: str, model: dict[str, Any]) -> None:
        """Write what a policy's likelihoods come from."""
        write_atomically(self.policy_path(policy), json.dumps(model, indent=1))

    def unscored(self, policy: str) -> dict[str, dict[str, str]]:
        """Return why candidates cannot be scored under the policy: problem id -> candidate id -> reason.

        Raises:
            UserError: the file is damaged.
        """
        return _read_object(self.unscored_path(policy)) or {}

    def write_unscored(self, policy: str, reasons: dict[str, dict[str, str]]) -> None:
        """Replace what `unscored` reads, atomically."""
        write_atomically(self.unscored_path(policy), json.dumps(reasons, indent=1))

    def write_likelihood_metrics(self, metrics: list[LikelihoodMetric]) -> None:
        """Replace likelihood_metrics.json atomically."""
        write_atomically(self.likelihood_metrics_path, adapter_of(list[LikelihoodMetric]).dump_json(metrics, indent=1))


def readable_yaml(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds, as it stands there; nothing where there is none or it cannot be read."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_object(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}; delete it and give the command again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: not an object; delete it and give the command again")
    return found


def _read_list(path: Path, row_type: type[Row], advice: str) -> list[Row]:
    if not path.is_file():
        return []
    try:
        rows: list[Row] = adapter_of(list[row_type]).validate_json(path.read_bytes())  # type: ignore[valid-type]
    except ValidationError as error:
        raise UserError(f"{path} is damaged: {_reason(error)}; delete it and {advice}") from error
    return rows


def file_name(name: str) -> str:
    """Return a file name that only this name has."""
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")[-80:]
    return readable if readable == name else f"{readable}--{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _reason(error: Exception) -> str:
    """Return one line, without the input's text and the links that pydantic adds."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()


def _what_it_is(path: Path) -> str:
    """Return what a folder without a manifest is, and where its runs lie."""
    if (path / "recipe.yaml").is_file():
        return f"; it is a training folder, whose checkpoints are evaluated in {path / 'evaluations'}"
    if (path / "curves.json").is_file() or any(path.glob("*/seed-*/recipe.yaml")):
        return f"; it is a study, whose runs lie in {path}/ARM/seed-N/evaluations and whose page is report.html"
    if (path / "ledger.json").is_file():
        return f"; it is a ledger, with its page in {path / 'report.html'}"
    return "" if path.is_dir() else "; there is no such folder"
