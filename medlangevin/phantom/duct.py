"""The cochlear duct: a tube of elliptic cross-section wound about the modiolar axis.

Its outer (lateral) wall, height, semi-axes and tilt are smooth curves over the angle from the round window; the knots
below describe an average adult cochlea and are stretched to a given A, B, number of turns, lateral wall length, height
and volume.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from medlangevin.cochlear_frame import ROUND_WINDOW_ANGLE_DEG
from medlangevin.phantom.frame import FloatArray, from_cylinder

START_DEG = -12.0  # the duct opens into the vestibule here, before the round window
MEAN_TURNS = 2.6
STEP_DEG = 3.0

# Angle from the round window (deg), lateral wall radius, height (mm).
_WALL = np.array(
    [
        (-20, 6.95, -0.90), (10, 5.46, -0.14), (45, 4.23, -0.10), (90, 3.57, -0.16), (135, 3.34, -0.06),
        (180, 3.32, -0.08), (225, 3.37, -0.20), (270, 3.20, -0.14), (315, 2.74, 0.22), (360, 2.15, 0.52),
        (405, 1.87, 0.72), (450, 1.87, 0.86), (495, 2.04, 1.00), (540, 2.22, 1.13), (585, 2.22, 1.24),
        (630, 2.07, 1.48), (675, 1.80, 1.82), (720, 1.52, 2.03), (780, 1.40, 2.10), (850, 1.42, 2.17),
        (936, 1.42, 2.22),
    ]
)  # fmt: skip
# Angle (deg), long and short semi-axis (mm), angle of the long axis from the radial direction towards the apex (deg).
_SECTION = np.array(
    [
        (-20, 1.65, 1.10, 55), (20, 1.35, 1.10, 46), (60, 1.28, 0.80, 46), (120, 1.16, 0.72, 53),
        (180, 1.05, 0.76, 60), (300, 1.10, 1.00, 60), (420, 1.06, 0.64, 55), (540, 1.08, 0.52, 42),
        (720, 0.92, 0.60, 12), (936, 0.68, 0.43, 10),
    ]
)  # fmt: skip
_wall_curve = PchipInterpolator(_WALL[:, 0], _WALL[:, 1:])
_section_curve = PchipInterpolator(_SECTION[:, 0], _SECTION[:, 1:])


class Duct(NamedTuple):
    """The duct over its angle: arrays of one length.

    Attributes:
        angle_deg: Angle from the round window, degrees.
        radius: Distance of the centre line from the spiral's centre, mm.
        height: Height of the centre line along the modiolar axis, mm.
        long: Long semi-axis, mm.
        short: Short semi-axis, mm.
        tilt_rad: Angle of the long axis from the radial direction towards the apex, radians.
    """

    angle_deg: FloatArray
    radius: FloatArray
    height: FloatArray
    long: FloatArray
    short: FloatArray
    tilt_rad: FloatArray

    @property
    def radial_extent(self) -> FloatArray:
        """Half-width of the lumen along the radius (mm)."""
        return np.hypot(self.long * np.cos(self.tilt_rad), self.short * np.sin(self.tilt_rad))

    @property
    def azimuth_rad(self) -> FloatArray:
        """Angle about the spiral's centre from u towards v, radians."""
        return np.radians(self.angle_deg + ROUND_WINDOW_ANGLE_DEG)

    def centre_line(self) -> FloatArray:
        """The middle of each cross-section.

        Returns:
            Points (n, 3) in the reference frame, mm.
        """
        return from_cylinder(self.azimuth_rad, self.radius, self.height)

    def lateral_wall(self) -> FloatArray:
        """The outermost point of each cross-section.

        Returns:
            Points (n, 3) in the reference frame, mm.
        """
        extent = self.radial_extent
        rise = (self.long**2 - self.short**2) * np.sin(self.tilt_rad) * np.cos(self.tilt_rad) / extent
        return from_cylinder(self.azimuth_rad, self.radius + extent, self.height + rise)

    def rings(self, sides: int) -> FloatArray:
        """The wall, one ring for each angle.

        Args:
            sides: Number of points in a ring.

        Returns:
            Points (n, sides, 3) in the reference frame, mm.
        """
        turn = np.linspace(0.0, 2 * np.pi, sides, endpoint=False)
        along, across = self.long[:, None] * np.cos(turn), self.short[:, None] * np.sin(turn)
        cos, sin = np.cos(self.tilt_rad)[:, None], np.sin(self.tilt_rad)[:, None]
        angle = self.azimuth_rad[:, None] + 0.0 * turn
        radius = self.radius[:, None] + along * cos - across * sin
        return from_cylinder(angle, radius, self.height[:, None] + along * sin + across * cos)

    def at(self, angle_deg: float) -> "Duct":
        """The one cross-section at an angle.

        Args:
            angle_deg: Angle from the round window, degrees.

        Returns:
            A section of arrays of length 1.
        """
        return Duct(*(np.interp([angle_deg], self.angle_deg, values) for values in self))


@dataclass(frozen=True)
class Stretch:
    """How the average duct is stretched.

    Attributes:
        a: Factor of the lateral wall's radius along A.
        b: Factor of the lateral wall's radius across it, along B.
        height: Factor of the height.
        section: Factor of the cross-section's semi-axes.
        apical: Relative change of the radius beyond the first turn.
        turns: Number of turns.
    """

    a: float = 1.0
    b: float = 1.0
    height: float = 1.0
    section: float = 1.0
    apical: float = 0.0
    turns: float = MEAN_TURNS


