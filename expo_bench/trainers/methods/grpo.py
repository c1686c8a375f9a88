"""GRPO: the base of the online family."""

from expo_bench.trainers.methods.base import OnlineMethod


class Grpo(OnlineMethod):
    """Of several completions of a problem, those that are better than their mean become likelier.

    A_i = (R_i - mean(R)) / (std(R) + 1e-4), J = 1/G sum_i 1/|o_i| sum_t min(r A, clip(r, 1 - eps, 1 + eps) A), with R 1
    where the final answer is right, else 0. Where all are wrong, or all right, nothing is learned.

    Source: arXiv 2402.03300, as TRL 1.16 computes it (Bessel's standard deviation), without divergence (`trl.beta` 0).
    """
