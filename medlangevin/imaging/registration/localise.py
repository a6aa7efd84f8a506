"""Where the ears are, and on which side: normalised cross-correlation by FFT over position, rotation and mirroring.

Nothing is taken from headers. The reference is a right ear; a left ear is a right ear in the mirrored scan.
"""

import itertools
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
import torch
from scipy.spatial.transform import Rotation

from medlangevin.imaging.reading.geometry import corner_indices
from medlangevin.imaging.registration.crop import Array, Grid, on_grid
from medlangevin.imaging.registration.reference import Reference, clipped

SEARCH_SPACING_MM = 1.2
# Half the Nyquist wavelength: canals and noise do not alias.
SEARCH_SIGMA_MM = 0.45 * SEARCH_SPACING_MM
# The template: a ball that holds cochlea, vestibule and canals. A ball covers the same voxels however it is turned.
BALL_CENTRE_MM = (-2.5, 2.0, 1.5)
BALL_RADIUS_MM = 9.0
# The lattice leaves at most 16 degrees to the nearest rotation tried; the registration that follows captures that.
ROTATION_STEP_DEG = 18.0
MAX_ROTATION_DEG = 40.0
MIN_OVERLAP = 0.8
# Flat regions (air, brain) have no variance to correlate with: this keeps their score near zero.
NOISE_FLOOR_HU = 100.0
CANDIDATES, CANDIDATE_DISTANCE_MM = 4, 4.0
# An ear and its mirror image share vestibule and cochlea when their balls have one centre, more or less.
ABOUT_MM = 10.0
OUTSIDE = -32000.0
_HALF = int(np.ceil(BALL_RADIUS_MM / SEARCH_SPACING_MM))
# Offsets from the ball's centre on the search grid, (side, side, side, 3) in (z, y, x) order of (x, y, z).
_OFFSETS = Grid((-_HALF * SEARCH_SPACING_MM,) * 3, (2 * _HALF + 1,) * 3, SEARCH_SPACING_MM).centres_mm
_BALL = torch.from_numpy((np.linalg.norm(_OFFSETS, axis=-1) <= BALL_RADIUS_MM).astype(np.float32))


class Candidate(NamedTuple):
    """A place where the reference fits.

    Attributes:
        score: Correlation, about -1 to 1.
        mirrored: Whether the place is in the mirrored scan (x -> -x).
        pose: (4, 4): from the reference frame to LPS of the scan itself; determinant -1 for a left ear.
        second_pose: The same place, the reference's ball turned the second best of the ways tried: another start for
            what follows.
    """

    score: float
    mirrored: bool
    pose: Array
    second_pose: Array


