"""The 2D networks of the HVAE and QSL-VAE papers (Caterini et al. 2018, appendix; Wang & Delingette 2021).

Kernels of 5 x 5, stride 2, softplus, one dense layer of 450, latent 64. The papers do not say how weights start, and it
matters: started as Glorot & Bengio (2010) have it, a VAE with these networks stays at the mean image of MNIST for 3,000
steps and more; with the normal weights of the code published with the HVAE (variance 1 / (units before + units after)),
for 1,000 at least. Here, as in the other convolutional networks, signals keep their size through depth, softplus is
centred and the input standardised, and 250 steps suffice.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from medlangevin.networks.convolutional import centred_softplus, preserve_variance, strided_shapes
from medlangevin.networks.device_convolution import transposed_convolution
from medlangevin.networks.ends import FeatureEncoder, Features, Output, image_output, mean_image_logit
from medlangevin.system.errors import MedlangevinError


class Conv5Features(Features):
    """x (N, C, H, W) -> features (N, ``num_features``), ``num_features`` = ``hidden``.

    For each of ``channels`` a convolution (5 x 5, stride 2, n -> ceil(n / 2)) and softplus; a dense layer and softplus.

    Args:
        image_shape: (C, H, W).
        channels: The filters of each convolution.
        hidden: The units of the dense layer.
        mean_image: As in ``Features``.
        input_scale: As in ``Features``.

    Raises:
        MedlangevinError: The images are not 2D.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (16, 32, 32),
        hidden: int = 450,
        mean_image: Tensor | None = None,
        input_scale: float = 1.0,
    ) -> None:
        _refuse_volumes(image_shape)
        super().__init__(image_shape, hidden, mean_image, input_scale)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=5, stride=2, padding=2)
            for before, after in itertools.pairwise((image_shape[0], *channels))
        )
        inputs = channels[-1] * math.prod(strided_shapes(image_shape[1:], len(channels))[-1])
        self.dense = nn.Linear(inputs, hidden)
        for layer in (*self.convolutions, self.dense):
            preserve_variance(layer)

    def forward(self, x: Tensor) -> Tensor:
        """The features.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, ``num_features``).
        """
        x = self.standardise(x)
        for convolution in self.convolutions:
            x = centred_softplus(convolution(x))
        return centred_softplus(self.dense(x.flatten(1)))


class Conv5Encoder(FeatureEncoder):
    """x (N, C, H, W) -> mean and scale of q(z | x), each (N, ``latent_dim``).

    Args:
        image_shape: (C, H, W).
        latent_dim: d.
        initial_scale: What the scale starts near.
        layers: Those of ``Conv5Features``.

    Raises:
        MedlangevinError: The images are not 2D.
    """

    def __init__(
        self, image_shape: tuple[int, ...], latent_dim: int, *, initial_scale: float = 0.1, **layers: Any
    ) -> None:
        super().__init__(Conv5Features(image_shape, **layers), latent_dim, initial_scale)


class Conv5Decoder(nn.Module):
    """z (N, ``latent_dim``) -> image (N, *``image_shape``): the mirror image of ``Conv5Encoder``.

    Two dense layers, then transposed convolutions (5 x 5, stride 2) to the encoder's exact sizes: 4, 7, 14 and 28 for
    28 x 28.

    Args:
        image_shape: (C, H, W).
        latent_dim: d.
        channels: The filters of each convolution, in the encoder's order.
        hidden: The units of the first dense layer.
        output: See ``image_output``.
        mean_image: (C, H, W); its logit, fixed, is added to each pixel. The last layer's bias, one for each channel and
            zero at first, is learned.

    Raises:
        MedlangevinError: The images are not 2D.
    """

    mean_logit: Tensor

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int,
        *,
        channels: tuple[int, ...] = (16, 32, 32),
        hidden: int = 450,
        output: Output = "probability",
        mean_image: Tensor | None = None,
    ) -> None:
        super().__init__()
        _refuse_volumes(image_shape)
        self.register_buffer("mean_logit", mean_image_logit(mean_image, image_shape))
        self.output: Output = output
        shapes = strided_shapes(image_shape[1:], len(channels))[::-1]
        self._start = (channels[-1], *shapes[0])
        self.dense = nn.Linear(latent_dim, hidden)
        self.expand = nn.Linear(hidden, math.prod(self._start))
        widths = itertools.pairwise((*channels[::-1], image_shape[0]))
        self.convolutions = nn.ModuleList(
            _transposed(*width, *sizes) for width, sizes in zip(widths, itertools.pairwise(shapes), strict=True)
        )
        preserve_variance(self.dense, gain=1.0)
        for layer in (self.expand, *self.convolutions):
            preserve_variance(layer, stride=2)
        with torch.no_grad():
            # Start as small differences from the mean image.
            self.convolutions[-1].get_parameter("weight").mul_(0.1)

    def forward(self, z: Tensor) -> Tensor:
        """The image's mean, or logits, as ``output`` says.

        Args:
            z: (N, ``latent_dim``).

        Returns:
            (N, *``image_shape``).
        """
        image = centred_softplus(self.expand(centred_softplus(self.dense(z)))).unflatten(1, self._start)
        for convolution in self.convolutions[:-1]:
            image = centred_softplus(transposed_convolution(convolution, image))
        return image_output(transposed_convolution(self.convolutions[-1], image), self.mean_logit, self.output)


def _transposed(inputs: int, outputs: int, before: tuple[int, ...], after: tuple[int, ...]) -> nn.ConvTranspose2d:
    """The layer from size ``before`` to ``after``, 2 n - 1 or 2 n in each dimension."""
    rest = (after[0] - 2 * before[0] + 1, after[1] - 2 * before[1] + 1)
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=5, stride=2, padding=2, output_padding=rest)


def _refuse_volumes(image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 3:
        raise MedlangevinError(
            f"network.kind: conv5 is for 2D images (channels, height, width), not for shape {tuple(image_shape)}; "
            "use network.kind: conv"
        )
