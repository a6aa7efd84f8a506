"""Pyramidal block matching (Ourselin et al. 2000): a pose of the reference in a scan, improved from coarse to fine.

Levels are given in millimetres. A pyramid of halvings stops where the volume, not the ear, gets too small: a volume of
few voxels then has no level coarse enough to follow a shift of some millimetres.
"""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from medlangevin.imaging.registration.block_matching import Blocks, choose_blocks, least_trimmed_squares, match_blocks
from medlangevin.imaging.registration.correlation import squared_correlation
from medlangevin.imaging.registration.crop import Array
from medlangevin.imaging.registration.levels import OUTSIDE, Level, fixed_image, offsets, posed
from medlangevin.imaging.registration.localise import BALL_CENTRE_MM, BALL_RADIUS_MM, SEARCH_SIGMA_MM
from medlangevin.imaging.registration.reference import Reference


class BlockLevel(NamedTuple):
    """One level of the pyramid.

    Attributes:
        spacing_mm: Of the grid.
        stride: A block every so many voxels.
        radius: Of the window that a block is looked for in, voxels.
        rounds: At most.
    """

    spacing_mm: float
    stride: int
    radius: int
    rounds: int


LEVELS = (BlockLevel(1.6, 1, 2, 4), BlockLevel(0.8, 2, 2, 4))
BLOCK_VOXELS = 4
BLOCKS_KEPT = 0.7
MATCHES_KEPT = 0.5
# Fewer say nothing reliable: the pose then stays as it is.
MIN_MATCHES = 12
# Nothing in the ball moves by more than this: done.
CONVERGED_MM = 0.1
# The ends of the ball's axes, homogeneous, (4, 6).
BALL_ENDS = np.vstack(
    [np.array(BALL_CENTRE_MM)[:, None] + BALL_RADIUS_MM * np.hstack([np.eye(3), -np.eye(3)]), np.ones(6)]
)


class PreparedLevel(NamedTuple):
    """The reference at a level of the pyramid.

    Attributes:
        step: The level of the pyramid.
        grid: What it looks at.
        image: The reference there, (z, y, x).
        inside: Which of its voxels count.
        blocks: The image's blocks.
    """

    step: BlockLevel
    grid: Level
    image: NDArray[np.float32]
    inside: NDArray[np.bool_]
    blocks: Blocks


def prepare_blocks(reference: Reference, step: BlockLevel) -> PreparedLevel:
    """Choose the blocks of the reference's labyrinth at one level.

    Args:
        reference: The reference ear.
        step: The level.

    Returns:
        What ``refine`` needs of the reference.
    """
    # Blocks stand out of the ball by half their side, and their windows by ``radius`` voxels more.
    margin = BLOCK_VOXELS // 2 + step.radius
    half = (step.spacing_mm * (np.ceil(BALL_RADIUS_MM / step.spacing_mm) + margin),) * 3
    grid = Level(BALL_CENTRE_MM, half, step.spacing_mm, SEARCH_SIGMA_MM, False)
    image = fixed_image(reference, grid).image
    inside = np.linalg.norm(offsets(image, BALL_CENTRE_MM), axis=-1) <= BALL_RADIUS_MM
    values = sitk.GetArrayFromImage(image)
    volume, mask, origin = torch.from_numpy(values), torch.from_numpy(inside), np.array(image.GetOrigin())
    blocks = choose_blocks(
        volume, mask, origin, step.spacing_mm, size=BLOCK_VOXELS, stride=step.stride, keep=BLOCKS_KEPT
    )
    return PreparedLevel(step, grid, values, inside, blocks)


def refine(prepared: PreparedLevel, smooth: sitk.Image, pose: Array) -> tuple[Array, float, float]:
    """Improve a pose at one level.

    Every round resamples the scan as the last pose places it, so blocks are never compared turned.

    Args:
        prepared: The reference at the level.
        smooth: The scan, clipped and smoothed by SEARCH_SIGMA_MM.
        pose: (4, 4), reference frame to scan.

    Returns:
        The better pose, the squared correlation in the ball there (-1: no overlap), and the median residual in mm (NaN
        where no blocks were matched).
    """
    residual = np.nan
    for _ in range(prepared.step.rounds):
        moving, seen = _seen(prepared.grid, smooth, pose)
        found = match_blocks(prepared.blocks, moving, seen, radius=prepared.step.radius)
        good = found.score.numpy() > 0
        motion = least_trimmed_squares(prepared.blocks.centres_mm[good], found.matched_mm[good], keep=MATCHES_KEPT)
        if motion is None or good.sum() < MIN_MATCHES:
            break
        change = np.eye(4)
        change[:3, :3], change[:3, 3] = motion.rotation, motion.translation
        pose = pose @ change
        residual = motion.residual_mm
        if np.linalg.norm((change - np.eye(4))[:3] @ BALL_ENDS, axis=0).max() < CONVERGED_MM:
            break
    moving, seen = _seen(prepared.grid, smooth, pose)
    both = prepared.inside & seen.numpy()
    return pose, squared_correlation(prepared.image, moving.numpy(), both, prepared.inside), residual


def _seen(grid: Level, smooth: sitk.Image, pose: Array) -> tuple[torch.Tensor, torch.Tensor]:
    image = posed(smooth, pose, grid.centre_mm, grid.half_mm, grid.spacing_mm)
    values = torch.from_numpy(sitk.GetArrayFromImage(image))
    return values, values > OUTSIDE / 2
