"""Block matching and the rigid motion it shows: one step of Ourselin et al. (MICCAI 2000), vectorised.

Blocks of the fixed image with much variance are looked for in the moving image, each in a window about its place, by
normalised cross-correlation; least trimmed squares (Rousseeuw 1984) turns the displacements into a rigid motion and
leaves the blocks that disagree out. Arrays are (z, y, x); points and displacements are (x, y, z) in mm.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Three points fix a rigid motion. With 40 % outliers 22 % of the triples are clean: 40 hold one all but surely.
TRIPLES = 40
# Steps that every triple gets before the best go on (Rousseeuw & Van Driessen 1999 take 2).
FIRST_STEPS = 2
FINALISTS = 4
MAX_STEPS = 50
# Curvatures of a correlation's quadratic are taken to be at least this part of the sharpest.
MIN_CURVATURE_RATIO = 0.1
# A place and its 26 neighbours.
NEIGHBOURS = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)


class Blocks(NamedTuple):
    """Blocks of the fixed image, zero mean and unit norm each.

    Attributes:
        starts: (n, 3), first voxel (z, y, x).
        centres_mm: (n, 3).
        values: (n, size^3).
        size: Voxels a side.
        spacing_mm: Of the image.
    """

    starts: torch.Tensor
    centres_mm: Array
    values: torch.Tensor
    size: int
    spacing_mm: float


class Matches(NamedTuple):
    """Where each block was found.

    Attributes:
        matched_mm: Its centre, (n, 3).
        score: The correlation there, (n,); -1 where nothing was seen.
    """

    matched_mm: Array
    score: torch.Tensor


class Motion(NamedTuple):
    """Target = ``rotation`` @ source + ``translation``.

    Attributes:
        rotation: (3, 3).
        translation: (3,).
        kept: The points used, (n,).
        residual_mm: Their median distance.
    """

    rotation: Array
    translation: Array
    kept: NDArray[np.bool_]
    residual_mm: float


def choose_blocks(
    image: torch.Tensor,
    mask: torch.Tensor,
    origin_mm: Array,
    spacing_mm: float,
    *,
    size: int = 4,
    stride: int = 2,
    keep: float = 0.5,
) -> Blocks:
    """Choose the blocks with the highest variance among those whose middle voxel lies in a mask.

    Args:
        image: float (D, H, W).
        mask: bool, the same shape.
        origin_mm: (x, y, z) of voxel 0.
        spacing_mm: Of the image.
        size: Voxels a side.
        stride: Voxels from block to block.
        keep: Which part of them to choose.

    Returns:
        The blocks, the most varied first.
    """
    patches = _patches(image, size)[::stride, ::stride, ::stride]
    middle = mask[size // 2 :, size // 2 :, size // 2 :]
    inside = middle[: image.shape[0] - size + 1, : image.shape[1] - size + 1, : image.shape[2] - size + 1]
    starts = torch.nonzero(inside[::stride, ::stride, ::stride])
    values = patches[starts[:, 0], starts[:, 1], starts[:, 2]].flatten(1)
    values = values - values.mean(1, keepdim=True)
    norm = values.norm(dim=1)
    order = torch.sort(norm, descending=True, stable=True).indices[: round(keep * len(norm))]
    order = order[norm[order] > 0]
    starts = starts[order] * stride
    centres = origin_mm + spacing_mm * (starts.flip(1).numpy() + (size - 1) / 2)
    return Blocks(starts, centres, values[order] / norm[order, None], size, spacing_mm)


def match_blocks(
    blocks: Blocks, moving: torch.Tensor, valid: torch.Tensor, *, radius: int, subvoxel: bool = True
) -> Matches:
    """Look for each block about its place in another image.

    Only places that are wholly valid count, and a block counts as not found (-1) where a neighbour of its best place is
    not valid.

    Args:
        blocks: Of the fixed image.
        moving: float, on the grid of the fixed image.
        valid: bool, where ``moving`` holds values.
        radius: Voxels, in every direction.
        subvoxel: Whether to take the top of the quadratic through the best place and its neighbours.

    Returns:
        The best places.
    """
    size, span = blocks.size, 2 * radius + 1
    padded = torch.nn.functional.pad(torch.where(valid, moving, 0.0), (radius,) * 6)
    seen = torch.nn.functional.pad(valid.to(torch.float32), (radius,) * 6)
    # About the mean: sums of squares lose no digits to it.
    padded = (padded - padded.sum() / seen.sum().clamp(min=1)) * seen
    volumes = torch.stack([padded, padded**2, seen])
    mean, square, whole = torch.nn.functional.avg_pool3d(volumes, size, stride=1)
    norm = ((square - mean**2).clamp(min=0) * size**3).sqrt()
    usable = (whole > 1 - 0.5 / size**3) & (norm > 1e-6)
    inverse = torch.where(usable, 1 / norm.clamp(min=1e-6), 0.0)
    steps = torch.cartesian_prod(*[torch.arange(span)] * 3)
    at = blocks.starts[:, None] + steps
    where = (at[..., 0] * mean.shape[1] + at[..., 1]) * mean.shape[2] + at[..., 2]
    near = _patches(padded, span + size - 1)[blocks.starts[:, 0], blocks.starts[:, 1], blocks.starts[:, 2]]
    # Each block with its own neighbourhood: as many groups of one channel as there are blocks.
    weight = blocks.values.reshape(-1, 1, size, size, size)
    product = torch.nn.functional.conv3d(near[None], weight, groups=len(near))[0].flatten(1)
    score = torch.where(usable.flatten()[where], product * inverse.flatten()[where], -1.0)
    best = score.argmax(1)
    # Not torch.unravel_index, whose first call takes a second to load sympy.
    step = torch.stack([best // span**2, best // span % span, best % span], dim=1)
    around = (step[:, None] + NEIGHBOURS).clamp(0, span - 1)
    values = score.gather(1, (around[..., 0] * span + around[..., 1]) * span + around[..., 2])
    offset = (step - radius).to(torch.float64)
    if subvoxel:
        inner = ((step > 0) & (step < span - 1)).all(1)
        offset += torch.where(inner[:, None], _quadratic_tops(values.to(torch.float64)), 0.0)
    matched = blocks.centres_mm + blocks.spacing_mm * offset.flip(1).numpy()
    # A block whose place is half hidden fits somewhere else: what lies next to the best place must be seen too.
    whole = (values > -1).all(1)
    return Matches(matched, torch.where(whole, score.gather(1, best[:, None])[:, 0], -1.0))


def kabsch(source: Array, target: Array) -> tuple[Array, Array]:
    """Find the rigid motion between corresponding points by least squares, never mirrored.

    Args:
        source: (..., n, 3).
        target: (..., n, 3).

    Returns:
        Rotation (..., 3, 3) and translation (..., 3): target = rotation @ source + translation, determinant +1.

    Kabsch, Acta Cryst. A32 (1976) 922.
    """
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(source - source_mean, -1, -2) @ (target - target_mean))
    v, ut = np.swapaxes(vt, -1, -2), np.swapaxes(u, -1, -2)
    v[..., :, 2] *= np.sign(np.linalg.det(v @ ut))[..., None]
    rotation = v @ ut
    translation = target_mean[..., 0, :] - (rotation @ source_mean[..., 0, :, None])[..., 0]
    return rotation, translation


def least_trimmed_squares(source: Array, target: Array, *, keep: float = 0.5) -> Motion | None:
    """Find the rigid motion with the least sum of the smallest squared distances.

    Concentration steps from all points and from triples, the same ones every time.

    Args:
        source: (n, 3).
        target: (n, 3).
        keep: Which part of the distances counts.

    Returns:
        The motion; None for fewer than three points.

    FAST-LTS: Rousseeuw & Van Driessen, Data Min. Knowl. Disc. 12 (2006) 29.
    """
    count = len(source)
    kept = max(3, round(keep * count))
    if count < 3:
        return None
    generator = np.random.default_rng(0)
    triples = generator.random((TRIPLES, count)).argsort(1)[:, :3]
    pairs = [kabsch(source[None], target[None]), kabsch(source[triples], target[triples])]
    rotation, translation = (np.concatenate(part) for part in zip(*pairs, strict=True))
    for _ in range(FIRST_STEPS):
        rotation, translation, cost = _concentrate(source, target, rotation, translation, kept)
    best = np.argsort(cost, kind="stable")[:FINALISTS]
    rotation, translation = rotation[best], translation[best]
    for _ in range(MAX_STEPS):
        before = cost
        rotation, translation, cost = _concentrate(source, target, rotation, translation, kept)
        if len(before) == len(cost) and np.allclose(before, cost, rtol=1e-9, atol=1e-18):
            break
    winner = int(np.argmin(cost))
    square = _squares(source, target, rotation[winner], translation[winner])
    chosen = np.zeros(count, dtype=bool)
    chosen[np.argsort(square, kind="stable")[:kept]] = True
    return Motion(rotation[winner], translation[winner], chosen, float(np.sqrt(np.median(square[chosen]))))


def _concentrate(
    source: Array, target: Array, rotation: Array, translation: Array, kept: int
) -> tuple[Array, Array, Array]:
    """One step from each of (m) motions: the best motion of its ``kept`` nearest points, and what they cost before."""
    square = _squares(source, target, rotation, translation)
    nearest = np.argpartition(square, kept - 1, axis=-1)[:, :kept]
    cost = np.take_along_axis(square, nearest, axis=-1).sum(-1)
    turned, moved = kabsch(source[nearest], target[nearest])
    return turned, moved, cost


def _squares(source: Array, target: Array, rotation: Array, translation: Array) -> Array:
    moved = source @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]
    squares: Array = ((moved - target) ** 2).sum(-1)
    return squares


def _patches(volume: torch.Tensor, size: int) -> torch.Tensor:
    """A view (..., size, size, size) of every cube in a volume; nothing is copied."""
    return volume.unfold(0, size, 1).unfold(1, size, 1).unfold(2, size, 1)


def _quadratic_tops(values: torch.Tensor) -> torch.Tensor:
    """(n, 3) where the quadratic through the best value and its neighbours, (n, 27), has its top, in voxels.

    Least squares over the 27: ridges of the correlation lie across the axes, so no axis can be looked at alone.
    """
    fitted = values @ QUADRATIC.T
    slope = fitted[:, 1:4]
    hessian = torch.diag_embed(2 * fitted[:, 4:7])
    for number, (row, column) in enumerate(((0, 1), (0, 2), (1, 2)), start=7):
        hessian[:, row, column] = hessian[:, column, row] = fitted[:, number]
    # Along a ridge the correlation says next to nothing: no steps longer there than the curvature across it allows.
    curvatures, axes = torch.linalg.eigh(hessian)
    curvatures = torch.minimum(curvatures, MIN_CURVATURE_RATIO * curvatures[:, :1]).clamp(max=-1e-6)
    tops = -(axes @ ((axes.mT @ slope[..., None]) / curvatures[..., None]))[..., 0]
    return tops.clamp(-1, 1)


def _quadratic(step: torch.Tensor) -> torch.Tensor:
    """(10, 27): least squares from values at ``step`` (27, 3) to coefficients of 1, a, b, c, aa, bb, cc, ab, ac, bc."""
    a, b, c = step.to(torch.float64).unbind(1)
    terms = torch.stack([torch.ones_like(a), a, b, c, a * a, b * b, c * c, a * b, a * c, b * c], dim=1)
    return torch.linalg.pinv(terms)


QUADRATIC = _quadratic(NEIGHBOURS)
