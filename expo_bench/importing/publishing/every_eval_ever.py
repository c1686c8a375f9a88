"""A run in the schema of Every Eval Ever, 0.3.0 (https://github.com/evaleval/every_eval_ever): results and samples."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from expo_bench.importing.publishing.scores import Scores
from expo_bench.problems import published
from expo_bench.rows import Grade, Manifest, Metric, Problem, Sample
from expo_bench.storage.run_folder import RunFolder

VERSION = "0.3.0"
_OWN_ENGINES = {"transformers", "vllm"}


def evaluation_id(manifest: Manifest) -> str:
    """Return the identifier that results and samples share."""
    return f"{'+'.join(manifest.benchmarks)}/{manifest.model['name']}/{_moment(manifest)}"


def place(manifest: Manifest) -> str:
    """Return the path in the project's repository, without ending: data/BENCHMARK/DEVELOPER/MODEL/UUID."""
    name = str(manifest.model["name"]).strip("/")
    developer, _, model = name.rpartition("/")
    parts = ["+".join(manifest.benchmarks), developer.rpartition("/")[2] or "unknown", model]
    seed = hashlib.sha256(f"{evaluation_id(manifest)}/{manifest.protocol_hash}".encode()).digest()
    return "/".join(
        ["data", *(re.sub(r"[^\w.+-]+", "_", part) for part in parts), str(UUID(bytes=seed[:16], version=4))]
    )


def results(
    told: Sequence[Scores], manifest: Manifest, version: str, organization: str, samples: bytes, file: str
) -> dict[str, Any]:
    """Return the object of `eval.schema.json`.

    Args:
        told: the metrics of each benchmark.
        manifest: the run's.
        version: of expo-bench.
        organization: who evaluated.
        samples: content of the file of samples.
        file: its path in the project's repository.
    """
    model = manifest.model
    return {
        "schema_version": VERSION,
        "evaluation_id": evaluation_id(manifest),
        "evaluation_timestamp": manifest.finished or manifest.started,
        "retrieved_timestamp": _moment(manifest),
        "source_metadata": {
            "source_name": "expo-bench",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "expo-bench", "version": version},
        "model_info": {
            "name": str(model["name"]),
            "id": str(model["name"]),
            "inference_engine": {"name": str(model.get("engine")), "version": str(model.get("engine_version"))},
            "additional_details": {
                "deployment_type": "self_deployed" if model.get("engine") in _OWN_ENGINES else "unknown",
                "model_availability": "unknown",
                **_texts({key: model.get(key) for key in ("revision", "dtype", "weights_digest")}),
            },
        },
        "evaluation_results": [_result(one, metric, manifest) for one in told for metric in one.metrics],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": file,
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(samples).hexdigest(),
            "total_rows": samples.count(b"\n"),
        },
    }


def _result(one: Scores, metric: Metric, manifest: Manifest) -> dict[str, Any]:
    about, protocol = one.about, manifest.protocol
    source: dict[str, Any] = {"dataset_name": one.benchmark, "source_type": "other"}
    if one.dataset is not None:
        source = {"dataset_name": one.benchmark, "source_type": "hf_dataset", "hf_repo": one.dataset.repo}
        source |= {"hf_split": about.get("split"), "samples_number": metric.n_problems}
    arguments = {key: protocol.get(key) for key in ("temperature", "top_p")}
    if protocol.get("max_tokens"):
        arguments["max_tokens"] = protocol["max_tokens"]
    return {
        "evaluation_name": f"{one.benchmark} {metric.name}",
        "source_data": source | {"additional_details": _texts({key: about.get(key) for key in ("revision", "digest")})},
        "metric_config": {
            "evaluation_description": f"{metric.name}, graded by {metric.grader}",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {"score": metric.value or 0.0, "uncertainty": _uncertainty(metric)},
        "generation_config": {
            "generation_args": arguments,
            "additional_details": _texts({"prompt": protocol.get("prompt"), "protocol": manifest.protocol_hash}),
        },
    }


def _uncertainty(metric: Metric) -> dict[str, Any]:
    found: dict[str, Any] = {"num_samples": metric.n_samples}
    if metric.stderr is not None:
        found["standard_error"] = {"value": metric.stderr, "method": "clustered by problem"}
    if metric.ci_low is not None and metric.ci_high is not None:
        bounds = {"lower": metric.ci_low, "upper": metric.ci_high}
        found["confidence_interval"] = {
            **bounds,
            "confidence_level": 0.95,
            "method": "bootstrap over problems, for problems like these",
        }
    return found


def sample_lines(run: RunFolder, manifest: Manifest, grader: str) -> Iterator[bytes]:
    """Yield a line of `instance_level_eval.schema.json` for each sample of a benchmark that may be shown.

    Publishers of gated benchmarks ask that their examples are not shown: theirs are left out.
    """
    problems = {one.problem_id: one for one in run.problems()}
    grades = {(one.problem_id, one.sample_index): one for one in run.grades(grader)}
    for sample in run.samples():
        problem = problems[sample.problem_id]
        known = published(problem.benchmark)
        if known is None or known.access is None:
            row = _instance(problem, sample, grades.get((sample.problem_id, sample.sample_index)), manifest)
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _instance(problem: Problem, sample: Sample, grade: Grade | None, manifest: Manifest) -> dict[str, Any]:
    right = bool(grade and grade.correct)
    told = grade is not None and grade.extracted is not None
    attribution = {"turn_idx": 0, "source": "output.raw", "extracted_value": grade.extracted if grade else None}
    attribution |= {"extraction_method": grade.grader if grade else "", "is_terminal": True}
    facts = {"sample_index": sample.sample_index, "status": grade.status if grade else None, "level": problem.level}
    return {
        "schema_version": VERSION,
        "evaluation_id": evaluation_id(manifest),
        "model_id": str(manifest.model["name"]),
        "evaluation_name": problem.benchmark,
        "sample_id": problem.problem_id,
        "sample_hash": hashlib.sha256(f"{problem.question}{problem.answer}".encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": problem.question, "reference": [problem.answer]},
        "output": {"raw": [sample.text]},
        "answer_attribution": [attribution] if told else [],
        "evaluation": {"score": float(right), "is_correct": right},
        "error": sample.error,
        "metadata": _texts({**facts, "subject": problem.subject, "finish_reason": sample.finish_reason}),
    }


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}


def _moment(manifest: Manifest) -> str:
    return str(int(datetime.fromisoformat(manifest.finished or manifest.started).timestamp()))
