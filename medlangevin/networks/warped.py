"""A decoder whose image is moved by smooth displacements: a deformable template with a latent shape.

    x(v) = image(z_a)(v + u(v)),  u = sum_k s_k z_k b_k

b_k are products of the lowest cosines along the axes (DCT-II), one direction each, and the deviations s_k are learned.
What is peculiar to an ear is mostly where its parts lie, and to move them takes no training ear that looks the same.
Twice differentiable, as flows need.
"""

import itertools
import math

import torch
from torch import Tensor, nn

# The deviation of the mean displacement at first; less for finer cosines.
_INITIAL_VOXELS = 1.0


def _frequencies(dimensions: int, degree: int) -> list[tuple[int, ...]]:
    """Cosines along the axes, whose numbers of half waves add up to ``degree`` at most."""
    numbers = itertools.product(range(degree + 1), repeat=dimensions)
    return [along for along in numbers if sum(along) <= degree]


def displacement_coefficients(dimensions: int, degree: int) -> int:
    """How many latents say where the image is moved.

    Args:
        dimensions: Spatial dimensions of the image.
        degree: Half waves over the image at most.

    Returns:
        Their number.
    """
    return dimensions * len(_frequencies(dimensions, degree))


class WarpedDecoder(nn.Module):
    """z (N, d) -> the image (N, C, *spatial) of the first latents, moved as the last ``displacement_coefficients`` say.

    Args:
        decoder: Makes the image of the first latents.
        image_size: The spatial size of the image.
        degree: Half waves of displacements over the image at most.
    """

    _waves: Tensor
    _places: Tensor

    def __init__(self, decoder: nn.Module, image_size: tuple[int, ...], *, degree: int) -> None:
        super().__init__()
        self.decoder = decoder
        dimensions = len(image_size)
        frequencies = _frequencies(dimensions, degree)
        deviations = [_INITIAL_VOXELS / math.sqrt(1 + sum(k * k for k in along)) for along in frequencies]
        self.log_scale = nn.Parameter(torch.tensor(deviations).log().repeat(dimensions, 1))
        waves = [_wave(along, image_size) for along in frequencies]
        self.register_buffer("_waves", torch.stack(waves).flatten(1), persistent=False)
        places = torch.meshgrid(*map(torch.arange, image_size), indexing="ij")
        self.register_buffer("_places", torch.stack(places).float(), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """The moved image.

        Args:
            z: (N, d).

        Returns:
            (N, C, *spatial).
        """
        image = self.decoder(z[:, : -self.log_scale.numel()])
        return interpolate(image, self._places + self.displacement(z))

    def displacement(self, z: Tensor) -> Tensor:
        """Where each voxel of the moved image comes from, minus its own place.

        Args:
            z: (N, d).

        Returns:
            (N, spatial dimensions, *spatial), in voxels.
        """
        coefficients = z[:, -self.log_scale.numel() :].unflatten(1, self.log_scale.shape) * self.log_scale.exp()
        return (coefficients @ self._waves).unflatten(2, self._places.shape[1:])


def _wave(half_waves: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """A product of cosines, of mean square 1."""
    wave = torch.ones(())
    for number, length in zip(half_waves, size, strict=True):
        cosine = torch.cos(math.pi * number * (torch.arange(length) + 0.5) / length)
        wave = wave[..., None] * (cosine * math.sqrt(2) if number else cosine)
    return wave


def interpolate(image: Tensor, places: Tensor) -> Tensor:
    """The image between its voxels, linear along each axis, with the edge repeated outside.

    As ``torch.nn.functional.grid_sample``, whose second derivatives take ten times as long.

    Args:
        image: (N, C, *spatial).
        places: Where, in voxels, (N, spatial dimensions, *anything).

    Returns:
        (N, C, *anything).
    """
    size = image.shape[2:]
    axes = [place.clamp(0, length - 1) for place, length in zip(places.flatten(2).unbind(1), size, strict=True)]
    corner = torch.zeros_like(axes[0], dtype=torch.long)
    fractions = []
    for place, length in zip(axes, size, strict=True):
        low = place.detach().floor().clamp(max=max(length - 2, 0))
        corner = corner * length + low.long()
        fractions.append((place - low)[:, None])
    values, steps = [corner], [math.prod(size[axis + 1 :]) if size[axis] > 1 else 0 for axis in range(len(size))]
    for step in steps:
        values = [index + offset for index in values for offset in (0, step)]
    voxels = image.flatten(2)
    values = [voxels.gather(2, index[:, None].expand(-1, image.shape[1], -1)) for index in values]
    for fraction in reversed(fractions):
        values = [torch.lerp(*pair, fraction) for pair in zip(values[::2], values[1::2], strict=True)]
    return values[0].unflatten(2, places.shape[2:])
