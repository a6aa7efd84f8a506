"""The directions in which the ears of a cohort differ in a model's latent space."""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.models import LatentVariableModel


class LatentDirections(NamedTuple):
    """Principal components of posterior means: ``mean`` (d,), orthonormal ``axes`` (k, d), ``sd`` (k,) along each, and
    ``share`` (k,) of all their variance."""

    mean: Tensor
    axes: Tensor
    sd: Tensor
    share: Tensor

    def along(self, number: int, steps: Tensor) -> Tensor:
        """Latent vectors (n, d) at ``steps`` (n,), in standard deviations, along direction ``number``."""
        return self.mean + steps[:, None] * self.sd[number] * self.axes[number]


@torch.no_grad()
def latent_directions(
    model: LatentVariableModel, x: Tensor, *, count: int, draws: int, generator: torch.Generator
) -> LatentDirections:
    """The ``count`` leading principal components of the posterior means of images ``x`` (n, C, *spatial).

    A posterior mean is that of ``draws`` samples. Latents that the decoder does not use keep the prior mean for every
    image, so they have no part in the leading directions. Fewer than ``count`` where there are fewer images or latents.
    The sign of an axis makes its largest entry positive.
    """
    means = model.posterior_sample(x, draws, generator).double().mean(0)
    centre = means.mean(0)
    _, singular, axes = torch.linalg.svd(means - centre, full_matrices=False)
    count = min(count, len(x) - 1, model.latent_dim)
    axes = axes[:count]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    variance = singular.square()
    return LatentDirections(
        mean=centre.float(),
        axes=(axes * largest.sign()).float(),
        sd=(variance[:count] / max(len(x) - 1, 1)).sqrt().float(),
        share=(variance[:count] / variance.sum().clamp(min=1e-30)).float(),
    )
