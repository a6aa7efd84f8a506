"""Convolutional encoder and decoder of the QSL-VAE paper's kind, for images of any size in 2D or 3D.

torch's own convolutions are used rather than MONAI's ``Convolution`` block: of its parts only the convolution would be
used, and importing it costs three seconds in every command that loads a model.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.networks.device_convolution import transposed_convolution
from medlangevin.networks.ends import Features, GaussianHead, ImageDecoder, image_output

_CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def strided_shapes(image_size: tuple[int, ...], levels: int) -> list[tuple[int, ...]]:
    """Spatial sizes from the image down: each level halves and rounds up.

    Args:
        image_size: The spatial size of the image.
        levels: How many levels.

    Returns:
        ``levels`` + 1 sizes, that of the image first.
    """
    shapes = [tuple(image_size)]
    for _ in range(levels):
        shapes.append(tuple((size + 1) // 2 for size in shapes[-1]))
    return shapes


class ScaledLinear(nn.Linear):
    """A dense layer whose weights are stored times sqrt(features in), for layers with very many inputs.

    Adam moves every weight by about the learning rate whatever the gradient; with 25,000 inputs that move together
    this shifts the output by 25 per step of 0.001. Stored this way it shifts by 0.16 and computes the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x W^T / sqrt(features in) + b.

        Args:
            x: (N, features in).

        Returns:
            (N, features out).
        """
        return functional.linear(x * self.in_features**-0.5, self.weight, self.bias)


def centred_softplus(x: Tensor) -> Tensor:
    """softplus(x) - log 2: zero at zero, so that depth adds no offset and zero padding means "nothing".

    Args:
        x: Any shape.

    Returns:
        The same shape.
    """
    return functional.softplus(x) - math.log(2)


def preserve_variance(layer: nn.Module, *, stride: int = 1, gain: float = 2.0) -> None:
    """Draw weights of standard deviation gain / sqrt(inputs per output), biases zero.

    ``gain`` 2 undoes the slope 1/2 of softplus at zero, so signals keep their size through depth. torch's default
    shrinks them by 0.3 a layer: a decoder of five layers then hardly sees z, and training answers with means of q far
    outside the prior.

    Args:
        layer: A dense layer, a convolution or a transposed one.
        stride: Of a transposed convolution, whose outputs each see kernel / stride inputs a side.
        gain: As above.
    """
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    transposed = isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d))
    taps = math.prod(weight.shape[2:])
    inputs = weight.shape[0] * taps / stride ** (weight.ndim - 2) if transposed else weight.shape[1] * taps
    deviation = gain if isinstance(layer, ScaledLinear) else gain * inputs**-0.5
    nn.init.normal_(weight, std=deviation)
    nn.init.zeros_(bias)


class ConvFeatures(Features):
    """x (N, C, *spatial) -> features (N, ``num_features``), ``num_features`` = ``hidden``.

    Strided convolutions (kernel 3, stride 2), softplus, a dense layer, softplus.

    Args:
        image_shape: (C, *spatial).
        channels: The filters of each convolution.
        hidden: The units of the dense layer.
        standardised: ``mean_image`` and ``input_scale``, as in ``Features``.
    """

    kernel_size = 3
    dense_layer: type[nn.Linear] = ScaledLinear

    def __init__(
        self,
        image_shape: tuple[int, ...],
        *,
        channels: tuple[int, ...] = (16, 32, 64),
        hidden: int = 256,
        **standardised: Any,
    ) -> None:
        super().__init__(image_shape, hidden, **standardised)
        convolution = _CONVOLUTION[len(image_shape) - 1]
        self.convolutions = nn.ModuleList(
            convolution(before, after, kernel_size=self.kernel_size, stride=2, padding=self.kernel_size // 2)
            for before, after in itertools.pairwise((image_shape[0], *channels))
        )
        inputs = channels[-1] * math.prod(strided_shapes(image_shape[1:], len(channels))[-1])
        self.dense = self.dense_layer(inputs, hidden)
        for layer in (*self.convolutions, self.dense):
            preserve_variance(layer)

    def forward(self, x: Tensor) -> Tensor:
        """The features.

        Args:
            x: (N, C, *spatial).

        Returns:
            (N, ``num_features``).
        """
        x = self.standardise(x)
        for convolution in self.convolutions:
            x = centred_softplus(convolution(x))
        return centred_softplus(self.dense(x.flatten(1)))


class ConvEncoder(ConvFeatures):
    """x (N, C, *spatial) -> mean and scale of q(z | x), each (N, ``latent_dim``): the features and a ``GaussianHead``.

    Args:
        image_shape: (C, *spatial).
        latent_dim: d.
        initial_scale: What the scale starts near.
        layers: Those of ``ConvFeatures``.
    """

    def __init__(
        self, image_shape: tuple[int, ...], latent_dim: int, *, initial_scale: float = 0.1, **layers: Any
    ) -> None:
        super().__init__(image_shape, **layers)
        self.head = GaussianHead(self.num_features, latent_dim, initial_scale=initial_scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Mean and scale of q(z | x).

        Args:
            x: (N, C, *spatial).

        Returns:
            The mean and the scale, each (N, ``latent_dim``).
        """
        mean, scale = self.head(super().forward(x))
        return mean, scale


