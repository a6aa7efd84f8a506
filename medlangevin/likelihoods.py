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

from medlangevin.system.random import standard_normal, uniform

LOG_TWO_PI = math.log(2 * math.pi)
# log(sinh(l / 2) / (l / 2)) = sum over n of B_2n l^2n / (2n (2n)!); for |l| < 1 nine terms are exact in float64.
_BERNOULLI_NUMBERS = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
_SERIES = tuple(b / (2 * n * math.factorial(2 * n)) for n, b in enumerate(_BERNOULLI_NUMBERS, start=1))


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


class Gaussian(Likelihood):
    """Independent Gaussians: the output is the mean; one learned scale for all elements (in the units of x).

    Args:
        initial_scale: The standard deviation to start from.
    """

    def __init__(self, initial_scale: float = 0.1) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))

    @property
    def scale(self) -> Tensor:
        """The standard deviation, a 0-d tensor."""
        return self.log_scale.exp()

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """The sum over elements of log N(x; output, scale^2).

        Args:
            x: Images, (N, ...).
            output: The means, (N, ...).

        Returns:
            log p(x | output) of each image in nats, (N,) float64.
        """
        log_scale = self.log_scale.double()
        squares = sum_elements((at_least_float32(x) - at_least_float32(output)).square())
        return -0.5 * squares * torch.exp(-2 * log_scale) - x[0].numel() * (log_scale + 0.5 * LOG_TWO_PI)

    def mean(self, output: Tensor) -> Tensor:
        """The output itself.

        Args:
            output: The means, (N, ...).

        Returns:
            ``output``.
        """
        return output

    def settings(self) -> dict[str, Tensor]:
        """What is learned beside the networks.

        Returns:
            The scale, as ``likelihood_scale``.
        """
        return {"likelihood_scale": self.scale}

    def whiten(self, x: Tensor, output: Tensor, tangents: Tensor) -> Tensor:
        """Tangents over the scale; the information is 1 / scale^2.

        Args:
            x: One image, (1, ...).
            output: The means, (1, ...).
            tangents: Directions in which the output moves, (d, ...).

        Returns:
            (d, ...).
        """
        return tangents / self.scale

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The output plus white noise of the learned scale.

        Args:
            output: The means, (N, ...).
            generator: The source of the noise; None means torch's default one.

        Returns:
            Images, (N, ...).
        """
        return output + self.scale * standard_normal(tuple(output.shape), like=output, generator=generator)


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


def _log_sinhc_half(logit: Tensor) -> Tensor:
    """log(sinh(l / 2) / (l / 2)), which is even, zero at zero and |l| / 2 - log |l| far away."""
    small, near, far = _split_at_one(logit)
    series = sum(c * near ** (2 * n) for n, c in enumerate(_SERIES, start=1))
    return torch.where(small, series, 0.5 * far + torch.log(-torch.expm1(-far)) - far.log())


def _split_at_one(logit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether |l| < 1; l, or 0 where not; |l|, or 1 where so: neither branch of a ``where`` may give NaN gradients."""
    small = logit.abs() < 1
    return small, torch.where(small, logit, 0), torch.where(small, 1, logit.abs())
