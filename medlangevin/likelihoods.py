"""Likelihoods p(x | z): what the decoder's output means, and log p summed over the elements of an image.

Every log-likelihood is a sum over all dimensions but the first, in nats, formed from elements of at least float32 and
added up in float64: a 60 x 50 x 50 volume adds 150,000 terms to about 1e5 nats, where a float32 sum is 0.01 nats off,
as much as the differences that importance weights are made of.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.samplers.random import standard_normal, uniform

LOG_TWO_PI = math.log(2 * math.pi)


class Likelihood(nn.Module, ABC):
    """p(x | decoder output). Subclasses say what the output is; ``x`` and ``output`` have the same shape (N, ...)."""

    @abstractmethod
    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x | output) of each image, (N,) float64, in nats."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """E[x | output], the image to show; the shape of ``output``."""

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of x given ``output``, its shape."""


class Gaussian(Likelihood):
    """Independent Gaussians: the output is the mean; one learned scale for all elements (in the units of x).

    ``initial_scale``: the standard deviation to start from.
    """

    def __init__(self, initial_scale: float = 0.1) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))

    @property
    def scale(self) -> Tensor:
        """The standard deviation, a 0-d tensor."""
        return self.log_scale.exp()

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Sum over elements of log N(x; output, scale^2)."""
        log_scale = self.log_scale.double()
        squares = sum_elements((_at_least_float32(x) - _at_least_float32(output)).square())
        return -0.5 * squares * torch.exp(-2 * log_scale) - x[0].numel() * (log_scale + 0.5 * LOG_TWO_PI)

    def mean(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The output plus white noise of the learned scale."""
        return output + self.scale * standard_normal(tuple(output.shape), like=output, generator=generator)


class Bernoulli(Likelihood):
    """Independent Bernoullis: the output is the logit; x in {0, 1}.

    x in [0, 1] is accepted ("soft" targets): the result is then no density, and serves only to reproduce papers.
    """

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Sum over elements of x log p + (1 - x) log(1 - p), p = sigmoid(output), without clamping."""
        loss = functional.binary_cross_entropy_with_logits(
            _at_least_float32(output), _at_least_float32(x), reduction="none"
        )
        return -sum_elements(loss)

    def mean(self, output: Tensor) -> Tensor:
        """The probability of a one."""
        return torch.sigmoid(output)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Zeros and ones."""
        return (uniform(tuple(output.shape), like=output, generator=generator) < torch.sigmoid(output)).to(output.dtype)


def sum_elements(values: Tensor) -> Tensor:
    """Sum over all dimensions but the first, in float64: (N, ...) -> (N,)."""
    return values.flatten(1).sum(dim=1, dtype=torch.float64)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
