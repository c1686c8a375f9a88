"""What a run will take before it is begun: tokens, disk and, from a short measured probe, time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from expo_bench.config import CandidatesConfig, EvalConfig
from expo_bench.costs.probing import AT_ONCE, ROW_BYTES, Drawn, Scored, lacking_stages, probe, probe_scoring
from expo_bench.engines.loading import find_model, load_tokenizer
from expo_bench.engines.rendering import chain_ids, problem_ids
from expo_bench.errors import UserError
from expo_bench.evaluation.drawing import Missing, Stage, count
from expo_bench.evaluation.planning import Plan
from expo_bench.evaluation.progress import Progress
from expo_bench.evaluation.sampling import Sampling
from expo_bench.evaluation.spending import CHARACTERS, money, prompt_tokens
from expo_bench.likelihood.pipeline import Policy
from expo_bench.likelihood.sampled_answers import MAX_TOKENS, missing_answers
from expo_bench.likelihood.scoring import missing_likelihoods
from expo_bench.reports.tables import Cell, Row, Table
from expo_bench.reports.terminal import TerminalTable
from expo_bench.rows import Candidate
from expo_bench.storage.run_folder import RunFolder

_TOKEN = 11
"""Bytes of a token in a sample's row: its id in digits, a comma and its text. Seen: 5.6 to 7.9."""
GRADE_BYTES = 200
"""Bytes of a grade's row. Seen: 172."""
_LIKELIHOOD, _SCORED = 650, 13
"""Bytes of a likelihood's row, and of a token in its arrays. Seen: 609, and 12.6."""

_SLOT_ANSWERS = 140
"""Bytes of a row of sampled answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a stage takes; None where it is not known, or there is nothing of the kind."""

    stage: str
    count: int | None = None
    """Completions to draw, chains to score, rows to write."""
    prompt_tokens: int | None = None
    """Those of each problem's prompt once, as the engines compute them; beside a probe, where the tokenizer is here."""
    most_tokens: int | None = None
    tokens: int | None = None
    """Of chains that are there; of completions, expected from the probe."""
    disk: int | None = None
    """Bytes of the stage's rows; without a probe, at most."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run takes, and how that was found."""

    costs: list[Cost]
    notes: list[str]


def run_costs(planned: Plan, seconds: float | None, progress: Progress) -> Estimate:
    """Return what is left to take of an evaluation, or of a run of candidates.

    Args:
        planned: the run; nothing is written into its folder.
        seconds: how long the probe of a stage may take, about; None: no probe.
        progress: is told of the probe.

    Raises:
        UserError: the probe's engine cannot be used, or draws nothing but errors.
    """
    listed = lacking_stages(planned)
    at_once = AT_ONCE * (planned.config.replicas or 1)
    loading, drawn = (None, {}) if seconds is None else probe(planned, seconds, progress, at_once, refilled=True)
    # a plan without a probe stays quick: reading a tokenizer takes the libraries that read models
    wanted = loading is not None and planned.engine != "server"
    tokenizer = _with_template(planned.config) if wanted else None
    costs = [] if loading is None else [Cost(stage="loading the model", seconds=loading)]
    for stage, lacking in listed:
        prompts = None if tokenizer is None else _prompt_tokens(stage, lacking, tokenizer, planned.config)
        costs.append(draw_cost(stage.name, count(lacking), stage.most_tokens, drawn.get(stage.name), prompts))
    notes = [drawn[name].note(name) for name in drawn]
    return Estimate(costs=costs + _row_costs(planned, listed, costs), notes=[*notes, *_money(planned, listed, costs)])


def _money(planned: Plan, listed: Sequence[tuple[Stage, Missing]], costs: Sequence[Cost]) -> list[str]:
    """Return a line that says what the completions cost at most, and where a probe expects it, about."""
    config = planned.config
    if config.price_in is None and config.price_out is None:
        return []
    asked = [(stage.prompt, problem, len(ones)) for stage, lacking in listed for problem, ones in lacking]
    if tokenizer := _with_template(config):
        thinking, how = config.enable_thinking, "by the model's tokenizer"
        n_prompt = sum(len(problem_ids(tokenizer, prompt, one, thinking)) * times for prompt, one, times in asked)
    else:
        how = f"estimated at {CHARACTERS} characters each, since the model's tokenizer is not here"
        n_prompt = sum(prompt_tokens(prompt, [one])[one.problem_id] * times for prompt, one, times in asked)
    most = money(config, n_prompt, sum(cost.most_tokens or 0 for cost in costs))
    expected = sum(cost.tokens or 0 for cost in costs)
    about = money(config, n_prompt, expected) if expected else None
    told = "" if about is None else f", about {about:.4g} expected"
    return [f"cost: at most {most:.4g}{told}; {n_prompt:,} tokens of prompts, {how}"]


def _with_template(config: EvalConfig) -> Any:
    tokenizer = local_tokenizer(config.model, config.revision)
    if tokenizer is not None and config.template is not None:
        tokenizer.chat_template = config.template
    return tokenizer


def draw_cost(stage: str, number: int, most: int, drawn: Drawn | None, prompt_tokens: int | None = None) -> Cost:
    """Return what it takes to draw so many completions of at most so many tokens, by what a probe has seen."""
    cost = Cost(stage=stage, count=number, prompt_tokens=prompt_tokens, most_tokens=number * most)
    if drawn is None:
        return replace(cost, disk=number * ROW_BYTES + number * most * _TOKEN)
    tokens = number * drawn.length
    return replace(cost, tokens=round(tokens), disk=drawn.disk_for(number, tokens), seconds=drawn.seconds_for(tokens))