class ConvDecoder(ImageDecoder):
    """z (N, ``latent_dim``) -> image (N, *``image_shape``): the mirror image of ``ConvEncoder``.

    Transposed convolutions with kernel 4 and stride 2, cropped by at most one element to the encoder's exact sizes.
    As the stride divides the kernel, every output element gets equally many contributions, so no checkerboard is
    built in; resize-and-convolve has none either but costs six times as much per second-order gradient in 3D.

    Args:
        image_shape: (C, *spatial).
        latent_dim: d.
        channels: The filters of each convolution, in the encoder's order.
        hidden: The units of the first dense layer.
        image: ``output`` and ``mean_image``, as in ``ImageDecoder``. ``probability``, a sigmoid, is right for windowed
            intensities: values clipped at both ends of the window have means strictly inside it, samples cannot leave
            it, and the slope of at most 1/4 limits the force that a flow has to follow. With aligned images to start
            near their mean saves the hundreds of steps which learning the mean itself takes.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int,
        *,
        channels: tuple[int, ...] = (16, 32, 64),
        hidden: int = 256,
        **image: Any,
    ) -> None:
        super().__init__(image_shape, **image)
        self._shapes = strided_shapes(image_shape[1:], len(channels))[::-1]
        self._start = (channels[-1], *self._shapes[0])
        self.dense = nn.Linear(latent_dim, hidden)
        self.expand = nn.Linear(hidden, math.prod(self._start))
        widths = itertools.pairwise((*channels[::-1], image_shape[0]))
        self.convolutions = nn.ModuleList(
            self._transposed(*width, *sizes)
            for width, sizes in zip(widths, itertools.pairwise(self._shapes), strict=True)
        )
        self._draw_weights()
        with torch.no_grad():
            # Start as small differences from the mean image.
            self.convolutions[-1].get_parameter("weight").mul_(0.1)

    def _transposed(self, inputs: int, outputs: int, before: tuple[int, ...], after: tuple[int, ...]) -> nn.Module:
        """The layer from size ``before`` to ``after``, 2 n - 1 or 2 n in each dimension; this one gives 2 n."""
        return _TRANSPOSED[len(before)](inputs, outputs, kernel_size=4, stride=2, padding=1)

    def _draw_weights(self) -> None:
        for layer in (self.expand, *self.convolutions):
            preserve_variance(layer, stride=2)
        preserve_variance(self.dense, gain=1.0)

    def forward(self, z: Tensor) -> Tensor:
        """The image's mean, or logits, as ``output`` says.

        Args:
            z: (N, ``latent_dim``).

        Returns:
            (N, *``image_shape``).
        """
        hidden = centred_softplus(self.dense(z))
        image = centred_softplus(self.expand(hidden)).unflatten(1, self._start)
        last = len(self.convolutions) - 1
        for level, (convolution, shape) in enumerate(zip(self.convolutions, self._shapes[1:], strict=True)):
            image = transposed_convolution(convolution, image)
            if level < last:
                image = centred_softplus(image)  # before it is cropped, as strided elements take three times as long
            window: tuple[Any, ...] = (..., *(slice(size) for size in shape))
            image = image[window]
        return image_output(image, self.mean_logit, self.output)
