"""The coil in cochlear cylindrical coordinates: lateral wall over the angle, A and B value, height, number of turns.

Angles are degrees about the spiral's axis (``SPIRAL_CENTRE_UV``) from the round window, growing towards the apex
(Verbist et al. 2010, consensus coordinate system).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medlangevin.cochlear_frame import ROUND_WINDOW_ANGLE_DEG, SPIRAL_CENTRE_UV
from medlangevin.shape import coordinates
from medlangevin.shape.coordinates import Array
from medlangevin.shape.segment import Lumen

_RADIUS_STEP_MM = 0.05
_MAX_RADIUS_MM = 6.8
_HEIGHTS_MM = np.arange(-2.3, 4.21, 0.1)
_BASAL_HEIGHTS_MM = (-1.9, 1.6)  # where the first turn's lateral wall can lie
_START_DEG, _STEP_DEG = 30.0, 5.0  # of the path; before the start the lumen opens to the round window
_REACH_MM = 0.55  # the duct's centre at the next step is sought this near to the last

_CONTINUED_DEG = np.arange(10.0, 61.0, 2.5)  # the wall here gives the wall at the round window, by a parabola
_ROUGHEST_WALL_MM = 0.15  # mean deviation from that parabola beyond which it is not a cochlear wall
_HALF_DUCT_MM = 0.75  # a duct's centre at its end is at most this below the top of the lumen
_SWAY_MM = 0.12  # the centre of a duct that climbs goes down by noise alone, less than this
_FALL_MM = 0.3  # down by this, it has left the duct's end for the turn below


class Path(NamedTuple):
    """The duct's centre over its angle, arrays of one length.

    Attributes:
        angle_deg: From the round window.
        radius_mm: Distance from the axis.
        height_mm: Height along the axis.
        ended: Whether the duct itself came to an end there.
    """

    angle_deg: Array
    radius_mm: Array
    height_mm: Array
    ended: bool


@lru_cache(maxsize=300)  # of one ear's duct: traced first, then cut at the same angles; 22 MB
def sample_half_plane(lumen: Lumen, angle_deg: float) -> tuple[Array, Array, Array]:
    """The level set on the half-plane at an angle.

    Args:
        lumen: The segmented lumen.
        angle_deg: From the round window.

    Returns:
        Radii (r,) and heights (h,) in mm, and the level (r, h), about mm; outside the volume the level is negative. The
        arrays are shared between calls and must not be written to.
    """
    radii = np.arange(0.0, _MAX_RADIUS_MM, _RADIUS_STEP_MM)
    angle = np.radians(angle_deg + ROUND_WINDOW_ANGLE_DEG)
    direction = np.array([np.cos(angle), np.sin(angle)])
    points = np.empty((radii.size, _HEIGHTS_MM.size, 3))
    points[..., :2] = (SPIRAL_CENTRE_UV + radii[:, None] * direction)[:, None, :]
    points[..., 2] = _HEIGHTS_MM
    index = coordinates.lps_to_voxels(coordinates.from_modiolar(points), lumen.affine)
    level = ndimage.map_coordinates(lumen.level, np.moveaxis(index, -1, 0), order=1, cval=-1.0)
    level.flags.writeable = False
    return radii, _HEIGHTS_MM, level


def lateral_wall_radius(lumen: Lumen, angle_deg: float) -> float:
    """Distance from the spiral's axis to the lateral wall of the first turn.

    It is that of the outermost wall over all heights of the first turn (a silhouette along the axis, as it is read in
    the cochlear view).

    Args:
        lumen: The segmented lumen.
        angle_deg: From the round window.

    Returns:
        mm; NaN when the ray meets no lumen.
    """
    radii, heights, level = sample_half_plane(lumen, angle_deg)
    basal = (heights >= _BASAL_HEIGHTS_MM[0]) & (heights <= _BASAL_HEIGHTS_MM[1])
    profile = level[:, basal].max(axis=1)
    inside = np.flatnonzero(profile > 0)
    if inside.size == 0 or inside[-1] + 1 >= radii.size:
        return float("nan")
    last = inside[-1]
    return float(radii[last] + _RADIUS_STEP_MM * profile[last] / (profile[last] - profile[last + 1]))


def _wall_near(lumen: Lumen, angle_deg: float) -> float:
    # The median of a few neighbouring rays: one noisy voxel on the wall must not move a diameter.
    return float(np.median([lateral_wall_radius(lumen, angle_deg + offset) for offset in (-4.0, -2.0, 0.0, 2.0, 4.0)]))


def a_value(lumen: Lumen) -> float:
    """Basal diameter A: lateral wall at the round window, through the axis, to the lateral wall 180 degrees on.

    It is measured perpendicular to the modiolar axis. At the round window itself the lumen opens to the window and the
    vestibule, so the wall there is continued from what follows it.

    Args:
        lumen: The segmented lumen.

    Returns:
        mm; NaN when a wall is not found (Escudé et al. 2006).
    """
    return float(wall_from_round_window(lumen, np.zeros(1))[0]) + _wall_near(lumen, 180.0)


def wall_from_round_window(lumen: Lumen, angle_deg: Array) -> Array:
    """Lateral wall radius near the round window, by the parabola that continues the wall to 0 degrees.

    Args:
        lumen: The segmented lumen.
        angle_deg: Angles (n,) from 0 to 60 degrees.

    Returns:
        mm (n,); all NaN where the wall there is not a cochlear one.
    """
    walls = np.array([lateral_wall_radius(lumen, angle) for angle in _CONTINUED_DEG])
    found = np.isfinite(walls)
    if found.mean() >= 0.8:
        fit = np.polynomial.Polynomial.fit(_CONTINUED_DEG[found], walls[found], 2)
        if np.abs(fit(_CONTINUED_DEG[found]) - walls[found]).mean() <= _ROUGHEST_WALL_MM:
            return np.asarray(fit(angle_deg))
    return np.full(angle_deg.shape, np.nan)


def b_value(lumen: Lumen) -> float:
    """Width B: perpendicular to A through the axis, lateral wall at 90 degrees to lateral wall at 270 degrees.

    Args:
        lumen: The segmented lumen.

    Returns:
        mm; NaN when a wall is not found (Alexiades et al. 2015, "perpendicular to A in the cochlear view").
    """
    return _wall_near(lumen, 90.0) + _wall_near(lumen, 270.0)


def height(uvh_vertices: Array) -> float:
    """Cochlear height: extent of the lumen along the modiolar axis, floor of the first turn to apex.

    The hook (before the round window) does not count.

    Args:
        uvh_vertices: Wall points (n, 3) in modiolar coordinates, mm.

    Returns:
        mm.
    """
    offset = uvh_vertices[:, :2] - SPIRAL_CENTRE_UV
    angle = (np.degrees(np.arctan2(offset[:, 1], offset[:, 0])) - ROUND_WINDOW_ANGLE_DEG) % 360.0
    before_window = (angle > 300.0) & (np.hypot(*offset.T) > 3.0)
    # Quantiles next to the extremes, two or three vertices in: one vertex of noise is not height.
    low, high = np.quantile(uvh_vertices[~before_window, 2], [0.0001, 0.9999])
    return float(high - low)


def turns(path: Path, top_mm: float) -> float:
    """Number of turns from the round window to the end of the duct, followed along its centre.

    The duct ends where its centre, after its highest point, is lost or falls back onto the turn below.

    Args:
        path: The duct's path.
        top_mm: Height of the lumen's top.

    Returns:
        Turns. NaN when the apical turns are not resolved: the path does not climb one and a half turns, ends far below
        the top, or stays up for a whole turn.
    """
    if path.angle_deg.size == 0:
        return float("nan")
    highest = int(path.height_mm.argmax())
    below = path.height_mm[highest] - path.height_mm[highest:]
    fallen = np.flatnonzero(below > _FALL_MM)
    still_up = np.flatnonzero(below[: fallen[0] if fallen.size else below.size] <= _SWAY_MM)
    last = highest + int(still_up[-1])
    stays = path.angle_deg[last] - path.angle_deg[highest] >= 360.0
    short = top_mm - path.height_mm[last] > _HALF_DUCT_MM
    if stays or short or path.angle_deg[last] < 540.0 or not (fallen.size or path.ended):
        return float("nan")
    return float(path.angle_deg[last] / 360.0)


def trace(lumen: Lumen) -> Path:
    """Follow the duct's centre from 30 degrees to the apex, half-plane by half-plane, every 5 degrees.

    On each half-plane the centre moves to the depth-weighted mean of the lumen about the last centre. It ends where the
    lumen ends or the centre reaches the axis.

    Args:
        lumen: The segmented lumen.

    Returns:
        The path; empty when there is no lumen at the start.
    """
    radii, heights, level = sample_half_plane(lumen, _START_DEG)
    basal = (radii[:, None] > 2.5) & (np.abs(heights)[None, :] < 1.5)
    depth = np.where(basal, np.clip(level, 0, None), 0.0)
    angles = np.arange(_START_DEG, _START_DEG + 4 * 360, _STEP_DEG)
    points: list[tuple[float, float]] = []
    ended = False
    if depth.sum() > 0:
        found = (float((depth * radii[:, None]).sum() / depth.sum()), float((depth * heights).sum() / depth.sum()))
        for angle in angles:
            moved = _follow(lumen, float(angle), *found)
            ended = moved is None
            if moved is None or _circles(points, moved):
                break
            points.append(moved)
            found = moved
    table = np.array(points, dtype=float).reshape(-1, 2)
    return Path(angles[: len(points)], table[:, 0], table[:, 1], ended)


def _follow(lumen: Lumen, angle_deg: float, radius: float, height_mm: float) -> tuple[float, float] | None:
    """Centre (radius, height) of the duct near the last centre; None where it has ended."""
    radii, heights, level = sample_half_plane(lumen, angle_deg)
    depth = np.clip(level, 0.0, None)
    for _ in range(4):
        near = (radii[:, None] - radius) ** 2 + (heights[None, :] - height_mm) ** 2 < _REACH_MM**2
        weight = np.where(near, depth, 0.0)
        total = float(weight.sum())
        if total < 0.4:  # mm per grid cell: a remnant of less than about 0.01 mm3 per mm
            return None
        radius = float((weight * radii[:, None]).sum()) / total
        height_mm = float((weight * heights).sum()) / total
    return (radius, height_mm) if radius >= 0.3 else None


def _circles(points: list[tuple[float, float]], found: tuple[float, float]) -> bool:
    """Whether the path has come back to where it was one turn before: it goes round in an unresolved apex."""
    per_turn = round(360 / _STEP_DEG)
    return len(points) > per_turn and bool(np.hypot(*np.subtract(found, points[-per_turn])) < 0.03)
