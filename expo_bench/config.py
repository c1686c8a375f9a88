"""What a user may set: one model a command, unknown keys refused; a YAML file, then `key=value` overrides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from expo_bench.errors import UserError

Config = TypeVar("Config", bound=BaseModel)


NO_IDENTITY = {"data_dir", "redraw_errors", "replicas", "ray_address", "compress"}
"""Settings in which two runs may differ and be the same run."""


class EvalConfig(BaseModel):
    """All that decides an evaluation. `config.yaml` of a run folder holds it, resolved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """A hub id, a local folder, a GGUF file, `micro`, or URL#name of an OpenAI-compatible server."""
    revision: str | None = None
    engine: Literal["auto", "transformers", "vllm", "server"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    engine_options: dict[str, JsonValue] = Field(default_factory=dict)
    """Handed to the engine as they are: batch_size and device, vllm.LLM's arguments, or the server engine's."""
    replicas: int | None = Field(default=None, ge=1)
    """Run so many engines at once, each in an actor of Ray; None for one, in this process."""
    ray_address: str | None = None
    """Of a running Ray cluster, "auto" or host:port; None for this machine alone."""

    benchmarks: tuple[str, ...] = Field(min_length=1)
    """Names of benchmarks, or JSON-lines files."""
    split: str | None = None
    levels: tuple[int, ...] | None = None
    subjects: tuple[str, ...] | None = None
    limit: int | None = Field(default=None, ge=1)
    """Problems of each benchmark at most."""
    per_level: int | None = Field(default=None, ge=1)
    """Problems of each level of a benchmark at most."""
    shuffle_seed: int | None = None
    """Shuffle before the limit is applied."""
    data_dir: Path | None = None
    dataset_revision: str | None = None

    prompt: str = "boxed"
    """A named solve prompt, or a text file that holds {question}."""
    chat_template: Path | None = None
    """A Jinja file in place of the tokenizer's own template."""
    enable_thinking: bool | None = None
    thinking_tokens: int | None = Field(default=None, ge=1)
    """A budget of its own for what stands before </think>; max_tokens then counts from there."""

    n: int = Field(default=8, ge=1)
    """Samples a problem."""
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=2048, ge=1)
    stop: tuple[str, ...] = ()
    seed: int = 0
    ks: tuple[int, ...] | None = None
    """The k of pass@k and maj@k; powers of two up to n where None."""
    choice_seed: int = 0
    """Decides the order of the choices of multiple-choice benchmarks."""
    redraw_errors: bool = False
    """When the run is gone on with, draw samples again that ended in an error."""

    compress: bool = False
    """Compress the rows of the run once it is finished; they are read and gone on with as before."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.temperature == 0 and self.n > 1:
            raise ValueError(
                f"temperature 0 is greedy: all n={self.n} samples would be equal; use -n 1 or a temperature"
            )
        if self.ks and max(self.ks) > self.n:
            raise ValueError(f"pass@{max(self.ks)} needs n >= {max(self.ks)}, n is {self.n}")
        if self.engine == "server" and "#" not in self.model:
            raise ValueError("the server engine takes MODEL as URL#name, for instance http://127.0.0.1:8000/v1#name")
        if "://" in self.model and _holds_secrets(self.model):
            raise ValueError("a server's URL may hold no user, password or query: set OPENAI_API_KEY in their place")
        if self.ray_address is not None and self.replicas is None:
            raise ValueError("a Ray cluster is used for replicas: set their number too (--replicas)")
        if key := next((key for key in self.engine_options if "key" in key.lower()), None):
            raise ValueError(f"engine_options.{key}: keys are taken from the environment (OPENAI_API_KEY) only")
        if any(not string for string in self.stop):
            raise ValueError("a stop string may not be empty")
        return self


def _holds_secrets(url: str) -> bool:
    # the whole text: a comma in a password would end an endpoint in its middle
    addresses = url.partition("#")[0]
    return "@" in addresses or "?" in addresses


class CandidatesConfig(EvalConfig):
    """All that decides a run of candidates; `n` counts the policy's own samples of a problem."""

    n: int = Field(default=4, ge=1)
    sources: tuple[Literal["expert", "self_explanation", "own", "rationalised", "imported"], ...] = Field(
        default=("expert", "self_explanation", "own"), min_length=1
    )
    """Where candidates come from; "own" becomes own_correct and own_incorrect."""
    per_source: int = Field(default=2, ge=1)
    """Self-explanations of a problem."""
    explain_prompt: str = "self-explain"
    """The prompt that shows the gold answer, or a text file that holds {question} and {answer}."""
    samples: Path | None = None
    """A finished run whose samples and grades are the policy's own; None to draw and grade them here."""
    imported: Path | None = None
    """JSON lines with "text" and "problem_id" or "question"."""

    @property
    def uses_own(self) -> bool:
        """Whether candidates are made of the policy's own samples."""
        return bool({"own", "rationalised"} & set(self.sources))

    @property
    def draws_own(self) -> bool:
        """Whether these samples are drawn here."""
        return self.uses_own and self.samples is None

    @property
    def explains(self) -> bool:
        """Whether self-explanations are drawn."""
        return bool({"self_explanation", "rationalised"} & set(self.sources))

    @model_validator(mode="after")
    def _sources_consistent(self) -> Self:
        if self.thinking_tokens is not None:
            raise ValueError("candidates have no budget of their own for thoughts: leave thinking_tokens out")
        if self.temperature == 0 and self.per_source > 1:
            raise ValueError("temperature 0 is greedy: all self-explanations would be equal; set per_source to 1")
        if self.compress:
            raise ValueError("candidates are not compressed: leave compress out")
        if ("imported" in self.sources) != (self.imported is not None):
            raise ValueError("the source imported and the file that --import names belong together")
        return self


def load_candidates_config(
    file: Path | None, settings: Mapping[str, Any], overrides: Sequence[str] = ()
) -> CandidatesConfig:
    """Return the configuration of a run of candidates; as `load_config`."""
    return load_settings(CandidatesConfig, file, settings, overrides)


def load_config(file: Path | None, settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> EvalConfig:
    """Return the configuration: the YAML file, then what was set on the command line, then `key=value` overrides.

    Raises:
        UserError: unreadable file, unknown key, or a value that does not fit; one line that names the key.
    """
    return load_settings(EvalConfig, file, settings, overrides)


def load_settings(
    kind: type[Config], file: Path | None, settings: Mapping[str, Any], overrides: Sequence[str] = ()
) -> Config:
    """Return settings of any kind: the YAML file, then `settings`, then `key=value` overrides.

    Raises:
        UserError: as `load_config`.
    """
    values: dict[str, Any] = _read_yaml(file) if file else {}
    values.update(settings)
    for override in overrides:
        _apply(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(_one_line(error, file, kind)) from error


def to_yaml(config: EvalConfig) -> str:
    """Return the resolved configuration; `load_config` reads it back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"config file {file} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config file {file} cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"config file {file} is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"config file {file} must hold `key: value` lines")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"{override!r} is not of the form key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the value of {override!r} is not YAML") from error
    *parents, key = path.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"{override!r}: {parent} holds no keys")
        values = inner
    values[key] = value


def _one_line(error: ValidationError, file: Path | None, kind: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = " ".join(".".join(map(str, first["loc"])).split())  # an unknown key may hold line breaks
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"no such setting; there are {', '.join(kind.model_fields)}"
    elif first["type"] == "missing":
        message = "is not set"
    where = f" (in {file})" if file else ""
    return f"{key}: {message}{where}" if key else f"{message}{where}"
