"""How much of what is peculiar to an ear its reconstruction shows."""

import torch
from torch import Tensor

from medlangevin.datasets.crops import CropDataset, Splits
from medlangevin.models.laplace import find_mode
from medlangevin.runs.run import Run
from medlangevin.system.progress import progress


def variance_explained(x: Tensor, reconstruction: Tensor, mean: Tensor) -> Tensor:
    """The share of the variance of images about a mean image that reconstructions explain.

    Args:
        x: Images (N, C, *spatial).
        reconstruction: One of each.
        mean: The mean of the training images, (C, *spatial).

    Returns:
        1 - |x - reconstruction|^2 / |x - mean|^2 of each image, (N,) float64: 1 for a copy, 0 for the mean, below 0
        for worse than the mean. NaN for an image that is the mean itself, which leaves nothing to explain.
    """
    errors, variances = ((x - other).double().square().flatten(1).sum(1) for other in (reconstruction, mean))
    return (1 - errors / variances).where(variances > 0, torch.nan)


@torch.no_grad()
def held_out_variance_explained(run: Run, splits: Splits, *, most: int) -> Tensor:
    """The variance that a run's reconstructions of validation ears explain, with the latents found at each ear.

    Args:
        run: The run.
        splits: The ears that it was trained and validated on.
        most: Take so many validation ears at most, the first ones.

    Returns:
        Of each of them, (n,) float64; NaN as in ``variance_explained``.
    """
    shape, window = run.crop_grid().shape, run.config.data.window_hu
    training, held_out = (
        CropDataset(ears, shape, window_hu=window, cache_mb=0) for ears in (splits.training, splits.validation[:most])
    )
    mean = training.mean()
    shares = []
    with progress(len(held_out), "reconstruction") as track:
        for number in range(len(held_out)):
            x = held_out[number][None]
            shares.append(variance_explained(x, run.model.reconstruct(x, find_mode(run.model, x)), mean))
            track.advance(number + 1)
    return torch.cat(shares)
