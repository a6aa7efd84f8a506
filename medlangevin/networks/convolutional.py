"""Convolutional encoder and decoder of the QSL-VAE paper's kind, for images of any size in 2D or 3D.

torch's own convolutions are used rather than MONAI's ``Convolution`` block: of its parts only the convolution would be
used, and importing it costs three seconds in every command that loads a model.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def strided_shapes(image_size: tuple[int, ...], levels: int) -> list[tuple[int, ...]]:
    """Spatial sizes from the image down: each level halves and rounds up. ``levels`` + 1 entries."""
    shapes = [tuple(image_size)]
    for _ in range(levels):
        shapes.append(tuple((size + 1) // 2 for size in shapes[-1]))
    return shapes


class ConvEncoder(nn.Module):
    """x (N, C, *spatial) -> mean and scale of q(z | x), each (N, ``latent_dim``).

    Strided convolutions (kernel 3, stride 2) with ``channels`` filters, softplus, a dense layer of ``hidden`` units,
    softplus, a dense layer to the mean and the scale. ``image_shape``: (C, *spatial).
    The scale is a softplus: smooth, positive, and unlike an exponential it cannot overflow in one bad step. It starts
    near ``initial_scale`` and the mean near 0.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int,
        *,
        channels: tuple[int, ...] = (16, 32, 64),
        hidden: int = 256,
        initial_scale: float = 0.1,
    ) -> None:
        super().__init__()
        spatial_dims = len(image_shape) - 1
        widths = (image_shape[0], *channels)
        self.convolutions = nn.ModuleList(
            _CONVOLUTION[spatial_dims](before, after, kernel_size=3, stride=2, padding=1)
            for before, after in itertools.pairwise(widths)
        )
        features = channels[-1] * math.prod(strided_shapes(image_shape[1:], len(channels))[-1])
        self.dense = nn.Linear(features, hidden)
        self.head = nn.Linear(hidden, 2 * latent_dim)
        with torch.no_grad():
            self.head.weight[latent_dim:] *= 0.1
            self.head.bias[latent_dim:] = math.log(math.expm1(initial_scale))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of q(z | x)."""
        for convolution in self.convolutions:
            x = functional.softplus(convolution(x))
        hidden = functional.softplus(self.dense(x.flatten(1)))
        mean, raw_scale = self.head(hidden).chunk(2, dim=1)
        return mean, functional.softplus(raw_scale) + 1e-6


class ConvDecoder(nn.Module):
    """z (N, ``latent_dim``) -> image (N, *``image_shape``): the mirror image of ``ConvEncoder``.

    Transposed convolutions with kernel 4 and stride 2, cropped by at most one element to the encoder's exact sizes.
    As the stride divides the kernel, every output element gets equally many contributions, so no checkerboard is
    built in; resize-and-convolve has none either but costs six times as much per second-order gradient in 3D.

    ``bounded``: a sigmoid keeps the output in (0, 1). Right for windowed intensities: values clipped at both ends of
    the window have means strictly inside it, samples cannot leave it, and the slope of at most 1/4 limits the force
    that a flow has to follow. Without it the output is a real number (a logit).
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int,
        *,
        channels: tuple[int, ...] = (16, 32, 64),
        hidden: int = 256,
        bounded: bool = True,
    ) -> None:
        super().__init__()
        spatial_dims = len(image_shape) - 1
        self.bounded = bounded
        self._shapes = strided_shapes(image_shape[1:], len(channels))[::-1]
        self._start = (channels[-1], *self._shapes[0])
        widths = (*channels[::-1], image_shape[0])
        self.dense = nn.Linear(latent_dim, hidden)
        self.expand = nn.Linear(hidden, math.prod(self._start))
        self.convolutions = nn.ModuleList(
            _TRANSPOSED[spatial_dims](before, after, kernel_size=4, stride=2, padding=1)
            for before, after in itertools.pairwise(widths)
        )

    def forward(self, z: Tensor) -> Tensor:
        """The image's mean (``bounded``) or logits."""
        hidden = functional.softplus(self.dense(z))
        image = functional.softplus(self.expand(hidden)).unflatten(1, self._start)
        last = len(self.convolutions) - 1
        for level, (convolution, shape) in enumerate(zip(self.convolutions, self._shapes[1:], strict=True)):
            image = convolution(image)[(..., *(slice(size) for size in shape))]
            if level < last:
                image = functional.softplus(image)
        return torch.sigmoid(image) if self.bounded else image
