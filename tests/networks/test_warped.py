"""The moved image: against grid_sample, its second derivatives, and displacements whose effect is known."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.config.model import VAEConfig
from medlangevin.config.networks import ConvNetwork
from medlangevin.models import build
from medlangevin.networks.warped import WarpedDecoder, displacement_coefficients, interpolate
from medlangevin.system.errors import MedlangevinError

SIZE = (6, 5, 7)


class Same(nn.Module):
    """The same image for every z."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image

    def forward(self, z: Tensor) -> Tensor:
        return self.image.expand(len(z), *self.image.shape)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moved(image: Tensor, degree: int) -> WarpedDecoder:
    return WarpedDecoder(Same(image), tuple(image.shape[1:]), degree=degree).double()


@pytest.mark.parametrize("size", [(6, 5, 7), (4, 9), (1, 3, 1), (2, 2)], ids=str)
def test_it_interpolates_as_grid_sample_does(size: tuple[int, ...]) -> None:
    image = noise(2, 3, *size)
    places = noise(2, len(size), 4, 2, *size[2:], seed=1) * (torch.tensor(size).view(-1, *[1] * len(size)) + 3) - 2
    grid = ((2 * places.movedim(1, -1) + 1) / torch.tensor(size) - 1).flip(-1)
    expected = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(interpolate(image, places), expected)


def test_it_has_first_and_second_derivatives() -> None:
    image = noise(1, 2, 4, 3, 5).requires_grad_()
    places = (5 * noise(1, 3, 2, 2, 2, seed=1) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(interpolate, (image, places))
    assert torch.autograd.gradgradcheck(interpolate, (image, places))


def test_latents_of_zero_move_nothing() -> None:
    image = noise(1, *SIZE)
    decoder = moved(image, 2)
    z = torch.zeros(2, 3 + displacement_coefficients(3, 2), dtype=torch.float64)
    torch.testing.assert_close(decoder(z), image.expand(2, *image.shape))


@pytest.mark.claim("warped-decoder")
@pytest.mark.parametrize("axis", range(3))
def test_a_mean_displacement_of_a_voxel_shifts_the_image_by_one(axis: int) -> None:
    """Each voxel shows what lies one further along the axis, and the edge is repeated."""
    image = noise(1, *SIZE)
    decoder = moved(image, 0)
    z = torch.zeros(1, 3, dtype=torch.float64)
    z[0, axis] = 1  # the first scale is one voxel
    (shifted,) = decoder(z)
    inner = SIZE[axis] - 1
    torch.testing.assert_close(shifted.narrow(axis + 1, 0, inner), image.narrow(axis + 1, 1, inner))
    torch.testing.assert_close(shifted.select(axis + 1, inner), image.select(axis + 1, inner))


@pytest.mark.claim("warped-decoder")
@pytest.mark.parametrize(("size", "degree", "count"), [((6, 5, 7), 2, 30), ((8, 9), 3, 20), ((6, 5, 7), 0, 3)])
def test_displacements_are_orthogonal_waves_of_the_scales_said(size: tuple[int, ...], degree: int, count: int) -> None:
    """Coefficient k displaces by s_k on root mean square; two coefficients' products average to zero."""
    assert displacement_coefficients(len(size), degree) == count
    decoder = moved(noise(1, *size), degree)
    fields = decoder.displacement(torch.eye(count, dtype=torch.float64)).flatten(1)
    scales = decoder.log_scale.exp().flatten()
    torch.testing.assert_close(fields @ fields.T / math.prod(size), scales.square().diag(), atol=1e-6, rtol=1e-6)


def test_the_model_of_a_configuration_moves_what_it_decodes() -> None:
    config = VAEConfig(latent_dim=34, network=ConvNetwork(channels=(2,), hidden=3, warp=2))
    model = build(config, (1, *SIZE))
    z = torch.randn(2, 34, generator=torch.Generator().manual_seed(0))
    z[:, 4:] = 0
    image = model.decode(z)
    assert image.shape == (2, 1, *SIZE)
    z[:, 4] = 1
    torch.testing.assert_close(model.decode(z)[:, :, :-1], image[:, :, 1:])


def test_too_few_latents_are_one_line() -> None:
    config = VAEConfig(latent_dim=30, network=ConvNetwork(warp=2))
    with pytest.raises(MedlangevinError, match=r"model\.network\.warp: 2 takes 30 latents .* set it above 30"):
        build(config, (1, *SIZE))
