"""Fully connected networks: the LAE paper's (Taniguchi et al. 2022), three layers of 1024 with LayerNorm and ReLU.

Images of any size in 2D or 3D are flattened; the call conventions are those of the convolutional networks.
"""

import itertools
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medlangevin.networks.convolutional import centred_softplus
from medlangevin.networks.ends import FeatureEncoder, Features, ImageDecoder, Output, image_output

Activation = Literal["relu", "softplus"]


class DenseLayers(nn.Module):
    """(N, ``inputs``) -> (N, ``widths[-1]``): for each width a dense layer, LayerNorm if ``layer_norm``, activation.

    Weights start orthogonal.

    Args:
        inputs: The number of inputs.
        widths: The units of each layer.
        activation: ``relu`` has no second derivative inside its pieces: what differentiates through a force (a flow
            that is learned through its own gradients, HVAE or QSL-VAE) wants ``softplus``, which is softplus(x) - log 2
            here.
        layer_norm: Whether LayerNorm stands before each activation.
    """

    def __init__(
        self,
        inputs: int,
        *,
        widths: tuple[int, ...] = (1024, 1024, 1024),
        activation: Activation = "relu",
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        self.num_outputs = widths[-1]
        self.activation = torch.relu if activation == "relu" else centred_softplus
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise((inputs, *widths)))
        self.norms = nn.ModuleList(nn.LayerNorm(width) if layer_norm else nn.Identity() for width in widths)
        for layer in self.layers:
            # Undoes what the activation takes from the signal's size; LayerNorm does that by itself.
            gain = 1.0 if layer_norm else math.sqrt(2) if activation == "relu" else 2.0
            _orthogonal(layer, gain)

    def forward(self, x: Tensor) -> Tensor:
        """Through all layers.

        Args:
            x: (N, ``inputs``).

        Returns:
            (N, ``widths[-1]``).
        """
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(x)))
        return x


class MLPFeatures(Features):
    """x (N, C, *spatial) -> features (N, ``num_features``), ``num_features`` = ``widths[-1]``.

    Args:
        image_shape: (C, *spatial).
        mean_image: As in ``Features``.
        input_scale: As in ``Features``.
        layers: The ``widths``, ``activation`` and ``layer_norm`` of ``DenseLayers``.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        *,
        mean_image: Tensor | None = None,
        input_scale: float = 1.0,
        **layers: Any,
    ) -> None:
        dense = DenseLayers(math.prod(image_shape), **layers)
        super().__init__(image_shape, dense.num_outputs, mean_image, input_scale)
        self.dense = dense

    def forward(self, x: Tensor) -> Tensor:
        """The features.

        Args:
            x: (N, C, *spatial).

        Returns:
            (N, ``num_features``).
        """
        return self.dense(self.standardise(x).flatten(1))


class MLPEncoder(FeatureEncoder):
    """x (N, C, *spatial) -> mean and scale of q(z | x), each (N, ``latent_dim``).

    Args:
        image_shape: (C, *spatial).
        latent_dim: d.
        initial_scale: What the scale starts near.
        layers: Those of ``MLPFeatures``.
    """

    make_features = MLPFeatures


class MLPDecoder(ImageDecoder):
    """z (N, ``latent_dim``) -> image (N, *``image_shape``).

    Args:
        image_shape: (C, *spatial).
        latent_dim: d.
        output: As in ``ImageDecoder``.
        mean_image: As in ``ImageDecoder``.
        layers: The ``widths``, ``activation`` and ``layer_norm`` of ``DenseLayers``.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int,
        *,
        output: Output = "probability",
        mean_image: Tensor | None = None,
        **layers: Any,
    ) -> None:
        super().__init__(image_shape, output=output, mean_image=mean_image)
        self.dense = DenseLayers(latent_dim, **layers)
        self.last = nn.Linear(self.dense.num_outputs, math.prod(image_shape))
        _orthogonal(self.last, 0.1)  # start as small differences from the mean image

    def forward(self, z: Tensor) -> Tensor:
        """The image's mean, or logits, as ``output`` says.

        Args:
            z: (N, ``latent_dim``).

        Returns:
            (N, *``image_shape``).
        """
        image = self.last(self.dense(z)).unflatten(1, self.mean_logit.shape)
        return image_output(image, self.mean_logit, self.output)


def _orthogonal(layer: nn.Module, gain: float) -> None:
    nn.init.orthogonal_(layer.get_parameter("weight"), gain=gain)
    nn.init.zeros_(layer.get_parameter("bias"))
