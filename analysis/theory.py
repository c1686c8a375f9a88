"""ExPO's theory, measured: posterior gap, alignment of single samples with grad J, near-orthogonality.

`python -m analysis.theory RUN`; docs/theory.md says what is computed and how.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from analysis import alignment, gradients, orthogonality, posterior, theory_figures, theory_tables
from analysis.posterior import ProblemGain
from analysis.theory_inputs import Scored, Tokens, check_agreement, load_policy, read_inputs
from expo_bench import Problem, UserError

_HELD_BYTES = 500_000_000
_HELD_PER_SOURCE = 2
_RANK_DRAWS = 1000


@dataclass(slots=True)
class Held:
    """Gradients that are kept for the cosines between problems."""

    rows: list[torch.Tensor] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def analyse(
    path: Path,
    *,
    policy: str | None = None,
    layers: str = "",
    limit: int | None = None,
    held: int = 240,
    seed: int = 0,
    draws: int = 10_000,
) -> dict[str, Any]:
    """Compute everything; nothing is written.

    Args:
        path: a run folder with candidates and likelihoods.
        policy: whose likelihoods; may be left out if there is one.
        layers: regular expression that the names of the parameters must hold; "" takes all.
        limit: take gradients of the first so many problems.
        held: gradients kept at most for the cosines, fewer where they would take more than 500 MB.
        seed: of the bootstrap and of which gradients are kept.
        draws: bootstrap resamples of means; ranks and cosines take 1,000 at most.

    Raises:
        UserError: bad run folder, weights that are not those of the run, or a pattern that matches nothing.
    """
    inputs = read_inputs(path, policy)
    model, tokenizer = load_policy(inputs.model)
    parameters = gradients.chosen_parameters(model, layers)
    dimension = sum(one.numel() for one in parameters)
    if dimension < 1_000_000:
        torch.set_num_threads(1)
    tokens, kept, rng = Tokens(inputs, tokenizer), Held(), random.Random(seed)
    room = min(held, _HELD_BYTES // (4 * dimension))
    gains = {one.problem_id: gain for one in inputs.problems if (gain := _gain(one, inputs.scored[one.problem_id]))}
    rows: list[alignment.Aligned] = []
    chosen = inputs.problems[:limit]
    for problem in track(chosen, "gradients", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        opening, answer = tokens.slot(problem)
        chains = tokens.chains(inputs.scored[problem.problem_id], opening)
        found, matrix = gradients.problem_gradients(model, parameters, tokens.prompt(problem), chains, answer)
        check_agreement(inputs, problem.problem_id, found)
        rows += alignment.aligned(problem.problem_id, problem.level, found)
        if problem.problem_id in gains:
            gains[problem.problem_id] = _enumerated(gains[problem.problem_id], found)
        _keep(kept, problem.problem_id, chains, matrix, room, rng)
    few = min(draws, _RANK_DRAWS)
    result = {
        "run": str(path),
        "policy": inputs.policy,
        "model": inputs.model,
        "parameters": {"layers": layers, "tensors": len(parameters), "numbers": dimension},
        "seed": seed,
        "draws": {"means": draws, "ranks and cosines": few},
        "n_problems": {"all": len(inputs.problems), "with gradients": len(chosen)},
        "posterior": posterior.summarise(list(gains.values()), draws=draws, seed=seed),
        "posterior_problems": [asdict(gain) for gain in gains.values()],
        "correlations": alignment.correlations(rows, draws=few, seed=seed),
        "sources": alignment.by_source(rows, draws=draws, seed=seed),
        "likelihood_bins": alignment.likelihood_bins(rows),
        "chains": [asdict(row) for row in rows],
        "cosines": _cosines(kept, dimension, few, seed),
    }
    return result


def _gain(problem: Problem, scored: Sequence[Scored]) -> ProblemGain | None:
    """Return the gains as the likelihood rows alone tell them; None without own chains or self-explanations."""
    own = [one for one in scored if one.candidate.source.startswith("own")]
    explained = [one for one in scored if one.candidate.source == "self_explanation"]
    if not own or not explained:
        return None
    log_own, log_explained = (np.array([one.row.answer_logprob_with for one in part]) for part in (own, explained))
    own_mean, explained_mean = posterior.log_mean(log_own), posterior.log_mean(log_explained)
    gain, log_gain = posterior.sampled_gain(log_own)
    return ProblemGain(
        problem_id=problem.problem_id,
        level=problem.level,
        k=len(own),
        hit=any(one.candidate.source == "own_correct" for one in own),
        own_f=float(np.exp(own_mean)),
        posterior_gain=gain,
        jackknife_gain=posterior.jackknife_gain(log_own),
        measured_gain=float(np.exp(explained_mean) - np.exp(own_mean)),
        log_posterior_gain=log_gain,
        log_measured_gain=explained_mean - own_mean,
    )


def _enumerated(gain: ProblemGain, found: gradients.ProblemGradients) -> ProblemGain:
    """Add what the probabilities of all chains at hand tell."""
    log_weights = gradients.enumerated_weights(found)
    log_p = np.where(np.isneginf(log_weights), -np.inf, found.log_chain)
    log_j = float(np.logaddexp.reduce(log_weights))
    enumerated, log_enumerated = posterior.enumerated_gain(log_p, found.log_answer)
    explained = [at for at, chain in enumerate(found.chains) if chain.source == "self_explanation"]
    repeated = np.repeat(found.log_answer[explained], [found.chains[at].count for at in explained])
    explained_mean = posterior.log_mean(repeated)
    return replace(
        gain,
        enumerated_gain=enumerated,
        enumerated_j=float(np.exp(log_j)),
        enumerated_measured_gain=float(np.exp(explained_mean) - np.exp(log_j)),
        log_enumerated_gain=log_enumerated,
        log_enumerated_measured_gain=explained_mean - log_j,
        coverage=float(np.exp(log_p).sum()),
    )


def _keep(
    kept: Held,
    problem_id: str,
    chains: Sequence[gradients.Chain],
    matrix: torch.Tensor,
    room: int,
    rng: random.Random,
) -> None:
    """Keep up to two gradients of each source, drawn at random, as long as there is room.

    A chain that an earlier source has as well is left out: its cosine with itself says nothing.
    """
    seen: set[tuple[int, ...]] = set()
    for source in sorted({chain.source for chain in chains}):
        places = [at for at, chain in enumerate(chains) if chain.source == source and chain.ids not in seen]
        seen |= {chains[at].ids for at in places}
        for at in rng.sample(places, min(_HELD_PER_SOURCE, len(places))):
            if len(kept.rows) < room:
                kept.rows.append(matrix[at].clone())
                kept.problems.append(problem_id)
                kept.sources.append(source)


def _cosines(kept: Held, dimension: int, draws: int, seed: int) -> dict[str, Any]:
    classes: list[dict[str, Any]] = []
    if len(kept.rows) > 1:
        found = orthogonality.cosines(torch.stack(kept.rows).numpy())
        classes = orthogonality.describe(
            found, kept.problems, kept.sources, dimension=dimension, draws=draws, seed=seed
        )
    quantiles = {str(q): orthogonality.null_quantile(dimension, q) for q in (0.025, *orthogonality.QUANTILES, 0.975)}
    return {"n_gradients": len(kept.rows), "classes": classes, "null": {"dimension": dimension, "quantiles": quantiles}}


def write(result: dict[str, Any], folder: Path) -> None:
    """Write theory.json and the figures into RUN/theory."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [alignment.Aligned(**row) for row in result["chains"]]
    theory_figures.draw_alignment(rows, folder / "figures" / "alignment.svg")
    chance = result["cosines"]["null"]["quantiles"]["0.975"]
    theory_figures.draw_cosines(result["cosines"]["classes"], chance, folder / "figures" / "cosines.svg")
    theory_figures.draw_gains(result["posterior"], folder / "figures" / "gains.svg")
    (folder / "theory.json").write_text(json.dumps(_without_nan(result), indent=1, allow_nan=False), encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; bad input ends with one line on standard error and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m analysis.theory", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder with candidates and likelihoods")
    parser.add_argument("--policy", help="whose likelihoods, where there are several")
    parser.add_argument("--layers", default="", help="regular expression: only parameters whose name holds it")
    parser.add_argument("--limit", type=int, help="gradients of the first so many problems")
    parser.add_argument("--held", type=int, default=240, help="gradients kept for the cosines [240]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=10_000, help="bootstrap resamples [10000]")
    given = vars(parser.parse_args(arguments))
    path = given.pop("run")
    try:
        result = analyse(path, **given)
    except UserError as error:
        sys.stderr.write(f"analysis.theory: {error}\n")
        return 2
    write(result, path / "theory")
    print("\n".join(theory_tables.lines(result)))
    print(path / "theory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
