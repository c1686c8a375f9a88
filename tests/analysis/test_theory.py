"""analysis.theory against numbers computed by hand, exact enumeration and finite differences."""

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import expo_bench
from analysis import alignment, gradients, orthogonality, posterior, resampling, theory
from tests import command_line

ROOT = Path(__file__).resolve().parents[2]
PROMPT, ANSWER = (2, 3), (1,)


def test_gain_by_hand() -> None:
    # f = 0.1, 0.1, 0.4: E f = 0.2, E f^2 = 0.06, gain 0.3 - 0.2, Var / E = 0.02 / 0.2
    gain, log_gain = posterior.sampled_gain(np.log([0.1, 0.1, 0.4]))
    assert gain == pytest.approx(0.1) == pytest.approx(np.var([0.1, 0.1, 0.4]) / 0.2)
    assert log_gain == pytest.approx(math.log(0.3 / 0.2))


def test_gain_is_the_expectation_under_bayes_rule() -> None:
    # three chains, two answers: pi(c|q), and pi(a|q,c) with the gold answer in column 0
    chain, answers = np.array([0.7, 0.2, 0.1]), np.array([[0.05, 0.95], [0.5, 0.5], [0.9, 0.1]])
    gold = sum(chain[c] * answers[c, 0] for c in range(3))
    bayes = [chain[c] * answers[c, 0] / gold for c in range(3)]
    assert gold == pytest.approx(0.225) and bayes == pytest.approx([0.035 / 0.225, 0.1 / 0.225, 0.09 / 0.225])
    expected = sum(bayes[c] * answers[c, 0] for c in range(3))
    gain, log_gain = posterior.enumerated_gain(np.log(chain), np.log(answers[:, 0]))
    assert gain == pytest.approx(expected - gold)
    assert log_gain == pytest.approx(math.log(expected / gold))


def test_gain_without_underflow() -> None:
    low = posterior.sampled_gain(np.array([-900.0, -900.0 - math.log(3)]))
    # the ratio does not depend on the scale: f = 3, 1: E f^2 / (E f)^2 = 5 / 4
    assert low == (0.0, pytest.approx(math.log(5 / 4)))


def test_jackknife_by_hand() -> None:
    # f = 0.2, 0.4: gain 0.1/0.3 - 0.3 = 1/30; without either chain 0: 2/30 - 0
    assert posterior.jackknife_gain(np.log([0.2, 0.4])) == pytest.approx(2 / 30)
    assert posterior.jackknife_gain(np.log([0.2])) is None