def pose_matrix(rotation: Array, translation: Array, mirrored: bool) -> Array:
    """Put a pose together: reference point p to ``rotation`` @ p + ``translation``, then mirrored for a left ear.

    Args:
        rotation: (3, 3).
        translation: (3,) mm.
        mirrored: Whether to mirror x -> -x.

    Returns:
        (4, 4), from the reference frame to LPS of the scan.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = _flip(mirrored) @ rotation
    matrix[:3, 3] = _flip(mirrored) @ translation
    return matrix


def _flip(mirrored: bool) -> Array:
    return np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])


class _Volume(NamedTuple):
    values: torch.Tensor  # (z, y, x), mean of the valid voxels removed, zero outside the scan
    valid: torch.Tensor  # the same shape, 0 or 1
    origin: Array  # LPS of voxel 0


class Templates(NamedTuple):
    """The reference at every rotation tried.

    Attributes:
        turns: The rotations, (n, 3, 3).
        balls: n images on the search grid.
    """

    turns: Array
    balls: list[torch.Tensor]


def prepare(reference: Reference) -> Templates:
    """Turn the reference once for any number of searches.

    Args:
        reference: The reference ear.

    Returns:
        The turned templates.
    """
    image = clipped(reference.image, SEARCH_SIGMA_MM)
    turns = rotations()
    return Templates(turns, [_template(image, rotation) for rotation in turns])


def search(smooth: sitk.Image, templates: Templates, *, about: Array | None = None) -> list[Candidate]:
    """Find the four best places in a scan for each side.

    Args:
        smooth: HU in LPS, clipped and smoothed by SEARCH_SIGMA_MM; shear allowed.
        templates: The turned reference.
        about: (3,) LPS: only places where the reference's ball has its centre within ABOUT_MM of this point.

    Returns:
        The places of both sides, best first.
    """
    volume = _search_volume(smooth)
    found: list[Candidate] = []
    for mirrored in (False, True):
        seen = _mirror(volume) if mirrored else volume
        score, which = _score(seen, templates.balls)
        if about is not None:
            score = torch.where(_near(seen, _flip(mirrored) @ about), score, -1.0)
        for value, number, centre in _peaks(score, which, seen.origin):
            turn = templates.turns[number]
            second = templates.turns[_second_best(seen, templates.balls, centre, number)]
            moved = centre - turn @ np.array(BALL_CENTRE_MM)
            second_moved = turn @ np.array(BALL_CENTRE_MM) + moved - second @ np.array(BALL_CENTRE_MM)
            poses = pose_matrix(turn, moved, mirrored), pose_matrix(second, second_moved, mirrored)
            found.append(Candidate(value, mirrored, *poses))
    return sorted(found, key=lambda item: -item.score)


def rotations() -> Array:
    """List the rotations tried: rotation vectors on a cubic lattice within a ball.

    Returns:
        (n, 3, 3), the identity first.
    """
    count = int(MAX_ROTATION_DEG // ROTATION_STEP_DEG)
    lattice = np.array(list(itertools.product(range(-count, count + 1), repeat=3)), dtype=float) * ROTATION_STEP_DEG
    angle = np.linalg.norm(lattice, axis=1)
    lattice = lattice[np.argsort(angle, kind="stable")][: int((angle <= MAX_ROTATION_DEG).sum())]
    return Rotation.from_rotvec(lattice, degrees=True).as_matrix()


def _search_volume(smooth: sitk.Image) -> _Volume:
    corners = corner_indices(smooth.GetSize()).tolist()
    points = np.array([smooth.TransformIndexToPhysicalPoint(corner) for corner in corners])
    low, high = points.min(0), points.max(0)
    image = on_grid(smooth, np.eye(4), Grid.spanning(low, high, SEARCH_SPACING_MM), outside=OUTSIDE)
    values = torch.from_numpy(sitk.GetArrayFromImage(image))
    valid = (values > OUTSIDE / 2).to(torch.float32)
    mean = (values * valid).sum() / valid.sum().clamp(min=1)
    return _Volume((values - mean) * valid, valid, low)


def _near(volume: _Volume, point: Array) -> torch.Tensor:
    """The voxels within ABOUT_MM of a point, bool, (z, y, x)."""
    grid = Grid(tuple(volume.origin), tuple(reversed(volume.values.shape)), SEARCH_SPACING_MM)
    return torch.from_numpy(np.linalg.norm(grid.centres_mm - point, axis=-1) <= ABOUT_MM)


def _mirror(volume: _Volume) -> _Volume:
    last = volume.origin[0] + SEARCH_SPACING_MM * (volume.values.shape[2] - 1)
    origin = np.array([-last, volume.origin[1], volume.origin[2]])
    return _Volume(volume.values.flip(2), volume.valid.flip(2), origin)


def _template(image: sitk.Image, rotation: Array) -> torch.Tensor:
    """The turned reference inside the ball: zero mean, unit norm, zero outside."""
    # What the scan shows at offset v from the ball's centre is the reference at centre + R^T v.
    points = np.array(BALL_CENTRE_MM) + _OFFSETS @ rotation
    index = (points - np.array(image.GetOrigin())) / np.array(image.GetSpacing())
    unit = 2 * index / (np.array(image.GetSize()) - 1) - 1
    values = torch.from_numpy(sitk.GetArrayFromImage(image))[None, None]
    grid = torch.from_numpy(unit.astype(np.float32))[None]
    sampled = torch.nn.functional.grid_sample(values, grid, align_corners=True, padding_mode="border")[0, 0]
    centred = (sampled - (sampled * _BALL).sum() / _BALL.sum()) * _BALL
    return centred / centred.norm()


def _score(volume: _Volume, templates: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Best correlation over the templates for the ball's centre at each voxel, and which template; -1 where cut off."""
    shape = [size + 2 * _HALF for size in volume.values.shape]

    def spectrum(values: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfftn(values, s=shape)

    def correlate(image: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
        product = torch.fft.irfftn(image * template.conj(), s=shape)
        depth, height, width = volume.values.shape
        return torch.roll(product, (_HALF,) * 3, (0, 1, 2))[:depth, :height, :width]

    values, valid, whole = spectrum(volume.values), spectrum(volume.valid), spectrum(_BALL)
    weight = correlate(valid, whole).clamp(min=1.0)
    mean = correlate(values, whole) / weight
    squares = correlate(spectrum(volume.values**2), whole)
    spread = ((squares - mean**2 * weight).clamp(min=0.0) + NOISE_FLOOR_HU**2 * weight).sqrt()
    best = torch.full(volume.values.shape, -1.0)
    which = torch.zeros(volume.values.shape, dtype=torch.int64)
    for number, template in enumerate(templates):
        turned = spectrum(template)
        # Where the scan ends within the ball, the rest of the template has a mean: it must not multiply the scan's.
        score = (correlate(values, turned) - mean * correlate(valid, turned)) / spread
        better = score > best
        best = torch.where(better, score, best)
        which = torch.where(better, number, which)
    return torch.where(weight >= MIN_OVERLAP * _BALL.sum(), best, -1.0), which


def _peaks(score: torch.Tensor, which: torch.Tensor, origin: Array) -> list[tuple[float, int, Array]]:
    """The highest voxels, at least CANDIDATE_DISTANCE_MM apart: score, template number, LPS of the ball's centre."""
    radius = int(np.floor(CANDIDATE_DISTANCE_MM / SEARCH_SPACING_MM))
    left = score.clone()
    found = []
    for _ in range(CANDIDATES):
        k, j, i = (int(index) for index in np.unravel_index(int(left.argmax()), left.shape))
        value = float(left[k, j, i])
        if value <= 0:
            break
        found.append((value, int(which[k, j, i]), origin + SEARCH_SPACING_MM * np.array([i, j, k], dtype=float)))
        near = tuple(slice(max(index - radius, 0), index + radius + 1) for index in (k, j, i))
        left[near] = -1.0
    return found


def _second_best(volume: _Volume, templates: list[torch.Tensor], centre: Array, best: int) -> int:
    """The template other than ``best`` that correlates most where the ball's centre lies at ``centre``."""
    low = np.rint((centre - volume.origin) / SEARCH_SPACING_MM).astype(int)[::-1]
    padded = torch.nn.functional.pad(volume.values, (_HALF,) * 6)
    k, j, i = (slice(start, start + 2 * _HALF + 1) for start in low.tolist())
    # One place, so one variance: the products alone rank the templates.
    score = torch.stack([(template * padded[k, j, i]).sum() for template in templates])
    score[best] = -torch.inf
    return int(score.argmax())
