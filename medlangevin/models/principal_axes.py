"""Principal axes of images and the variances along them, by maximum likelihood or by cross-validation.

There may be far more elements D than images n, or far more images than elements: all work is on matrices of the
smaller number squared.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.system.errors import MedlangevinError

# Elements of a block that is put into float64 at a time (0.1 GB).
_BLOCK = 2**24
# Neighbours on either side that a variance is averaged with.
_NEIGHBOURS = 2
# Noise below this share of the mean variance of an element is rounding.
_ROUNDING = 1e-10


class PrincipalAxes(NamedTuple):
    """A Gaussian with covariance sum_k (variance_k - noise) u_k u_k^T + noise I.

    Attributes:
        mean: (D,) float64.
        axes: The u_k, orthonormal, (D, q) float64.
        variances: Along the axes, noise included, decreasing, (q,) float64.
        noise: The variance in every other direction, float64, 0-d.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor
    noise: Tensor


def principal_axes(images: Tensor, count: int, folds: Tensor | None = None) -> PrincipalAxes:
    """Estimate the first principal axes.

    Args:
        images: (n, D).
        count: The number of axes q, at most what ``most_axes`` gives.
        folds: The fold of each image, (n,), from 0. The variances are then those of held-out images along axes that
            the others have given. None: maximum likelihood, whose variances are too large along the axes and too small
            elsewhere where D is not far below n.

    Returns:
        The axes of all images, and the variances.

    Raises:
        MedlangevinError: The images leave no variance outside the axes.

    Source: Tipping & Bishop (1999), Eqs. 6 to 8; docs/mathematics.md, probabilistic PCA.
    """
    mean = images.mean(0, dtype=torch.float64)
    centred = images - mean.to(images.dtype)
    n, size = centred.shape
    if size <= n:
        points = centred
        variances, axes = _leading(_moment(points) / n, size)
        axes = axes[:, :count]
    else:  # the same inner products in n coordinates
        variances, vectors = _leading(_moment(centred.T) / n, n)
        variances = variances.clamp(min=0)
        points = vectors * (n * variances).sqrt()
        axes = torch.cat([block.double().T @ vectors[:, :count] for block in _blocks(centred, 1)])
        axes = axes / axes.norm(dim=0).clamp(min=torch.finfo(axes.dtype).tiny)
    total = variances.sum()
    if folds is None:
        variances, noise = variances[:count], variances[count:].sum() / (size - count)
    else:
        variances, noise = held_out_variances(points, count, folds)
        noise = noise / (size - count)
        variances = smooth(variances.clamp(min=noise))
    if not noise > _ROUNDING * total / size:
        raise MedlangevinError(
            f"model.latent_dim {count}: the training images leave nothing outside of so many axes; choose fewer, or "
            "see whether the images are all the same"
        )
    return PrincipalAxes(mean, axes, variances, noise)


def held_out_variances(points: Tensor, count: int, folds: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares of held-out points along the principal axes of the others, rank by rank.

    Args:
        points: (n, r); their mean is 0.
        count: The number of axes q.
        folds: The fold of each point, (n,), from 0.

    Returns:
        l_k, the mean over all points of (u_k^T (x - mu))^2 with u_k and mu of the other folds, (q,) float64; and the
            mean of what is left of |x - mu|^2, 0-d.
    """
    parts = [points[folds == fold] for fold in range(int(folds.max()) + 1)]
    moments = [_moment(part) for part in parts]
    sums = [part.sum(0, dtype=torch.float64) for part in parts]
    moment, total = torch.stack(moments).sum(0), torch.stack(sums).sum(0)
    along, outside = torch.zeros(count, dtype=torch.float64, device=points.device), total.new_zeros(())
    for part, own_moment, own_sum in zip(parts, moments, sums, strict=True):
        others = len(points) - len(part)
        mean = (total - own_sum) / others
        _, axes = _leading((moment - own_moment) / others - torch.outer(mean, mean), count)
        for block in _blocks(part, 0):
            held = block.double() - mean
            squares = (held @ axes).square()
            along += squares.sum(0)
            outside += held.square().sum() - squares.sum()
    return along / len(points), outside / len(points)


def smooth(variances: Tensor) -> Tensor:
    """A decreasing sequence close to variances that were estimated one by one.

    Args:
        variances: (q,), above 0, by rank.

    Returns:
        (q,): the geometric mean of each and of up to two neighbours on either side, as many on both, and never more
            than the one before.
    """
    logs, last = variances.log(), len(variances) - 1
    widths = [min(_NEIGHBOURS, rank, last - rank) for rank in range(last + 1)]
    means = [logs[rank - width : rank + width + 1].mean() for rank, width in enumerate(widths)]
    return torch.stack(means).cummin(0).values.exp()


def assign_folds(groups: Sequence[Hashable], count: int) -> Tensor:
    """Split images into folds of about the same number of groups.

    Args:
        groups: Whose each image is, (n,).
        count: The number of folds; there are fewer where there are fewer groups.

    Returns:
        The fold of each image, (n,) int64, from 0; images of one group are in one fold.
    """
    number = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return torch.tensor([number[group] % count for group in groups])


def most_axes(images: int, size: int, folds: Tensor | None) -> int:
    """How many axes can be estimated.

    Args:
        images: The number of images n.
        size: Of an image, D.
        folds: The fold of each image; None: maximum likelihood.

    Returns:
        The largest q that leaves variance for the noise, and an axis of every rank to every fold's others; 0: none.
    """
    fewest = images - 1 if folds is None else images - int(folds.bincount().max())
    return max(0, min(fewest, size) - 1)


def _leading(covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues, in descending order, and their vectors as columns."""
    values, vectors = torch.linalg.eigh(covariance)
    return values.flip(0)[:count], vectors.flip(1)[:, :count]


def _moment(points: Tensor) -> Tensor:
    """points^T points in float64, (r, r) of points (n, r)."""
    moment = torch.zeros(points.shape[1], points.shape[1], dtype=torch.float64, device=points.device)
    for block in _blocks(points, 0):
        exact = block.double()
        moment += exact.T @ exact
    return moment


def _blocks(values: Tensor, dim: int) -> tuple[Tensor, ...]:
    """A matrix in parts of bounded size along a dimension."""
    return values.split(max(1, _BLOCK // values.shape[1 - dim]), dim)
