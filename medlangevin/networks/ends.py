"""What all networks share: the standardised input, the encoder of features, the Gaussian head, the image output."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Output = Literal["probability", "logit", "symmetric"]


class Features(nn.Module):
    """x (N, C, *spatial) -> features (N, ``num_features``); subclasses say by which layers.

    The input is standardised first, (x - ``mean_image``) / ``input_scale``, so that the network sees what is individual
    about an image.

    Args:
        image_shape: (C, *spatial).
        num_features: The number of features.
        mean_image: (C, *spatial); None: zero.
        input_scale: The size of differences from it.
    """

    mean_image: Tensor

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_features: int,
        mean_image: Tensor | None = None,
        input_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.input_scale = input_scale
        self.register_buffer("mean_image", torch.zeros(image_shape) if mean_image is None else mean_image.clone())

    def standardise(self, x: Tensor) -> Tensor:
        """What the layers see.

        Args:
            x: (N, C, *spatial).

        Returns:
            The same shape.
        """
        return (x - self.mean_image) / self.input_scale


class GaussianHead(nn.Linear):
    """Features (N, ``num_features``) -> mean and scale of q(z | x), each (N, ``latent_dim``).

    The scale is a softplus: smooth, positive, and unlike an exponential it cannot overflow in one bad step. Means start
    at order one, like the prior.

    Args:
        num_features: The number of features.
        latent_dim: d.
        initial_scale: What the scale starts near.
    """

    def __init__(self, num_features: int, latent_dim: int, *, initial_scale: float = 0.1) -> None:
        super().__init__(num_features, 2 * latent_dim)
        nn.init.normal_(self.weight, std=0.5 * num_features**-0.5)
        nn.init.zeros_(self.bias)
        with torch.no_grad():
            self.weight[latent_dim:] *= 0.1
            self.bias[latent_dim:] = math.log(math.expm1(initial_scale))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Mean and scale of q(z | x).

        Args:
            features: (N, ``num_features``).

        Returns:
            Each (N, ``latent_dim``).
        """
        mean, raw_scale = super().forward(features).chunk(2, dim=1)
        return mean, functional.softplus(raw_scale) + 1e-6


class FeatureEncoder(nn.Module):
    """x (N, C, *spatial) -> mean and scale of q(z | x), each (N, ``latent_dim``): features and a ``GaussianHead``.

    Args:
        image_shape: (C, *spatial).
        latent_dim: d.
        initial_scale: What the scale starts near.
        layers: Those of the features.

    Attributes:
        make_features: The class of the features; subclasses say which.
    """

    make_features: Callable[..., Features]

    def __init__(
        self, image_shape: tuple[int, ...], latent_dim: int, *, initial_scale: float = 0.1, **layers: Any
    ) -> None:
        super().__init__()
        self.features = self.make_features(image_shape, **layers)
        self.head = GaussianHead(self.features.num_features, latent_dim, initial_scale=initial_scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of q(z | x).

        Args:
            x: (N, C, *spatial).

        Returns:
            The mean and the scale, each (N, ``latent_dim``).
        """
        mean, scale = self.head(self.features(x))
        return mean, scale


class ImageDecoder(nn.Module):
    """z (N, ``latent_dim``) -> image (N, *``image_shape``); subclasses say by which layers.

    Args:
        image_shape: (C, *spatial).
        output: See ``image_output``.
        mean_image: (C, *spatial) in (0, 1), which the decoder starts near whatever z is, to learn the differences from
            it; None: a half. It is drawn in to [0.01, 0.99], and its logit, fixed, is added to each element.
    """

    mean_logit: Tensor

    def __init__(
        self, image_shape: tuple[int, ...], *, output: Output = "probability", mean_image: Tensor | None = None
    ) -> None:
        super().__init__()
        logit = torch.zeros(image_shape) if mean_image is None else torch.logit(mean_image, eps=0.01)
        self.register_buffer("mean_logit", logit)
        self.output: Output = output


def image_output(values: Tensor, mean_logit: Tensor, output: Output) -> Tensor:
    """What a decoder gives for the values of its last layer.

    Args:
        values: (N, C, *spatial), zero at the mean image.
        mean_logit: (C, *spatial), the logit of the mean image.
        output: ``probability``: sigmoid(values + ``mean_logit``), in (0, 1). ``logit``: values + ``mean_logit``.
            ``symmetric``: a linear output in the units of 2 x - 1, values + 2 mean - 1; nothing keeps it inside
            [-1, 1].

    Returns:
        (N, C, *spatial).
    """
    if output == "symmetric":
        return values + torch.tanh(0.5 * mean_logit)  # 2 sigmoid(l) - 1 = tanh(l / 2)
    logit = values + mean_logit
    return logit if output == "logit" else torch.sigmoid(logit)
