"""What a user may set of a training run: one YAML file a run, unknown keys refused."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from expo_bench.problems import BENCHMARKS
from expo_bench.settings import ReadingSettings, Settings, Several
from expo_bench.thoughts.cleaning import Cleaning
from expo_bench.thoughts.selection import Selection

Method = Literal["grpo", "expo_grpo", "grpo_expert", "expo_dpo", "dpo_expert", "sft_expert", "star", "still"]
ONLINE: tuple[Method, ...] = ("grpo", "expo_grpo", "grpo_expert")
"""Methods that draw rollouts at every step; the others train on files that the harness makes."""
PREFERENCE: tuple[Method, ...] = ("expo_dpo", "dpo_expert")
"""Methods whose rounds are all DPO; `still` may have such rounds after its first."""


class ExpoTerm(Settings):
    """The auxiliary term beta * log pi(chain, answer | question) of ExP-GRPO (arXiv 2507.02834), and its chains.

    expo_dpo and star take `per_problem` and `filter` alone.
    """

    beta: float = Field(default=0.04, ge=0)
    """0.04 is the paper's best; 0 is GRPO."""
    schedule: Literal["constant", "anneal"] = "constant"
    """anneal: linearly to 0 at the last step."""
    normalise: Literal["tokens", "sequence"] = "tokens"
    """Mean over the chain's tokens, as the policy term's 1/|o|, or their sum. The paper's choice is not known to us."""
    policy: Literal["step", "refreshed", "base"] = "step"
    """Who writes self-explanations: the policy of the step, its copy of every `refresh_every` steps, or the base."""
    refresh_every: int = Field(default=10, ge=1)
    per_problem: int = Field(default=1, ge=1)
    """Self-explanations of a problem; in ExP-GRPO, those that pass the filter share its weight."""
    filter: Several[Literal["reaches_answer", "no_leak"]] = ("reaches_answer",)
    """What a chain must pass; the paper's filter is not known to us. Truncated chains never pass."""
    scope: Literal["all", "no_positive"] = "all"
    """no_positive: only groups whose own rollouts are all wrong."""
    measure_every: int = Field(default=5, ge=1)
    """Steps between measurements of the expert chains' likelihood, where the benchmark has them."""
    warn_after: int = Field(default=10, ge=1)
    """Steps without a chain that passes the filter, before a warning."""


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


class Recipe(ReadingSettings):
    """All that decides a training run. `recipe.yaml` of its folder holds it, resolved."""

    method: Method
    model: str
    """A hub id, a local folder, or `micro`."""
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the weights; auto: float32 for full fine-tuning, bfloat16 under LoRA where the hardware has it."""

    benchmark: str
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

    save_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; None: only the last."""
    evaluation: Evaluation | None = None
    trl: dict[str, Any] = Field(default_factory=dict)
    """Fields of TRL's GRPOConfig, DPOConfig or SFTConfig that are tested, over what is set from the above."""
    trl_unchecked: dict[str, Any] = Field(default_factory=dict)
    """Any other of their fields: it may do nothing here, or something else than it says."""

    @model_validator(mode="before")
    @classmethod
    def _all_of_an_own_file(cls, values: Any) -> Any:
        own = isinstance(values, dict) and values.get("benchmark", "micro") not in BENCHMARKS
        return {"split": None, **values} if own else values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method in ONLINE and self.num_generations < 2:
            raise ValueError("num_generations must be 2 at least: an advantage is a difference within a group")
        if self.method in ("dpo_expert", "sft_expert") and "expo" in self.model_fields_set:
            raise ValueError(f"{self.method} learns from expert chains: take expo out")
        if self.method in ("expo_dpo", "star"):
            used = self.expo.model_dump(include={"per_problem", "filter"})
            idle = [name for name, value in self.expo if value != getattr(ExpoTerm(**used), name)]
            if idle:
                raise ValueError(f"expo.{idle[0]} belongs to expo_grpo and grpo_expert, not to {self.method}")
        if self.method == "grpo" and "expo" in self.model_fields_set:
            raise ValueError("grpo has no auxiliary term: take expo out, or set method to expo_grpo")
        if self.method in ONLINE and self.rounds > 1:
            raise ValueError(f"rounds belong to methods that are not online: {self.method} draws at every step")
        if self.method == "sft_expert" and self.rounds > 1:
            raise ValueError("rounds belong to methods that draw: sft_expert learns from the same in each")
        if self.steps % self.rounds:
            raise ValueError(f"steps ({self.steps}) must be a multiple of rounds ({self.rounds})")
        if self.method not in (*PREFERENCE, "still") and "preference" in self.model_fields_set:
            raise ValueError(f"preference belongs to expo_dpo, dpo_expert and still, not to {self.method}")
        self._check_still()
        if self.aux_beta > 0 and self.temperature != 1:
            raise ValueError(
                f"{self.method} wants temperature 1: TRL divides the logits by it, and the term would be "
                "that of another policy"
            )
        if self.sampler == "vllm" and self.explains and self.expo.policy != "step":
            raise ValueError(
                "expo.policy refreshed and base need sampler slots: vLLM holds the policy of the step only"
            )
        if self.explains and self.expo.policy == "refreshed" and self.checkpoint_every % self.expo.refresh_every:
            raise ValueError("save_every must be a multiple of expo.refresh_every, or a resumed run would differ")
        if self.explains and self.expo.per_problem > self.num_generations:
            raise ValueError("expo.per_problem may not exceed num_generations")
        return self

    def _check_still(self) -> None:
        given = self.still
        if (self.method == "still") != (given is not None):
            raise ValueError("method still and the section still, which names its thoughts, belong together")
        if given is None:
            return
        if "expo" in self.model_fields_set:
            raise ValueError("still has no self-explanations: take expo out")
        # a resolved recipe names all values, so only others than the default can be told from none
        if self.num_generations != type(self).model_fields["num_generations"].default:
            raise ValueError("still draws still.rollouts: take num_generations out")
        if given.enough > given.rollouts:
            raise ValueError(f"still.enough ({given.enough}) may not exceed still.rollouts ({given.rollouts})")
        if given.thoughts == "micro" and self.benchmark != "micro":
            raise ValueError(
                "still.thoughts micro goes with benchmark micro; name a folder of expo-bench thoughts, or a file"
            )
        if given.learn == "dpo" and given.start == "backbone":
            raise ValueError("still.learn dpo wants still.start continued: the backbone writes no thoughts to compare")
        if given.learn == "sft":
            idle = ["preference"] if "preference" in self.model_fields_set else []
            idle += ["still.mask"] if given.mask != "thought" else []
            idle += ["still.dpo_learning_rate"] if given.dpo_learning_rate is not None else []
            if idle:
                raise ValueError(f"{idle[0]} belongs to still.learn dpo: take it out")
        if self.preference.rejected == "any":
            raise ValueError("still rejects wrong rollouts only: take preference.rejected out")

    @property
    def of_still(self) -> Still:
        """The section still, which its method has."""
        assert self.still is not None
        return self.still

    def prefers(self, number: int) -> bool:
        """Return whether round `number` is one of DPO; else it is one of SFT."""
        later = self.still is not None and self.still.learn == "dpo" and number > 0
        return self.method in PREFERENCE or later

    @property
    def explains(self) -> bool:
        """Whether self-explanations are drawn during training."""
        return self.method == "expo_grpo" and self.expo.beta > 0

    @property
    def aux_beta(self) -> float:
        """The auxiliary term's coefficient before its schedule; 0 where the method has none."""
        return self.expo.beta if self.method in ("expo_grpo", "grpo_expert") else 0.0

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""
        return self.save_every or self.steps
