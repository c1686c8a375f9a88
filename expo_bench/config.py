"""What a user may set of a run: what opens an engine, which problems, how to sample, and what a run is.

The command line makes its options of these models: a field is an option, the text below it its help.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from expo_bench.errors import UserError, reason
from expo_bench.settings import Chosen, ProblemReading, Settings, Several, load_settings

NO_IDENTITY = {"data_dir", "redraw_errors", "replicas", "ray_address", "compress", "price_in", "price_out", "max_cost"}
"""Settings in which two runs may differ and be the same run."""


class EngineSpec(Settings):
    """All that opens an engine."""

    group: ClassVar[str] = "Model"

    model: str = Field(min_length=1)
    """Hub id, folder, GGUF file, micro, or URL#name of an OpenAI-compatible server."""
    revision: str | None = None
    """Revision of the model on the hub."""
    engine: Literal["auto", "transformers", "vllm", "server"] = "auto"
    """What generates and scores."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Type of the weights."""
    engine_options: dict[str, JsonValue] = Field(default_factory=dict)
    """Handed to the engine as they are: batch_size and device, vllm.LLM's arguments, or the server engine's."""
    chat_template: Path | None = None
    """Jinja file in place of the tokenizer's template."""
    enable_thinking: bool | None = None
    """For chat templates that know it."""
    replicas: int | None = Field(default=None, ge=1)
    """Engines at once, each in an actor of Ray; one, in this process, where it is not given."""
    ray_address: str | None = None
    """With replicas: a running Ray cluster, auto or HOST:PORT."""

    @model_validator(mode="after")
    def _openable(self) -> Self:
        if self.engine == "server" and "#" not in self.model:
            raise ValueError("the server engine takes MODEL as URL#name, for instance http://127.0.0.1:8000/v1#name")
        if "://" in self.model and _holds_secrets(self.model):
            raise ValueError("a server's URL may hold no user, password or query: set OPENAI_API_KEY in their place")
        if self.ray_address is not None and self.replicas is None:
            raise ValueError("a Ray cluster is used for replicas: set their number too (--replicas)")
        if key := next((key for key in self.engine_options if "key" in key.lower()), None):
            raise ValueError(f"engine_options.{key}: keys are taken from the environment (OPENAI_API_KEY) only")
        return self

    @cached_property
    def template(self) -> str | None:
        """The text of `chat_template`; once read it goes where this value goes, as to replicas on other machines.

        Raises:
            UserError: the file cannot be read.
        """
        try:
            return None if self.chat_template is None else self.chat_template.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"chat template {self.chat_template} cannot be read: {reason(error)}") from error

    def options_as(self, kind: type[Chosen]) -> Chosen:
        """Return `engine_options` as the engine's own settings.

        Raises:
            UserError: the engine has no such option, or a value does not fit.
        """
        try:
            return load_settings(kind, None, self.engine_options)
        except UserError as error:
            raise UserError(f"engine_options.{error}") from error


def _holds_secrets(url: str) -> bool:
    # the whole text: a comma in a password would end an endpoint in its middle
    addresses = url.partition("#")[0]
    return "@" in addresses or "?" in addresses


class ProblemsConfig(EngineSpec):
    """Which problems."""

    group: ClassVar[str] = "Problems"

    benchmarks: Several[str] = Field(min_length=1)
    """Names of benchmarks, files, or OWNER/NAME of the hub, with commas between."""
    split: str | None = None
    """Split of the benchmark; test where it is not given."""
    levels: Several[int] | None = None
    """Only these levels, for instance 4,5."""
    subjects: Several[str] | None = None
    """Only these subjects or domains, with commas between."""
    limit: int | None = Field(default=None, ge=1)
    """Problems of each benchmark at most."""
    per_level: int | None = Field(default=None, ge=1)
    """Problems of each level of a benchmark at most."""
    shuffle_seed: int | None = None
    """Shuffle before the limit."""
    data_dir: Path | None = None
    """Folder with benchmark files, in place of the hub; $EXPO_BENCH_DATA where it is not given."""
    dataset_revision: str | None = None
    """Revision of the benchmark on the hub."""
    choice_seed: int = 0
    """Decides the order of the choices of multiple-choice benchmarks."""


