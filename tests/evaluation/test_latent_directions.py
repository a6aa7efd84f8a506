"""Directions of a cohort in latent space, against posterior means that are known."""

import torch
from torch import Tensor, nn

from medlangevin.evaluation.latent_directions import latent_directions


class Known(nn.Module):
    """Posterior draws of an image are its first pixels plus noise that cancels out."""

    latent_dim = 3

    def posterior_sample(self, x: Tensor, num_samples: int, generator: torch.Generator) -> Tensor:
        del generator
        noise = torch.tensor([1.0, -1.0]).repeat(num_samples // 2)[:, None, None]
        return x.flatten(1)[None, :, :3] + noise


def test_the_leading_direction_is_the_one_that_the_images_differ_in() -> None:
    generator = torch.Generator().manual_seed(0)
    along = torch.randn(50, generator=generator)
    axis = torch.tensor([0.6, -0.8, 0.0])
    means = 2.0 + along[:, None] * axis + 0.01 * torch.randn(50, 3, generator=generator)
    found = latent_directions(Known(), means[:, None, None], count=2, draws=4, generator=generator)
    # The largest entry is made positive.
    torch.testing.assert_close(found.axes[0], -axis, atol=0.01, rtol=0)
    torch.testing.assert_close(found.sd[0], along.std(), atol=0.01, rtol=0)
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(2), atol=1e-6, rtol=0)
    assert found.share[0] > 0.99
    torch.testing.assert_close(
        found.along(0, torch.tensor([0.0, 2.0]))[1], found.mean + 2 * found.sd[0] * found.axes[0]
    )


def test_few_images_give_few_directions() -> None:
    x = torch.randn(2, 1, 1, 3)
    found = latent_directions(Known(), x, count=3, draws=2, generator=torch.Generator())
    assert found.axes.shape == (1, 3)
