"""Bernoulli likelihoods: of zeros and ones, and, continuous, of grey values."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from medlangevin.likelihoods.base import Likelihood, at_least_float32, sum_elements
from medlangevin.system.random import uniform

# log(sinh(l / 2) / (l / 2)) = sum over n of B_2n l^2n / (2n (2n)!); for |l| < 1 nine terms are exact in float64.
_BERNOULLI_NUMBERS = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
_SERIES = tuple(b / (2 * n * math.factorial(2 * n)) for n, b in enumerate(_BERNOULLI_NUMBERS, start=1))


class Bernoulli(Likelihood):
    """Independent Bernoullis: the output is the logit; x in {0, 1}.

    x in [0, 1] is accepted ("soft" targets): the result is then no density, and serves only to reproduce papers.
    """

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """The sum over elements of x log p + (1 - x) log(1 - p), p = sigmoid(output), without clamping.

        Args:
            x: Images in [0, 1], (N, ...).
            output: The logits, (N, ...).

        Returns:
            log p(x | output) of each image in nats, (N,) float64.
        """
        loss = functional.binary_cross_entropy_with_logits(
            at_least_float32(output), at_least_float32(x), reduction="none"
        )
        return -sum_elements(loss)

    def mean(self, output: Tensor) -> Tensor:
        """The probability of a one.

        Args:
            output: The logits, (N, ...).

        Returns:
            sigmoid(``output``), (N, ...).
        """
        return torch.sigmoid(output)

    def whiten(self, x: Tensor, output: Tensor, tangents: Tensor) -> Tensor:
        """Tangents times sqrt(p (1 - p)), the exact curvature in the logit.

        Args:
            x: One image, (1, ...).
            output: The logits, (1, ...).
            tangents: Directions in which the output moves, (d, ...).

        Returns:
            (d, ...).
        """
        probability = torch.sigmoid(output)
        return tangents * (probability * (1 - probability)).sqrt()

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw zeros and ones.

        Args:
            output: The logits, (N, ...).
            generator: The source of the noise; None means torch's default one.

        Returns:
            Images, (N, ...), of the dtype of ``output``.
        """
        return (uniform(tuple(output.shape), like=output, generator=generator) < torch.sigmoid(output)).to(output.dtype)


class ContinuousBernoulli(Likelihood):
    """Independent continuous Bernoullis (Loaiza-Ganem & Cunningham 2019): the output is the logit; x in [0, 1].

    With logit l the density is exp(l x) l / (exp(l) - 1) = exp(l (x - 1/2) - g(l)), g(l) = log(sinh(l/2) / (l/2)):
    even in l, a series near zero, and nothing to clamp far from it.
    """

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """The sum over elements of the log density.

        Args:
            x: Images in [0, 1], (N, ...).
            output: The logits, (N, ...).

        Returns:
            log p(x | output) of each image in nats, (N,) float64.
        """
        logit = at_least_float32(output)
        return sum_elements(logit * (at_least_float32(x) - 0.5) - _log_sinhc_half(logit))

    def mean(self, output: Tensor) -> Tensor:
        """The mean E[x] = 1 / (1 - exp(-l)) - 1 / l, 1/2 at l = 0.

        Args:
            output: The logits l, (N, ...).

        Returns:
            E[x], (N, ...), at least float32.
        """
        logit = at_least_float32(output)
        small, near, far = _split_at_one(logit)
        series = sum(2 * n * c * near ** (2 * n - 1) for n, c in enumerate(_SERIES, start=1))
        closed = 0.5 - torch.exp(-far) / torch.expm1(-far) - 1 / far
        return 0.5 + torch.where(small, series, torch.where(logit < 0, -closed, closed))

    def whiten(self, x: Tensor, output: Tensor, tangents: Tensor) -> Tensor:
        """Tangents times the standard deviation of x, g''(l)^(1/2), the exact curvature in the logit.

        Args:
            x: One image, (1, ...).
            output: The logits l, (1, ...).
            tangents: Directions in which the output moves, (d, ...).

        Returns:
            (d, ...).
        """
        small, near, far = _split_at_one(at_least_float32(output))
        series = sum(2 * n * (2 * n - 1) * c * near ** (2 * n - 2) for n, c in enumerate(_SERIES, start=1))
        # 1 / (4 sinh^2(l / 2)), in a form that does not overflow.
        closed = far.reciprocal().square() - torch.exp(-far) / torch.expm1(-far).square()
        return tangents * torch.where(small, series, closed).sqrt()

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw by the inverse of the distribution function, log(1 + u (exp(l) - 1)) / l.

        Args:
            output: The logits l, (N, ...).
            generator: The source of the noise; None means torch's default one.

        Returns:
            Images in [0, 1], (N, ...), at least float32.
        """
        logit = at_least_float32(output)
        u = uniform(tuple(logit.shape), like=logit, generator=generator)
        # With -|l|, so that nothing overflows; mirrored for l > 0. For |l| < 1e-6 it is u within 1e-6.
        flat = logit.abs() < 1e-6
        falling = torch.where(flat, -1, -logit.abs())
        x = torch.where(flat, u, torch.log1p(u * torch.expm1(falling)) / falling)
        return torch.where(logit > 0, 1 - x, x)


def _log_sinhc_half(logit: Tensor) -> Tensor:
    """log(sinh(l / 2) / (l / 2)), which is even, zero at zero and |l| / 2 - log |l| far away."""
    small, near, far = _split_at_one(logit)
    series = sum(c * near ** (2 * n) for n, c in enumerate(_SERIES, start=1))
    return torch.where(small, series, 0.5 * far + torch.log(-torch.expm1(-far)) - far.log())


def _split_at_one(logit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether |l| < 1; l, or 0 where not; |l|, or 1 where so: neither branch of a ``where`` may give NaN gradients."""
    small = logit.abs() < 1
    return small, torch.where(small, logit, 0), torch.where(small, 1, logit.abs())
