"""What a user may set of a training run, field by field; what a method makes of it is `recipe`'s."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny

from expo_bench.settings import ProblemReading, Settings, Several
from expo_bench.thoughts.cleaning import Cleaning
from expo_bench.thoughts.selection import Selection


class ExpoTerm(Settings):
    """The self-explanations of expo_dpo and star."""

    per_problem: int = Field(default=1, ge=1)
    """Self-explanations of a problem."""
    filter: Several[Literal["reaches_answer", "no_leak"]] = ("reaches_answer",)
    """What a chain must pass; the paper's filter is not known to us. Truncated chains never pass."""


class Preference(Settings):
    """What DPO learns from."""

    beta: float = Field(default=0.1, gt=0)
    """DPO's inverse temperature."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of log pi(chosen | question) beside the preference."""
    rejected: Literal["wrong", "any"] = "wrong"
    """The policy's own samples that are rejected: wrong ones only, or whatever it drew."""
    pairs_per_problem: int = Field(default=2, ge=1)


class Still(Settings):
    """What STILL-2 (arXiv 2412.09413) imitates, explores and learns from its own rollouts."""

    thoughts: str
    """Imitated in round 0: a folder of `expo-bench thoughts`, or what that reads: a file, `micro` or `solutions`."""
    learn: Literal["sft", "dpo"] = "sft"
    """What the rounds after the first do with right rollouts."""
    start: Literal["backbone", "continued"] = "backbone"
    """Where later rounds start: at the recipe's model, or the policy so far. The paper's choice is not known to us."""
    mask: Literal["thought", "solution", "both"] = "thought"
    """The tokens whose likelihood DPO compares. Thought alone is the paper's best."""
    dpo_learning_rate: float | None = Field(default=None, gt=0)
    """Of DPO's steps; None: the recipe's."""
    problems: int = Field(default=64, ge=1)
    """Explored in a round; each round takes the next ones."""
    rollouts: int = Field(default=20, ge=1)
    """Of a problem, at most."""
    wave: int = Field(default=4, ge=1)
    """Rollouts of a problem that are drawn before it is looked at whether there are enough."""
    enough: int = Field(default=4, ge=1)
    """Right rollouts after which no more are drawn of a problem."""
    cleaning: Cleaning = Cleaning()
    """What every thought must pass, distilled or explored."""
    selection: Selection = Selection()
    """Of the thoughts that are imitated."""
    explored: Selection = Selection()
    """Of a round's right rollouts."""


class Lora(Settings):
    """Low-rank adapters in place of full fine-tuning."""

    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class Evaluation(Settings):
    """How each checkpoint goes back through the harness."""

    mode: Literal["in_process", "queue"] = "in_process"
    """queue: the command of each evaluation is appended to evaluations.sh, for another machine to run."""
    benchmarks: Several[str] = Field(min_length=1)
    split: str | None = None
    levels: Several[int] | None = None
    limit: int | None = Field(default=None, ge=1)
    n: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    """None: as in training."""


class RecipeFields(ProblemReading):
    """All that decides a training run, as far as no method has a say in it; methods see no more of a recipe."""

    method: str
    settings: SerializeAsAny[Settings] = Settings()
    """The method's own, checked by it; files hold them in a section that has its name, or `expo` for ExPO's family."""
    model: str = Field(min_length=1)
    """A hub id, a local folder, or `micro`."""
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the weights; auto: float32 for full fine-tuning, bfloat16 under LoRA where the hardware has it."""

    benchmark: str = Field(min_length=1)
    """The training problems: a benchmark, a file, or OWNER/NAME of the hub."""
    split: str | None = "train"
    """Of a benchmark; a file of yours has none."""
    levels: Several[int] | None = None
    subjects: Several[str] | None = None
    limit: int | None = Field(default=None, ge=1)
    shuffle_seed: int | None = None
    data_dir: Path | None = None
    dataset_revision: str | None = None
    prompt: str = "boxed"
    explain_prompt: str = "self-explain"

    seed: int = 0
    steps: int = Field(default=100, ge=1)
    """Optimizer steps; the paper's number is not known to us."""
    minibatches: int = Field(default=1, ge=1)
    """Optimizer steps among which a batch of rollouts is divided: it has `prompts_per_step` problems for each."""
    iterations: int = Field(default=1, ge=1)
    """Passes over a batch of rollouts."""
    prompts_per_step: int = Field(default=8, ge=1)
    """Problems of a step, over all processes; for the methods that are not online, rows to learn from."""
    num_generations: int = Field(default=8, ge=1)
    """The policy's own rollouts of a problem; for the methods that are not online, own samples of a problem."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Sequences of a forward pass on one device, or pairs of sequences in DPO; None: all that fall to it."""
    max_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=1e-6, gt=0)
    sampler: Literal["slots", "transformers", "vllm"] = "slots"
    """Who draws rollouts: this package's engine (a seed for each, prompts shared), `generate`, or vLLM through TRL."""
    lora: Lora | None = None
    expo: ExpoTerm = ExpoTerm()
    preference: Preference = Preference()
    still: Still | None = None
    rounds: int = Field(default=1, ge=1)
    """Of the methods that are not online. 1: all chains come from the base; more: a round's from the policy so far.
    The first round of still imitates, the others explore."""

    measure_every: int = Field(default=5, ge=1)
    """Of online methods: steps between measurements of the expert chains' likelihood, where the benchmark has them."""
    save_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; None: only the last."""
    evaluation: Evaluation | None = None
    trl: dict[str, Any] = Field(default_factory=dict)
    """Fields of TRL's GRPOConfig, DPOConfig or SFTConfig that are tested, over what is set from the above."""
    trl_unchecked: dict[str, Any] = Field(default_factory=dict)
    """Any other of their fields: it may do nothing here, or something else than it says."""

    @property
    def of_still(self) -> Still:
        """The section still, which its method has."""
        assert self.still is not None
        return self.still

    @property
    def updates_per_batch(self) -> int:
        """Optimizer steps that a batch of rollouts serves."""
        return self.minibatches * self.iterations

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""
        return self.save_every or self.steps
