"""The discretised logistic likelihood of grey levels."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.likelihoods.base import Likelihood, at_least_float32, sum_elements
from medlangevin.system.random import uniform


class DiscretizedLogistic(Likelihood):
    """Images of ``num_levels`` grey levels: x = k / (``num_levels`` - 1), each the mass of a logistic in its bin.

    The output is the mean in the units of 2 x - 1, where bins have half-width 1 / (``num_levels`` - 1) and the first
    and last are open. Other x in [0, 1] are rounded to the nearest level. One learned scale s = softplus(tau)^(-1/2)
    for all elements, in the same units, with a standard logistic prior on tau (LAE: Taniguchi et al. 2022, whose tau
    starts at 0, an ``initial_scale`` of 1.2). The parameter is log s: tau is 100 at s = 0.1, and Adam, which moves any
    parameter by about the learning rate, would take 100,000 steps to halve s.

    Args:
        initial_scale: The s to start from.
        num_levels: The number of grey levels.
        data_size: The images in the data set, over which ``penalty`` spreads the prior; without it there is no prior.
    """

    def __init__(self, initial_scale: float = 0.1, *, num_levels: int = 256, data_size: int | None = None) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.data_size = data_size
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))

    @property
    def scale(self) -> Tensor:
        """s, a 0-d tensor; the standard deviation is 1.81 s."""
        return self.log_scale.exp()

    @property
    def tau(self) -> Tensor:
        """The tau of which s is softplus(tau)^(-1/2), a 0-d tensor."""
        precision = torch.exp(-2 * self.log_scale)
        return precision + torch.log(-torch.expm1(-precision))

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """The sum over elements of log(F(upper end) - F(lower end)), without clamping (docs/mathematics.md).

        With a > b the ends less the mean, over s: log(sig(a) - sig(b)) = logsig(a) + logsig(-b) + log(1 - exp(b - a)),
        where b - a is the same for all bins; an open bin has only the one term of its one end. Float32 elements are
        good to about 1e-7 / s.

        Args:
            x: Images in [0, 1], (N, ...).
            output: The means in the units of 2 x - 1, (N, ...).

        Returns:
            log p(x | output) of each image in nats, (N,) float64.
        """
        mean = at_least_float32(output)
        top = self.num_levels - 1
        level = (at_least_float32(x) * top).round().clamp(0, top)
        scale = self.scale.to(mean.dtype)
        offset = (2 * level - top) / top - mean
        below_upper = functional.logsigmoid((offset + 1 / top) / scale)
        above_lower = functional.logsigmoid(-(offset - 1 / top) / scale)
        between = torch.log(-torch.expm1(-2 / (top * scale)))
        is_first, is_last = level == 0, level == top
        terms = (
            below_upper.masked_fill(is_last, 0) + above_lower.masked_fill(is_first, 0) + between * ~(is_first | is_last)
        )
        return sum_elements(terms)

    def mean(self, output: Tensor) -> Tensor:
        """The mean of the logistic clipped to the range of the levels: E[x] to half a level at worst.

        Args:
            output: The means in the units of 2 x - 1, (N, ...).

        Returns:
            E[x] in [0, 1], (N, ...), at least float32.
        """
        mean, scale = at_least_float32(output), self.scale
        clipped = functional.logsigmoid((1 - mean) / scale) - functional.logsigmoid((-1 - mean) / scale)
        return 0.5 * scale * clipped

    def whiten(self, x: Tensor, output: Tensor, tangents: Tensor) -> Tensor:
        """Tangents over sqrt(3) s: the information of a logistic, as if its bins were narrow.

        Args:
            x: One image, (1, ...).
            output: The means, (1, ...).
            tangents: Directions in which the output moves, (d, ...).

        Returns:
            (d, ...).
        """
        return tangents / (math.sqrt(3) * self.scale)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw levels k / (``num_levels`` - 1).

        Args:
            output: The means in the units of 2 x - 1, (N, ...).
            generator: The source of the noise; None means torch's default one.

        Returns:
            Images in [0, 1], (N, ...), at least float32.
        """
        mean = at_least_float32(output)
        u = uniform(tuple(mean.shape), like=mean, generator=generator)
        top = self.num_levels - 1
        value = mean + self.scale * torch.logit(u)
        return (0.5 * top * (value + 1)).round().clamp(0, top) / top

    def penalty(self) -> Tensor | None:
        """Minus the log prior of tau, -log Logistic(tau; 0, 1) / ``data_size``.

        Returns:
            A 0-d tensor, in nats: added to a mean over images, it enters once per data set. None without ``data_size``.
        """
        if self.data_size is None:
            return None
        return (self.tau - 2 * functional.logsigmoid(self.tau)) / self.data_size

    def settings(self) -> dict[str, Tensor]:
        """What is learned beside the networks.

        Returns:
            The scale, as ``likelihood_scale``.
        """
        return {"likelihood_scale": self.scale}
