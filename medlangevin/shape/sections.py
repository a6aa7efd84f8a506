"""Cross-sections of the duct along its angle, and the lateral wall that their outermost points trace.

Sections are cut by half-planes through the modiolar axis, in the consensus cylindrical coordinates of the cochlea
(Verbist et al. 2010, Otol Neurotol 31:722): angle from the round window, radius from the axis, height along it.
"""

from typing import NamedTuple

import numpy as np
from skimage.measure import find_contours
from skimage.segmentation import watershed

from medlangevin.shape import coil
from medlangevin.shape.coordinates import Array
from medlangevin.shape.segment import Lumen

_WINDOW_DEG = 75.0  # the wall is smoothed over this: longer than noise, shorter than a turn's own curves
_NEAR_MM = 0.3
_HEIGHT_FROM_DEG = 60.0  # the wall's height before the first section is the mean up to here


class Sections(NamedTuple):
    """The duct's cross-sections, arrays (n,); NaN where none was found.

    Attributes:
        angle_deg: From the round window.
        area_mm2: Area of the section.
        wall_radius_mm: Distance of the section's outermost point from the axis.
        wall_height_mm: Height of that point along the axis.
    """

    angle_deg: Array
    area_mm2: Array
    wall_radius_mm: Array
    wall_height_mm: Array


def cut_sections(lumen: Lumen, path: coil.Path) -> Sections:
    """Cut the duct in every half-plane of its path.

    Where turns touch in a half-plane they are parted by a watershed from their centres, along the ridge between them.

    Args:
        lumen: The segmented lumen.
        path: The duct's path in it.

    Returns:
        A section for each angle of the path.
    """
    rows = np.array([_section(lumen, path, index) for index in range(path.angle_deg.size)]).reshape(-1, 3)
    return Sections(path.angle_deg, rows[:, 0], rows[:, 1], rows[:, 2])


def _section(lumen: Lumen, path: coil.Path, index: int) -> tuple[float, float, float]:
    """Area (mm2) and outermost point (radius, height in mm) of the section at one place of the path."""
    radii, heights, level = coil.sample_half_plane(lumen, float(path.angle_deg[index]))
    along = (path.angle_deg - path.angle_deg[index]) % 360.0
    same = np.flatnonzero(np.minimum(along, 360.0 - along) < 1e-6)
    markers = np.zeros(level.shape, dtype=np.int32)
    for number, turn in enumerate(same, start=1):
        # A bent section's centre can lie just beside its fluid: the nearest fluid marks it.
        away = np.hypot(radii[:, None] - path.radius_mm[turn], heights[None, :] - path.height_mm[turn])
        away[(level <= 0) | (markers > 0)] = np.inf
        if away.min() < _NEAR_MM:
            markers[np.unravel_index(away.argmin(), away.shape)] = number
    own = int(np.flatnonzero(same == index)[0]) + 1
    parts = watershed(-level, markers, mask=level > 0)
    # The wall lies between a voxel inside and one outside; what belongs to another turn counts as outside here.
    alone = np.where((level > 0) & (parts != own), -np.abs(level), level)
    loops = [loop for loop in find_contours(np.pad(alone, 1, constant_values=-1.0), 0.0) if len(loop) > 3]
    if not loops or own not in parts:
        return float("nan"), float("nan"), float("nan")
    steps = np.array([radii[1] - radii[0], heights[1] - heights[0]])
    outlines = [(loop - 1.0) * steps + [radii[0], heights[0]] for loop in loops]
    areas = [_area(outline) for outline in outlines]
    outline = outlines[int(np.abs(areas).argmax())]
    outermost = outline[outline[:, 0].argmax()]
    # Holes run the other way round, so that their area has the other sign.
    return abs(sum(areas)), float(outermost[0]), float(outermost[1])


def _area(outline: Array) -> float:
    ahead = np.roll(outline, -1, axis=0)
    return float(0.5 * (outline[:, 0] * ahead[:, 1] - outline[:, 1] * ahead[:, 0]).sum())


def mean_area(sections: Sections, *, end_deg: float = 360.0) -> float:
    """Mean cross-section from the first section (30 degrees) on.

    Args:
        sections: The duct's sections.
        end_deg: The last angle that counts.

    Returns:
        mm2; NaN where a section is missing.
    """
    on = sections.angle_deg <= end_deg
    if not on.any() or sections.angle_deg[-1] < end_deg:
        return float("nan")
    return float(sections.area_mm2[on].mean())


def wall_length(sections: Sections, start_radii: Array, *, end_deg: float) -> float:
    """Length of the lateral wall in space, from the round window (0 degrees) on.

    Args:
        sections: The duct's sections.
        start_radii: The wall's radii in mm at 0, 5, ... degrees before the first section (where the lumen opens to the
            window and has no section).
        end_deg: Where the wall ends.

    Returns:
        mm; NaN where ``end_deg`` is, and where a section on the way is missing.
    """
    on = sections.angle_deg <= end_deg
    if np.isnan(end_deg) or not on.any():
        return float("nan")
    step = float(sections.angle_deg[1] - sections.angle_deg[0])
    angle = np.concatenate([step * np.arange(start_radii.size), sections.angle_deg[on]])
    first_height = sections.wall_height_mm[sections.angle_deg <= _HEIGHT_FROM_DEG].mean()
    radius = np.concatenate([start_radii, sections.wall_radius_mm[on]])
    height = np.concatenate([np.full(start_radii.size, first_height), sections.wall_height_mm[on]])
    if np.isnan(radius).any() or np.isnan(height).any():
        return float("nan")
    from scipy.signal import savgol_filter  # loads all of scipy.stats, half a second for every command

    # The outermost point of a flat wall wanders up and down; unsmoothed, that would be counted as length.
    window = round(_WINDOW_DEG / step) // 2 * 2 + 1
    radius, height = (savgol_filter(values, window, 2) for values in (radius, height))
    points = np.stack([radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle)), height], axis=1)
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
