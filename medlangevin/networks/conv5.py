"""The 2D networks of the HVAE and QSL-VAE papers (Caterini et al. 2018, appendix; Wang & Delingette 2021).

Kernels of 5 x 5, stride 2, softplus, one dense layer of 450, latent 64. The papers do not say how weights start, and it
matters: started as Glorot & Bengio (2010) have it, a VAE with these networks stays at the mean image of MNIST for 3,000
steps and more; with the normal weights of the code published with the HVAE (variance 1 / (units before + units after)),
for 1,000 at least. Here, as in the other convolutional networks, signals keep their size through depth, softplus is
centred and the input standardised, and 250 steps suffice.
"""

from typing import Any

from torch import nn

from medlangevin.networks.convolutional import ConvDecoder, ConvFeatures, preserve_variance
from medlangevin.networks.ends import FeatureEncoder
from medlangevin.system.errors import MedlangevinError

# Of both papers.
_SIZES: dict[str, Any] = {"channels": (16, 32, 32), "hidden": 450}


class Conv5Features(ConvFeatures):
    """x (N, C, H, W) -> features (N, ``num_features``), ``num_features`` = ``hidden``.

    For each of ``channels`` a convolution (5 x 5, stride 2, n -> ceil(n / 2)) and softplus; a dense layer and softplus.

    Args:
        image_shape: (C, H, W).
        layers: Those of ``ConvFeatures``; by default the papers' (16, 32, 32) ``channels`` and 450 ``hidden`` units.

    Raises:
        MedlangevinError: The images are not 2D.
    """

    kernel_size = 5
    dense_layer = nn.Linear

    def __init__(self, image_shape: tuple[int, ...], **layers: Any) -> None:
        _refuse_volumes(image_shape)
        super().__init__(image_shape, **(_SIZES | layers))


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

    make_features = Conv5Features


class Conv5Decoder(ConvDecoder):
    """z (N, ``latent_dim``) -> image (N, *``image_shape``): the mirror image of ``Conv5Encoder``.

    Two dense layers, then transposed convolutions (5 x 5, stride 2) to the encoder's exact sizes: 4, 7, 14 and 28 for
    28 x 28.

    Args:
        image_shape: (C, H, W).
        latent_dim: d.
        layers: Those of ``ConvDecoder``; by default the papers' ``channels`` and ``hidden`` units, as in the encoder.
            The last layer's bias, one for each channel and zero at first, is learned.

    Raises:
        MedlangevinError: The images are not 2D.
    """

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, **layers: Any) -> None:
        _refuse_volumes(image_shape)
        super().__init__(image_shape, latent_dim, **(_SIZES | layers))

    def _transposed(self, inputs: int, outputs: int, before: tuple[int, ...], after: tuple[int, ...]) -> nn.Module:
        rest = (after[0] - 2 * before[0] + 1, after[1] - 2 * before[1] + 1)
        return nn.ConvTranspose2d(inputs, outputs, kernel_size=5, stride=2, padding=2, output_padding=rest)

    def _draw_weights(self) -> None:
        preserve_variance(self.dense, gain=1.0)
        for layer in (self.expand, *self.convolutions):
            preserve_variance(layer, stride=2)


def _refuse_volumes(image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 3:
        raise MedlangevinError(
            f"network.kind: conv5 is for 2D images (channels, height, width), not for shape {tuple(image_shape)}; "
            "use network.kind: conv"
        )