def make_duct(stretch: Stretch) -> Duct:
    """Make the duct of a stretch, sampled about every 3 degrees from the vestibule to the helicotrema.

    Args:
        stretch: How the average duct is stretched.

    Returns:
        The duct.
    """
    end = 360.0 * stretch.turns
    count = round((end - START_DEG) / STEP_DEG) + 1
    angle = np.linspace(START_DEG, end, count)
    # Ears differ in turns by how far the apical part goes on, so the average profile is stretched beyond one turn.
    mean_angle = np.where(angle <= 360, angle, 360 + (angle - 360) * (MEAN_TURNS - 1) / (stretch.turns - 1))
    wall = _wall_curve(mean_angle)
    section = _section_curve(mean_angle)
    direction = np.radians(angle)
    apical = np.clip((angle - 360) / 180, 0, 1)
    scale = stretch.a * np.cos(direction) ** 2 + stretch.b * np.sin(direction) ** 2
    scale = scale * (1 + stretch.apical * apical**2 * (3 - 2 * apical))
    long, short = section[:, 0] * stretch.section, section[:, 1] * stretch.section
    tilt = np.radians(section[:, 2])
    extent = np.hypot(long * np.cos(tilt), short * np.sin(tilt))
    # The innermost turn keeps a little bone (the modiolus) inside it.
    radius = np.maximum(wall[:, 0] * scale - extent, 0.25)
    return Duct(angle, radius, wall[:, 1] * stretch.height, long, short, tilt)


def path_length(points: FloatArray) -> float:
    """Length of a polyline.

    Args:
        points: (n, 3), mm.

    Returns:
        The length, mm.
    """
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def wall_length(duct: Duct, end_deg: float | None = None) -> float:
    """Length of the lateral wall from the round window on.

    Args:
        duct: The duct.
        end_deg: Where it ends, degrees from the round window; the helicotrema by default.

    Returns:
        The length, mm.
    """
    points = duct.lateral_wall()
    stop = duct.angle_deg[-1] if end_deg is None else end_deg
    cuts = np.sort(np.r_[0.0, duct.angle_deg[(duct.angle_deg > 0) & (duct.angle_deg < stop)], stop])
    return path_length(np.stack([np.interp(cuts, duct.angle_deg, points[:, k]) for k in range(3)], axis=1))


def diameter(duct: Duct, angle_deg: float) -> float:
    """Distance, across the modiolar axis, between the lateral walls at an angle and half a turn later.

    Args:
        duct: The duct.
        angle_deg: Angle from the round window, degrees.

    Returns:
        The distance, mm.
    """
    wall = duct.radius + duct.radial_extent
    return float(np.interp(angle_deg, duct.angle_deg, wall) + np.interp(angle_deg + 180, duct.angle_deg, wall))


def tube_volume(duct: Duct) -> float:
    """Volume of the duct: cross-sections swept about the axis (Pappus; exact for this way of winding).

    Args:
        duct: The duct.

    Returns:
        The volume, mm3.
    """
    return float(np.trapezoid(np.pi * duct.long * duct.short * duct.radius, np.radians(duct.angle_deg)))


def rise(duct: Duct) -> float:
    """Height of the lumen along the axis, from the round window to the top.

    Args:
        duct: The duct.

    Returns:
        The height, mm.
    """
    half = np.hypot(duct.long * np.sin(duct.tilt_rad), duct.short * np.cos(duct.tilt_rad))
    on = duct.angle_deg >= 0
    return float((duct.height + half)[on].max() - (duct.height - half)[on].min())


# Which parameter of the stretch sets which measure, and its range.
_SOLVED: dict[str, tuple[Callable[[Duct], float], float, float]] = {
    "apical": (wall_length, -0.3, 0.35),
    "section": (tube_volume, 0.6, 1.6),
    "height": (rise, 0.4, 1.8),
}


def _solve_one(stretch: Stretch, parameter: str, target: float) -> Stretch:
    measure, low, high = _SOLVED[parameter]

    def miss(value: float) -> float:
        return measure(make_duct(replace(stretch, **{parameter: value}))) - target

    return replace(stretch, **{parameter: brentq(miss, low, high, xtol=1e-4)})


def solve_stretch(
    *, a_mm: float, b_mm: float, turns: float, lateral_wall_mm: float, height_mm: float, volume_mm3: float
) -> Stretch:
    """Find the stretch whose duct has given measures.

    Args:
        a_mm: Width through the round window.
        b_mm: Width across it.
        turns: Number of turns.
        lateral_wall_mm: Length of the outer wall.
        height_mm: Height along the modiolar axis.
        volume_mm3: Volume of the lumen.

    Returns:
        The stretch.

    Raises:
        ValueError: No duct of this family has these measures.
    """
    average = make_duct(Stretch())
    stretch = Stretch(a=a_mm / diameter(average, 0.0), b=b_mm / diameter(average, 90.0), turns=turns)
    for _ in range(4):  # each measure depends mostly on its own parameter: a few rounds settle all three
        stretch = _solve_one(stretch, "apical", lateral_wall_mm)
        stretch = _solve_one(stretch, "section", volume_mm3)
        stretch = _solve_one(stretch, "height", height_mm)
    return stretch
