"""What every likelihood p(x | z) gives: what the decoder's output means, and log p summed over an image's elements.

Every log-likelihood is a sum over all dimensions but the first, in nats, formed from elements of at least float32 and
added up in float64: a 60 x 50 x 50 volume adds 150,000 terms to about 1e5 nats, where a float32 sum is 0.01 nats off,
as much as the differences that importance weights are made of.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LOG_TWO_PI = math.log(2 * math.pi)


class Likelihood(nn.Module, ABC):
    """p(x | decoder output). Subclasses say what the output is; images and output have the same shape (N, ...)."""

    @abstractmethod
    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """The log-likelihood, summed over all elements of an image.

        Args:
            x: Images, (N, ...).
            output: What the decoder gave for each of them, (N, ...).

        Returns:
            log p(x | output) of each image in nats, (N,) float64.
        """

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The expected image, which is the one to show.

        Args:
            output: What the decoder gave, (N, ...).

        Returns:
            E[x | output], (N, ...).
        """

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw images.

        Args:
            output: What the decoder gave, (N, ...).
            generator: The source of the noise; None means torch's default one.

        Returns:
            One draw of x for each image, (N, ...).
        """

    @abstractmethod
    def whiten(self, x: Tensor, output: Tensor, tangents: Tensor) -> Tensor:
        """Tangents of the output in units of the likelihood's own width.

        With J the derivative of the decoder's output, the Gram matrix of the whitened J is the Gauss-Newton
        approximation of the Hessian of -log p(x | z) in z: Fisher's information of the output, carried to z.

        Args:
            x: One image, (1, ...).
            output: What the decoder gave for it, (1, ...).
            tangents: Directions in which the output moves, (d, ...).

        Returns:
            (d, ...), of which the inner products of rows are in nats.
        """

    def prepare(
        self, images: Iterable[Tensor], mean_image: Tensor, window_hu: tuple[float, float] | None
    ) -> str | None:
        """Fix what is measured on training images before training rather than learned.

        Args:
            images: Batches (N, C, *spatial) in [0, 1].
            mean_image: Their mean, (C, *spatial).
            window_hu: The HU of 0 and 1; None where images are not CT.

        Returns:
            What was found, in a line; None where there is nothing to measure, as here.
        """
        return None

    def penalty(self) -> Tensor | None:
        """Minus the log prior of the likelihood's own parameters, for each image of the data set.

        Returns:
            A 0-d tensor, in nats; None where there is no prior, as here.
        """
        return None

    def settings(self) -> dict[str, Tensor]:
        """What the likelihood learns beside the networks, for the log.

        Returns:
            Named 0-d tensors; none here.
        """
        return {}


def sum_elements(values: Tensor) -> Tensor:
    """Sum over all dimensions but the first, in float64.

    Args:
        values: (N, ...).

    Returns:
        The sums, (N,) float64.
    """
    return values.flatten(1).sum(dim=1, dtype=torch.float64)


def at_least_float32(values: Tensor) -> Tensor:
    """Float64 as it is, anything else as float32: the half precision of a network is too coarse for densities.

    Args:
        values: Of any floating dtype.

    Returns:
        ``values`` in float64 or float32.
    """
    return values if values.dtype == torch.float64 else values.float()
