"""The 2D networks of the HVAE and QSL-VAE papers (Caterini et al. 2018, appendix; Wang & Delingette 2021).

Kernels of 5 x 5, stride 2, softplus, one dense layer of 450, latent 64. Weights start as in Glorot & Bengio (2010),
uniform, biases at zero. Of two choices the papers' text says nothing or little: the code published with the HVAE draws
normal weights of variance 1 / (units of the layer before + units of the layer after), and its output bias, one learned
number for all pixels, starts at the mean logit of the images' mean values.
"""

import itertools
import math

from torch import Tensor, nn
from torch.nn.functional import softplus

from medlangevin.errors import MedlangevinError
from medlangevin.networks.convolutional import strided_shapes
from medlangevin.networks.ends import Output, image_output, mean_image_logit


class Conv5Features(nn.Module):
    """x (N, C, H, W) -> features (N, ``num_features``), ``num_features`` = ``hidden``.

    For each of ``channels`` a convolution (5 x 5, stride 2, n -> ceil(n / 2)) and softplus; a dense layer and softplus.
    ``image_shape``: (C, H, W). The input is x as it is, not standardised. Raises MedlangevinError if not 2D.
    """

    def __init__(
        self, image_shape: tuple[int, ...], *, channels: tuple[int, ...] = (16, 32, 32), hidden: int = 450
    ) -> None:
        super().__init__()
        _refuse_volumes(image_shape)
        self.num_features = hidden
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=5, stride=2, padding=2)
            for before, after in itertools.pairwise((image_shape[0], *channels))
        )
        inputs = channels[-1] * math.prod(strided_shapes(image_shape[1:], len(channels))[-1])
        self.dense = nn.Linear(inputs, hidden)
        for layer in (*self.convolutions, self.dense):
            _glorot(layer)

    def forward(self, x: Tensor) -> Tensor:
        """The features."""
        for convolution in self.convolutions:
            x = softplus(convolution(x))
        return softplus(self.dense(x.flatten(1)))


class Conv5Encoder(nn.Module):
    """x (N, C, H, W) -> mean and scale of q(z | x), each (N, ``latent_dim``): ``Conv5Features`` and two dense layers.

    The scale is a softplus, at least 1e-6; it starts at order one, as the mean does.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int,
        *,
        channels: tuple[int, ...] = (16, 32, 32),
        hidden: int = 450,
    ) -> None:
        super().__init__()
        self.features = Conv5Features(image_shape, channels=channels, hidden=hidden)
        self.mean = nn.Linear(hidden, latent_dim)
        self.raw_scale = nn.Linear(hidden, latent_dim)
        for layer in (self.mean, self.raw_scale):
            _glorot(layer)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of q(z | x)."""
        features = self.features(x)
        return self.mean(features), softplus(self.raw_scale(features)) + 1e-6


class Conv5Decoder(nn.Module):
    """z (N, ``latent_dim``) -> image (N, *``image_shape``): the mirror image of ``Conv5Encoder``.

    Two dense layers, then transposed convolutions (5 x 5, stride 2) to the encoder's exact sizes: 4, 7, 14 and 28 for
    28 x 28. ``output``: see ``image_output``. ``mean_image`` (C, H, W): its logit, fixed, is added to each pixel; the
    last layer's bias, one for each channel and zero at first, is learned. Raises MedlangevinError if not 2D.
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
        for layer in (self.dense, self.expand, *self.convolutions):
            _glorot(layer)

    def forward(self, z: Tensor) -> Tensor:
        """The image's mean, or logits, as ``output`` says."""
        image = softplus(self.expand(softplus(self.dense(z)))).unflatten(1, self._start)
        for convolution in self.convolutions[:-1]:
            image = softplus(convolution(image))
        return image_output(self.convolutions[-1](image), self.mean_logit, self.output)


def _transposed(inputs: int, outputs: int, before: tuple[int, ...], after: tuple[int, ...]) -> nn.ConvTranspose2d:
    """The layer from size ``before`` to ``after``, 2 n - 1 or 2 n in each dimension."""
    rest = (after[0] - 2 * before[0] + 1, after[1] - 2 * before[1] + 1)
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=5, stride=2, padding=2, output_padding=rest)


def _glorot(layer: nn.Module) -> None:
    nn.init.xavier_uniform_(layer.get_parameter("weight"))
    nn.init.zeros_(layer.get_parameter("bias"))


def _refuse_volumes(image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 3:
        raise MedlangevinError(
            f"network.kind: conv5 is for 2D images (channels, height, width), not for shape {tuple(image_shape)}; "
            "use network.kind: conv"
        )
