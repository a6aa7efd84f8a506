"""The two ends that convolutional and fully connected networks share: the Gaussian head and the image output."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Output = Literal["probability", "logit", "symmetric"]


class GaussianHead(nn.Linear):
    """Features (N, ``num_features``) -> mean and scale of q(z | x), each (N, ``latent_dim``).

    The scale is a softplus: smooth, positive, and unlike an exponential it cannot overflow in one bad step. It starts
    near ``initial_scale``; means start at order one, like the prior.
    """

    def __init__(self, num_features: int, latent_dim: int, *, initial_scale: float = 0.1) -> None:
        super().__init__(num_features, 2 * latent_dim)
        nn.init.normal_(self.weight, std=0.5 * num_features**-0.5)
        nn.init.zeros_(self.bias)
        with torch.no_grad():
            self.weight[latent_dim:] *= 0.1
            self.bias[latent_dim:] = math.log(math.expm1(initial_scale))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Mean and scale."""
        mean, raw_scale = super().forward(features).chunk(2, dim=1)
        return mean, functional.softplus(raw_scale) + 1e-6


def mean_image_logit(mean_image: Tensor | None, image_shape: tuple[int, ...]) -> Tensor:
    """The logit of a mean image in [0, 1], drawn in to [0.01, 0.99]; zero, a mean of 1/2, without one."""
    return torch.zeros(image_shape) if mean_image is None else torch.logit(mean_image, eps=0.01)


def image_output(values: Tensor, mean_logit: Tensor, output: Output) -> Tensor:
    """What a decoder gives for its last layer's ``values`` (N, C, *spatial), which are zero at the mean image.

    ``probability``: sigmoid(values + ``mean_logit``), in (0, 1). ``logit``: values + ``mean_logit``. ``symmetric``: a
    linear output in the units of 2 x - 1, values + 2 mean - 1; nothing keeps it inside [-1, 1].
    """
    if output == "symmetric":
        return values + torch.tanh(0.5 * mean_logit)  # 2 sigmoid(l) - 1 = tanh(l / 2)
    logit = values + mean_logit
    return logit if output == "logit" else torch.sigmoid(logit)
