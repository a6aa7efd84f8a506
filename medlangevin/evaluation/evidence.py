"""log p(x) of a decoder by importance samples about the mode of the posterior, whatever the encoder says.

The encoder's own importance samples judge the encoder: on crops they are thousands of nats short (docs/mathematics.md,
evidence). Here z_s is drawn from a t distribution with the mode and the covariance of Laplace's approximation, and
log p(x) = log mean of p(x, z_s) / q(z_s). A t, as its tails are heavier than the posterior's.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.models import LatentVariableModel
from medlangevin.models.base import draws_at_once, repeat_images
from medlangevin.models.laplace import NormalPosterior, laplace
from medlangevin.samplers import standard_normal
from medlangevin.system.errors import MedlangevinError

DEFAULT_SAMPLES = 60
# What is told of each image: the NLL in nats, and how many of its samples are effective.
MEASURED = ("nll", "effective_sample_size")
# Below so many effective samples a figure is not measured. Draws are doubled up to this often to get there.
ENOUGH, _DOUBLINGS = 10, 3
_DEGREES = 8


class Evidence(NamedTuple):
    """What importance samples find of each image (N,).

    Attributes:
        log_likelihood: log p(x) in nats, float64.
        effective_sample_size: Of the weights, from 1 to the number of samples; below ``ENOUGH`` the figure means
            little.
    """

    log_likelihood: Tensor
    effective_sample_size: Tensor

    @property
    def nll(self) -> Tensor:
        """-log p(x) in nats, (N,); NaN where it is not measured."""
        return -self.log_likelihood.where(self.effective_sample_size >= ENOUGH, torch.nan)


@torch.no_grad()
def evidence(
    model: LatentVariableModel,
    x: Tensor,
    generator: torch.Generator | None = None,
    *,
    samples: int = DEFAULT_SAMPLES,
    about: NormalPosterior | None = None,
) -> Evidence:
    """log p(x) of each image, free of the encoder.

    Images of fewer than ``ENOUGH`` effective samples get as many draws again, three times at most.

    Args:
        model: The model whose decoder, likelihood and prior count, in evaluation mode.
        x: Images (N, C, *spatial).
        generator: Of all noise.
        samples: Draws for each image, at least 1.
        about: Laplace's approximations of their posteriors, where they are known already.

    Returns:
        log p(x), on average too low by about half of the variance of its Monte-Carlo error, and by another 0.05 to 0.2
            nats where draws were added; and how well it is known.

    Raises:
        MedlangevinError: Fewer than 1 sample, or a potential without finite curvature.
    """
    if samples < 1:
        raise MedlangevinError(f"{samples} samples: at least 1 is needed")
    about = laplace(model, x) if about is None else about
    weights = [_log_weights(model, image, proposal, samples, generator) for image, proposal in _each(x, about)]
    for _ in range(_DOUBLINGS):
        for number, (image, proposal) in enumerate(_each(x, about)):
            if _effective(weights[number]) < ENOUGH:
                more = _log_weights(model, image, proposal, len(weights[number]), generator)
                weights[number] = torch.cat([weights[number], more])
    return Evidence(
        torch.stack([weight.logsumexp(0) - math.log(len(weight)) for weight in weights]),
        torch.stack([_effective(weight) for weight in weights]),
    )


def _each(x: Tensor, about: NormalPosterior) -> list[tuple[Tensor, NormalPosterior]]:
    return [(x[n : n + 1], NormalPosterior(*(values[n : n + 1] for values in about))) for n in range(len(x))]


def _effective(log_weights: Tensor) -> Tensor:
    return torch.exp(2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0))


def _log_weights(
    model: LatentVariableModel, x: Tensor, about: NormalPosterior, count: int, generator: torch.Generator | None
) -> Tensor:
    """log p(x, z) - log q(z) at ``count`` draws from the t distribution, for one image (1, ...): (count,) float64."""
    mode, factor = about.mean[0], about.factor[0]
    size = len(mode)
    noise = standard_normal((count, size), like=mode, generator=generator)
    chi_squares = standard_normal((count, _DEGREES), like=mode, generator=generator).square().sum(1)
    directions = noise * (_DEGREES / chi_squares).sqrt()[:, None]
    constant = (
        math.lgamma((_DEGREES + size) / 2) - math.lgamma(_DEGREES / 2) - 0.5 * size * math.log(_DEGREES * math.pi)
    )
    log_q = constant - torch.linalg.slogdet(factor.double()).logabsdet
    log_q = log_q - 0.5 * (_DEGREES + size) * torch.log1p(directions.double().square().sum(1) / _DEGREES)
    z = mode + directions @ factor.T
    energies = [model.potential(repeat_images(x, len(part)))(part) for part in z.split(draws_at_once(x))]
    return -torch.cat(energies) - log_q