def test_spearman_agrees_with_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    x, y = rng.integers(5, size=40).astype(float), rng.normal(size=40)
    assert resampling.spearman(x, y + x) == pytest.approx(spearmanr(x, y + x).statistic)
    found = resampling.spearman_interval(x, y + x, np.arange(40) // 4, draws=200, seed=0)
    assert found.ci_low < found.value < found.ci_high and found.n_problems == 10


@pytest.fixture(scope="module")
def tiny() -> LlamaForCausalLM:
    """A random model in double precision with four tokens. Chains are two tokens long: there are sixteen."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, initializer_range=0.7,
    )  # fmt: skip
    return LlamaForCausalLM(config).double().eval()


def _chains(counts: Sequence[int] = (1,) * 16) -> list[gradients.Chain]:
    return [
        gradients.Chain(
            candidate_id=f"own-{at}", source="own_incorrect", count=count, reaches_answer=False, ids=ids, cut=ids
        )
        for at, (ids, count) in enumerate(zip(product(range(4), repeat=2), counts, strict=False))
    ]


def _objective(model: LlamaForCausalLM) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for chain in product(range(4), repeat=2):
        total = total + gradients.token_logprobs(model, PROMPT, (*chain, *ANSWER)).sum().exp()
    return total


def test_token_logprobs_are_the_softmax(tiny: LlamaForCausalLM) -> None:
    with torch.no_grad():
        logits = tiny(torch.tensor([[2, 3, 0, 1]])).logits[0]
        wanted = [float(torch.softmax(logits[at], -1)[token].log()) for at, token in ((1, 0), (2, 1), (3, 1))]
        assert gradients.token_logprobs(tiny, PROMPT, (0, 1, 1)).tolist() == pytest.approx(wanted)


def test_gradient_of_j_against_finite_differences(tiny: LlamaForCausalLM) -> None:
    parameters = gradients.chosen_parameters(tiny, "q_proj|down_proj")
    found, g = gradients.problem_gradients(tiny, parameters, PROMPT, _chains(), ANSWER)
    weights = np.exp(gradients.enumerated_weights(found))
    assert weights.sum() == pytest.approx(float(_objective(tiny).detach()))
    # chains are not cut here, so the products with h are products with the gradient of J
    ascent = torch.from_numpy(found.cross @ weights)
    tolerance = 1e-3 * float(ascent.abs().max())
    step = 1e-4  # parts of the model compute in single precision: a smaller step would see its noise
    for at in range(4):
        flat = torch.cat([one.detach().reshape(-1).clone() for one in parameters])
        values = []
        for sign in (1, -1):
            torch.nn.utils.vector_to_parameters(flat + sign * step * g[at], parameters)
            values.append(float(_objective(tiny).detach()))
        torch.nn.utils.vector_to_parameters(flat, parameters)
        # the derivative of J along g(s) is <grad J, g(s)>
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(ascent[at]), abs=tolerance)


def test_gradient_of_j_against_autograd(tiny: LlamaForCausalLM) -> None:
    parameters = gradients.chosen_parameters(tiny, "")
    exact = gradients.flat_gradient(_objective(tiny), parameters)
    found, g = gradients.problem_gradients(tiny, parameters, PROMPT, _chains(), ANSWER)
    rows = alignment.aligned("p", 1, found)
    for row, own in zip(rows, g, strict=True):
        assert row.alignment == pytest.approx(float(exact @ own), rel=1e-5)
        assert row.cosine == pytest.approx(float(exact @ own / exact.norm() / own.norm()), rel=1e-5)


def test_own_chains_estimate_without_bias(tiny: LlamaForCausalLM) -> None:
    found, _ = gradients.problem_gradients(tiny, gradients.chosen_parameters(tiny, ""), PROMPT, _chains(), ANSWER)
    p = np.exp(found.log_chain)
    assert p.sum() == pytest.approx(1)
    exact = found.cross @ np.exp(gradients.enumerated_weights(found))
    expected = np.zeros(16)
    for first, second in product(range(16), repeat=2):
        counts = np.bincount([first, second], minlength=16)
        drawn = replace(found, chains=tuple(_chains(counts.tolist())))
        expected += p[first] * p[second] * (found.cross @ np.exp(gradients.own_weights(drawn)))
        # with its own draw left out, the first chain is compared with the second alone
        others = np.exp(gradients.own_weights(drawn, without=first))
        assert np.flatnonzero(others).tolist() == [second]
        assert others[second] == pytest.approx(np.exp(found.log_answer[second]))
    assert expected == pytest.approx(exact, rel=1e-5)
    # the scores of all chains of a problem cancel
    assert p @ found.cross == pytest.approx(np.zeros(16), abs=1e-5)


def test_own_weights_leave_one_draw_out(tiny: LlamaForCausalLM) -> None:
    found, _ = gradients.problem_gradients(
        tiny, gradients.chosen_parameters(tiny, "norm"), PROMPT, _chains((3, 1, 1, 1)), ANSWER
    )
    f = np.exp(found.log_answer)
    assert np.exp(gradients.own_weights(found)) == pytest.approx(f * [0.5, 1 / 6, 1 / 6, 1 / 6])
    assert np.exp(gradients.own_weights(found, without=0)) == pytest.approx(f * [0.4, 0.2, 0.2, 0.2])
    assert np.exp(gradients.own_weights(found, without=1)) == pytest.approx(f * [0.6, 0, 0.2, 0.2])


def test_layers_that_do_not_exist(tiny: LlamaForCausalLM) -> None:
    for pattern in ("nowhere", "("):
        with pytest.raises(expo_bench.UserError, match="--layers"):
            gradients.chosen_parameters(tiny, pattern)


def test_cosine_null_against_random_vectors() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 20)).astype(np.float32)
    pairs = orthogonality.cosines(vectors)[np.triu_indices(600, k=1)]
    for q in (0.05, 0.5, 0.975):
        assert orthogonality.null_quantile(20, q) == pytest.approx(np.quantile(pairs, q), abs=0.01)
    # a large dimension: normal with standard deviation 1/sqrt(D)
    assert orthogonality.null_quantile(349_536, 0.975) == pytest.approx(1.95996 / math.sqrt(349_536), rel=1e-3)


def test_cosines_by_class_of_pair() -> None:
    vectors = np.array([[1, 0], [1, 1], [0, 1], [-1, 0]], dtype=np.float32)
    found = orthogonality.cosines(vectors)
    rows = orthogonality.describe(found, ["a", "a", "b", "b"], ["x", "y", "x", "y"], dimension=2, draws=50, seed=0)
    means = {row["pairs"]: (row["n_pairs"], row["mean"]) for row in rows}
    half = math.sqrt(0.5)
    assert means == {
        "same problem, different source": (2, pytest.approx((half + 0) / 2)),
        "different problem, same source": (2, pytest.approx((0 - half) / 2, abs=1e-6)),
        "different problem, different source": (2, pytest.approx((-1 + half) / 2)),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theory") / "run"
    options = "-m micro -b micro --levels 1,3 --limit 26 --n-own 4 --max-tokens 64"
    for line in (f"candidates {options} -o {folder}", f"likelihood {folder} -m micro"):
        assert command_line.run(*line.split(), folder=folder.parent).returncode == 0
    return folder


def test_run_on_the_micro_world(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert theory.main([str(run), "--draws", "200", "--held", "60"]) == 0
    assert "posterior gap, level=3" in capsys.readouterr().out
    found = json.loads((run / "theory" / "theory.json").read_text())
    assert found["parameters"]["numbers"] == 349_536
    gains = {(row["subset"], row["name"]): row for row in found["posterior"]}
    # level 1 is solved: f is 1 for all own chains, and nothing is left to gain
    assert gains["level=1", "posterior_gain"]["value"] == pytest.approx(0, abs=0.01)
    assert gains["level=1", "measured_gain"]["value"] == pytest.approx(0, abs=0.05)
    assert gains["all", "coverage"]["value"] <= 1 + 1e-6 and gains["all", "own_f"]["k_min"] == 4
    likelihoods = {(row.problem_id, row.candidate_id): row for row in expo_bench.RunFolder(run).likelihoods("micro")}
    for chain in found["chains"]:
        row = likelihoods[chain["problem_id"], chain["candidate_id"]]
        assert chain["log_p"] == pytest.approx(row.sum_logprob, abs=0.01, rel=1e-4)
    assert found["cosines"]["n_gradients"] == 60
    for name in ("alignment", "cosines", "gains"):
        assert (run / "theory" / "figures" / f"{name}.svg").read_text().rstrip().endswith("</svg>")


def test_layers_and_limit(run: Path) -> None:
    found = theory.analyse(run, layers=r"layers\.2\.mlp", limit=2, draws=50)
    # gate, up and down of 96 x 256
    assert found["parameters"] == {"layers": r"layers\.2\.mlp", "tensors": 3, "numbers": 3 * 96 * 256}
    assert len({row["problem_id"] for row in found["chains"]}) == 2 == found["n_problems"]["with gradients"]


def test_other_weights_are_refused(run: Path, tmp_path: Path) -> None:
    inputs = theory.read_inputs(run, None)
    problem = inputs.problems[0]
    row = inputs.scored[problem.problem_id][0].row
    chain = gradients.Chain(
        candidate_id=row.candidate_id, source="expert", count=1, reaches_answer=True, ids=(1,), cut=(1,)
    )
    off = np.array([row.sum_logprob + 50])
    found = gradients.ProblemGradients(
        chains=(chain,), log_p=off, log_chain=off, log_answer=off, norms=off, cross=off[:, None], joint=off[:, None]
    )
    with pytest.raises(expo_bench.UserError, match="score it again"):
        theory.check_agreement(inputs, problem.problem_id, found)


def test_bad_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert theory.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "not a run folder" in said


@pytest.mark.parametrize("path", sorted((ROOT / "analysis").glob("*.py")), ids=lambda path: path.name)
def test_public_names_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.module.startswith("expo_bench."), node.module
            if node.module == "expo_bench":
                assert all(alias.name in expo_bench.__all__ for alias in node.names)
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("expo_bench.") for alias in node.names)