def _row_costs(planned: Plan, listed: Sequence[tuple[Stage, Missing]], costs: Sequence[Cost]) -> list[Cost]:
    """Return the rows that are written beside those that are drawn; their time is not reckoned."""
    own = sum(count(lacking) for stage, lacking in listed if isinstance(stage, Sampling))
    found = [Cost(stage="grades", count=own, disk=own * GRADE_BYTES)] if own else []
    if isinstance(planned.config, CandidatesConfig) and listed:
        chains = [problem.solution for problem in planned.problems if problem.solution]
        experts = chains if "expert" in planned.config.sources else []
        # what was drawn stands there a second time
        disk = sum(cost.disk or 0 for cost in costs) + sum(ROW_BYTES + len(chain.encode()) for chain in experts)
        found.append(
            Cost(stage="candidates", count=sum(count(lacking) for _, lacking in listed) + len(experts), disk=disk)
        )
    return found


def likelihood_costs(
    run: RunFolder, policies: Sequence[Policy], seconds: float | None, progress: Progress, *, answers: int = 0
) -> Estimate:
    """Return what is left to take of scoring a run's candidates, and of `answers` short ones a slot; as `run_costs`.

    Raises:
        UserError: the folder holds no candidates, or a probe's engine cannot be used.
    """
    if run.read_manifest().status != "finished":
        raise UserError(f"the candidates of {run.path} are not all there; give its expo-bench candidates command again")
    costs, notes = [], []
    for policy in policies:
        lacking = missing_likelihoods(run, policy.name)
        loading, scored = None, None
        if lacking and seconds is not None:
            loading, scored = probe_scoring(run, policy, lacking, seconds, progress)
            costs.append(Cost(stage=f"loading {policy.name}", seconds=loading))
            notes.append(f"{policy.name}: {scored.tokens / scored.seconds:,.0f} tokens/s, {scored.chains} chains")
        costs.append(_scoring_cost(policy, lacking, scored))
        slots = len(missing_answers(run, policy.name, answers)) if answers else 0
        if slots:
            drawn = slots * answers
            stage = f"answers of {policy.name}"
            costs.append(Cost(stage=stage, count=drawn, most_tokens=drawn * MAX_TOKENS, disk=slots * _SLOT_ANSWERS))
            notes += [f"{stage}: not probed, their time is not in the sum"] if seconds is not None else []
    return Estimate(costs=costs, notes=notes)


def _scoring_cost(policy: Policy, lacking: Sequence[Candidate], scored: Scored | None) -> Cost:
    tokens = _chain_tokens(policy, lacking)
    if tokens is None and scored is not None:
        tokens = round(len(lacking) * scored.tokens / scored.chains)
    disk, seconds = None, None
    if tokens is not None and scored is not None:
        disk, seconds = round(tokens * scored.disk / scored.tokens), tokens * scored.seconds / scored.tokens
    elif tokens is not None:
        disk = len(lacking) * _LIKELIHOOD + tokens * _SCORED
    return Cost(stage=f"scoring under {policy.name}", count=len(lacking), tokens=tokens, disk=disk, seconds=seconds)


def _chain_tokens(policy: Policy, lacking: Sequence[Candidate]) -> int | None:
    """Return the tokens of the chains; None where the policy's tokenizer is not at hand."""
    tokenizer = None if "://" in policy.model else local_tokenizer(policy.model, policy.revision)
    if tokenizer is None:
        return None
    # a chain that was cut off gets no end-of-turn
    return sum(
        len(one.token_ids)
        if one.token_ids and one.policy == policy.name
        else len(chain_ids(tokenizer, one.text)) - one.truncated
        for one in lacking
    )


def local_tokenizer(model: str, revision: str | None) -> Any:
    """Return a model's tokenizer where it is on this machine and quickly read, else None."""
    try:
        files = find_model(model, revision)
        return None if files.gguf_file else load_tokenizer(files, local_files_only=True)
    except UserError:
        return None


def _prompt_tokens(stage: Stage, lacking: Missing, tokenizer: Any, config: EvalConfig) -> int:
    thinking = config.enable_thinking
    return sum(len(problem_ids(tokenizer, stage.prompt, problem, thinking)) for problem, _ in lacking)


def table(estimate: Estimate) -> TerminalTable:
    """Return the terminal's table: stages down, what they take across; what nothing is known of is left out."""
    columns = ["to do", "prompt\ntokens", "tokens\nat most", "tokens", "disk", "time"]
    found = []
    for cost in [*estimate.costs, *_total(estimate.costs)]:
        numbers = (cost.count, cost.prompt_tokens, cost.most_tokens, cost.tokens)
        cells = ["" if number is None else f"{number:,}" for number in numbers]
        found.append((cost.stage, [*cells, _size(cost.disk), _duration(cost.seconds)]))
    known = [at for at in range(len(columns)) if any(cells[at] for _, cells in found)]
    rows = [Row(label=stage, depth=2, cells=[Cell(text=cells[at]) for at in known]) for stage, cells in found]
    # prompt tokens are the first to go, then what is at most where something is expected
    spare = [known.index(at) for at in (1, 2) if at in known and (at == 1 or 3 in known)]
    return TerminalTable(Table(caption="", head=["", *(columns[at] for at in known)], rows=rows), spare=spare)


def _total(costs: Sequence[Cost]) -> list[Cost]:
    if len(costs) < 2:
        return []
    disk = [cost.disk for cost in costs if cost.disk is not None]
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    return [Cost(stage="in all", disk=sum(disk) if disk else None, seconds=sum(seconds) if seconds else None)]


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
