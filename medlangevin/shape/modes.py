"""Shape modes: principal components of the lumina's signed distance maps, and how good such a model of shape is.

Davies, Twining and Taylor 2008, Statistical Models of Shape, ch. 9 (compactness, generality, specificity).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.shape import coordinates, surface
from medlangevin.shape.resampling import rows_of_subjects
from medlangevin.shape.segment import Lumen

Array = NDArray[np.float64]
Maps = NDArray[np.float32]

_GRID_MM = 0.4
_GRID_SHAPE = (30, 25, 25)
_FAR_MM = 1.5  # farther from the wall than this, a map says nothing more about it
_NEAR_WALL_MM = 0.5
_SHAPES_DRAWN = 100


class Modes(NamedTuple):
    """Principal components of distance maps.

    Attributes:
        mean: The mean map (p,) in mm.
        vectors: Orthonormal modes (k, p).
        variances: Variances (k,) along them in mm2, largest first.
    """

    mean: Array
    vectors: Array
    variances: Array


class Curves(NamedTuple):
    """How good a shape model is over the number of modes, 1 to k.

    Attributes:
        compactness: Share of the variance (k,).
        generality_mm: Error (k,) of ears that were left out.
        specificity_mm: Distance (k,) of sampled shapes to the nearest ear.
    """

    compactness: Array
    generality_mm: Array
    specificity_mm: Array


def distance_map(lumen: Lumen) -> Maps:
    """Signed distance to the wall, on the reference crop's box at 0.4 mm.

    Args:
        lumen: The segmented lumen.

    Returns:
        mm (p,) float32, positive inside, cut at 1.5 mm.
    """
    index = np.stack(np.meshgrid(*(np.arange(size) for size in _GRID_SHAPE), indexing="ij"), axis=-1)
    points = CROP_CENTRE_LPS + _GRID_MM * (index - (np.array(_GRID_SHAPE) - 1) / 2).reshape(-1, 3)
    mesh = surface.mesh_of(lumen.level, lumen.affine)
    tree = cKDTree(np.concatenate([mesh.vertices, mesh.corners.mean(axis=1)]))
    away = tree.query(points, distance_upper_bound=_FAR_MM)[0]  # infinite where it would be cut
    voxel = coordinates.lps_to_voxels(points, lumen.affine)
    inside = ndimage.map_coordinates(lumen.level, voxel.T, order=1, cval=-1.0) > 0
    return np.asarray(np.clip(np.where(inside, away, -away), -_FAR_MM, _FAR_MM), dtype=np.float32)


def fit_modes(maps: NDArray[np.floating]) -> Modes:
    """Principal components of distance maps.

    Args:
        maps: Maps (n, p) in mm, n at least 2.

    Returns:
        The n - 1 modes at most; variances have the divisor n - 1.
    """
    values = np.asarray(maps, dtype=np.float64)
    mean = values.mean(axis=0)
    _, lengths, vectors = np.linalg.svd(values - mean, full_matrices=False)
    count = len(values) - 1
    return Modes(mean, vectors[:count], lengths[:count] ** 2 / count)


def model_curves(
    maps: NDArray[np.floating], subjects: Sequence[str], *, most: int = 10, folds: int = 10, seed: int = 0
) -> Curves:
    """Compactness, generality and specificity of a shape model (Davies et al. 2008, ch. 9).

    Generality leaves out whole subjects; specificity draws 100 shapes from the Gaussian model. Errors are root mean
    squares over the places within 0.5 mm of the mean wall, so about the mm by which a wall is off.

    Args:
        maps: Distance maps (n, p) in mm.
        subjects: The subject of each map.
        most: The curves are for 1 to so many modes.
        folds: Number of folds of subjects.
        seed: Of folds and shapes.

    Returns:
        The curves; NaN beyond the number of modes that there are.
    """
    values = np.asarray(maps, dtype=np.float64)
    rng = np.random.default_rng(seed)
    modes = fit_modes(values)
    near = np.abs(modes.mean) < _NEAR_WALL_MM
    near = near if near.any() else np.ones_like(near)
    shares = np.full(most, np.nan)
    held = min(most, modes.variances.size)
    shares[:held] = (np.cumsum(modes.variances) / max(modes.variances.sum(), 1e-300))[:held]
    groups = rows_of_subjects(subjects)
    fold_of = {int(group): number % folds for number, group in enumerate(rng.permutation(len(groups)))}
    errors: list[Array] = []
    for fold in range(min(folds, len(groups))):
        out = np.concatenate([rows for number, rows in enumerate(groups) if fold_of[number] == fold])
        kept = np.setdiff1d(np.arange(len(values)), out)
        if kept.size >= 2:
            errors.append(reconstruction_errors(fit_modes(values[kept]), values[out], near, most))
    generality = np.concatenate(errors).mean(axis=0) if errors else np.full(most, np.nan)
    return Curves(shares, generality, _specificity(modes, values, near, most, rng))


def reconstruction_errors(modes: Modes, maps: Array, near: NDArray[np.bool_], most: int) -> Array:
    """Error of maps that are described by the modes of others.

    Args:
        modes: The modes.
        maps: Maps (n, p) in mm.
        near: The places (p,) to compare at.
        most: How many modes at most.

    Returns:
        Root mean square in mm (n, most), over the number of modes used; NaN beyond those that there are.
    """
    offset = maps - modes.mean
    weights = offset @ modes.vectors.T
    errors = np.full((len(maps), most), np.nan)
    left = offset[:, near]
    for count in range(min(most, modes.variances.size)):
        left = left - weights[:, count : count + 1] * modes.vectors[count, near]
        errors[:, count] = np.sqrt((left**2).mean(axis=1))
    return errors


def _specificity(modes: Modes, maps: Array, near: NDArray[np.bool_], most: int, rng: np.random.Generator) -> Array:
    weights = rng.standard_normal((_SHAPES_DRAWN, modes.variances.size)) * np.sqrt(modes.variances)
    shapes = np.repeat(modes.mean[None, near], _SHAPES_DRAWN, axis=0)
    result = np.full(most, np.nan)
    for count in range(min(most, modes.variances.size)):
        shapes = shapes + weights[:, count : count + 1] * modes.vectors[count, near]
        result[count] = cdist(shapes, maps[:, near]).min(axis=1).mean() / np.sqrt(near.sum())
    return result
