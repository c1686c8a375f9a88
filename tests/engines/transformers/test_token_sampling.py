"""Sampling by inversion: against the distribution that it must have."""

import pytest
import torch
from scipy.stats import chisquare

from expo_bench.engines.transformers.token_sampling import choose


def _draw(logits: torch.Tensor, n: int, temperature: float, top_p: float) -> torch.Tensor:
    uniforms = torch.rand(n, generator=torch.Generator().manual_seed(7))
    tokens, _ = choose(logits.expand(n, -1), uniforms, temperature, top_p)
    return torch.bincount(tokens, minlength=logits.shape[-1])


@pytest.mark.parametrize("vocabulary", [5, 256, 700])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_frequencies_follow_softmax(vocabulary: int, temperature: float) -> None:
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(vocabulary)) * 2
    counts = _draw(logits, 40_000, temperature, 1.0)
    expected = torch.softmax(logits.double() / temperature, -1) * 40_000
    common = expected > 5
    rest = (counts[~common].sum(), expected[~common].sum())
    observed = [*counts[common].tolist(), rest[0].item()] if rest[1] > 5 else counts[common].tolist()
    theory = [*expected[common].tolist(), rest[1].item()] if rest[1] > 5 else expected[common].tolist()
    scale = sum(observed) / sum(theory)
    assert chisquare(observed, [value * scale for value in theory]).pvalue > 1e-4


def test_nucleus_by_hand() -> None:
    # probabilities 0.5 0.3 0.15 0.05: the smallest set that reaches 0.7 is the first two
    logits = torch.tensor([0.05, 0.5, 0.15, 0.3]).log()
    counts = _draw(logits, 20_000, 1.0, 0.7)
    assert counts[0] == counts[2] == 0
    assert counts[1].item() / 20_000 == pytest.approx(0.5 / 0.8, abs=0.02)
    assert _draw(logits, 100, 1.0, 0.4).tolist() == [0, 100, 0, 0]


def test_nucleus_wider_than_the_shortlist() -> None:
    logits = torch.zeros(1500)
    counts = _draw(logits, 6_000, 1.0, 0.9)
    # 1,350 tokens, each of which is missed with probability exp(-6000 / 1350)
    assert 1300 < int((counts > 0).sum()) <= 1351


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (0.6, 0.9)])
def test_log_probability_is_at_temperature_one(temperature: float, top_p: float) -> None:
    logits = torch.randn(64, 300, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    tokens, logprobs = choose(logits, torch.rand(64), temperature, top_p)
    expected = logits.float().log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    torch.testing.assert_close(logprobs, expected, atol=1e-5, rtol=0)


def test_extreme_numbers_stay_inside_the_distribution() -> None:
    logits = torch.full((2, 600), -torch.inf)
    logits[:, 300] = 0.0
    for uniform in (0.0, 0.99999994):
        tokens, logprobs = choose(logits, torch.full((2,), uniform), 1.0, 1.0)
        assert tokens.tolist() == [300, 300]
        assert logprobs.tolist() == [0.0, 0.0]