class SamplingConfig(ProblemReading, ProblemsConfig):
    """What the policy is asked, and how it is sampled."""

    group: ClassVar[str] = "Sampling"

    prompt: str = "boxed"
    """boxed, qwen-boxed, plain, or a text file with {question}."""
    thinking_tokens: int | None = Field(default=None, ge=1)
    """Own budget for what stands before </think>; max_tokens then counts from there."""
    n: int = Field(default=8, ge=1)
    """Samples a problem."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Share of the probability that is sampled from."""
    max_tokens: int = Field(default=2048, ge=1)
    """Tokens of a completion at most."""
    stop: tuple[str, ...] = ()
    """A string that ends a completion; may be given again."""
    seed: int = 0
    """Decides every sample."""


class EvalConfig(SamplingConfig):
    """All that decides an evaluation. `config.yaml` of a run folder holds it, resolved."""

    group: ClassVar[str] = "Run"

    ks: Several[int] | None = None
    """The k of pass@k and maj@k, for instance 1,4,64; powers of two up to n where they are not given."""
    redraw_errors: bool = False
    """Going on with a run, draw again what ended in an error."""
    compress: bool = False
    """Compress the rows of the finished run; they are read and gone on with as before."""
    price_in: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens, in any currency."""
    price_out: float | None = Field(default=None, ge=0)
    """Price of a million tokens of completions."""
    max_cost: float | None = Field(default=None, gt=0)
    """Stop once so much is spent; what is drawn is kept."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.temperature == 0 and self.n > 1:
            raise ValueError(
                f"temperature 0 is greedy: all n={self.n} samples would be equal; use -n 1 or a temperature"
            )
        if self.ks and max(self.ks) > self.n:
            raise ValueError(f"pass@{max(self.ks)} needs n >= {max(self.ks)}, n is {self.n}")
        if self.max_cost is not None and self.price_in is None and self.price_out is None:
            raise ValueError("max_cost needs prices: price_out, and price_in, of a million tokens each")
        if any(not string for string in self.stop):
            raise ValueError("a stop string may not be empty")
        return self


class CandidatesConfig(EvalConfig):
    """All that decides a run of candidates; `n` counts the policy's own samples of a problem."""

    group: ClassVar[str] = "Candidates"

    n: int = Field(default=4, ge=1)
    """The policy's own samples a problem."""
    sources: Several[Literal["expert", "self_explanation", "own", "rationalised", "imported"]] = Field(
        default=("expert", "self_explanation", "own"), min_length=1
    )
    """Where candidates come from; "own" becomes own_correct and own_incorrect."""
    per_source: int = Field(default=2, ge=1)
    """Self-explanations a problem."""
    explain_prompt: str = "self-explain"
    """self-explain, which shows the gold answer, or a text file with {question} and {answer}."""
    explain_temperature: float | None = Field(default=None, ge=0)
    """Temperature of self-explanations; that of the samples where it is not given."""
    samples: Path | None = None
    """Take own samples and their grades from this finished run; drawn and graded here where it is not given."""
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

    @property
    def explained_at(self) -> float:
        """The temperature of self-explanations."""
        return self.temperature if self.explain_temperature is None else self.explain_temperature

    @model_validator(mode="after")
    def _sources_consistent(self) -> Self:
        if self.thinking_tokens is not None:
            raise ValueError("candidates have no budget of their own for thoughts: leave thinking_tokens out")
        if self.explained_at == 0 and self.per_source > 1:
            raise ValueError("temperature 0 is greedy: all self-explanations would be equal; set per_source to 1")
        if self.max_cost is not None:
            raise ValueError("candidates have no max_cost: --dry-run tells what they cost at most")
        if self.compress:
            raise ValueError("candidates are not compressed: leave compress out")
        if ("imported" in self.sources) != (self.imported is not None):
            raise ValueError("the source imported and the file that --import names belong together")
        return self


def load_config(file: Path | None, settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> EvalConfig:
    """Return the configuration of an evaluation; as `settings.load_settings`."""
    return load_settings(EvalConfig, file, settings, overrides)


def load_candidates_config(
    file: Path | None, settings: Mapping[str, Any], overrides: Sequence[str] = ()
) -> CandidatesConfig:
    """Return the configuration of a run of candidates; as `settings.load_settings`."""
    return load_settings(CandidatesConfig, file, settings, overrides)
