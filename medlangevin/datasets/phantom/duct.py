"""The cochlear duct: a tube of elliptic cross-section wound about the modiolar axis.

Its outer (lateral) wall, height, semi-axes and tilt are smooth curves over the angle from the round window; the knots
below describe an average adult cochlea and are stretched to a given A, B, number of turns, lateral wall length, height
and volume.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from medlangevin.datasets.phantom.frame import ROUND_WINDOW_ANGLE_DEG, FloatArray, from_cylinder

START_DEG = -12.0  # the duct opens into the vestibule here, before the round window
MEAN_TURNS = 2.6
STEP_DEG = 3.0

# Angle from the round window (deg), lateral wall radius, height (mm).
_WALL = np.array(
    [
        (-20, 6.60, -1.20), (10, 5.35, -0.15), (45, 4.25, -0.13), (90, 3.60, -0.13), (135, 3.35, -0.05),
        (180, 3.33, -0.05), (225, 3.27, -0.17), (270, 3.02, -0.15), (315, 2.62, 0.12), (360, 2.18, 0.45),
        (405, 1.92, 0.70), (450, 1.86, 0.92), (495, 1.92, 1.12), (540, 1.96, 1.28), (585, 1.92, 1.40),
        (630, 1.80, 1.54), (675, 1.58, 1.72), (720, 1.30, 1.90), (780, 1.08, 2.06), (850, 1.02, 2.22),
        (936, 1.00, 2.40),
    ]
)  # fmt: skip
# Angle (deg), long and short semi-axis (mm), angle of the long axis from the radial direction towards the apex (deg).
_SECTION = np.array(
    [
        (-20, 1.65, 1.35, 60), (20, 1.36, 1.10, 50), (60, 1.27, 0.88, 46), (120, 1.12, 0.76, 52),
        (180, 1.06, 0.75, 58), (300, 1.05, 0.80, 64), (420, 1.00, 0.68, 66), (540, 0.90, 0.62, 55),
        (720, 0.72, 0.55, 45), (936, 0.57, 0.50, 40),
    ]
)  # fmt: skip


class Section(NamedTuple):
    """The duct over its angle; arrays of one length: ``angle_deg`` (from the round window), the centre line's
    ``radius`` and ``height``, the ``long`` and ``short`` semi-axes (mm), the ``tilt_rad`` of the long one."""

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

    def centre_line(self) -> FloatArray:
        """Points (n, 3) in the reference frame."""
        return from_cylinder(np.radians(self.angle_deg + ROUND_WINDOW_ANGLE_DEG), self.radius, self.height)

    def lateral_wall(self) -> FloatArray:
        """The outermost points (n, 3) of the cross-sections in the reference frame."""
        extent = self.radial_extent
        rise = (self.long**2 - self.short**2) * np.sin(self.tilt_rad) * np.cos(self.tilt_rad) / extent
        angle = np.radians(self.angle_deg + ROUND_WINDOW_ANGLE_DEG)
        return from_cylinder(angle, self.radius + extent, self.height + rise)

    def rings(self, sides: int = 32) -> FloatArray:
        """The wall as points (n, sides, 3) in the reference frame, one ring for each angle."""
        turn = np.linspace(0.0, 2 * np.pi, sides, endpoint=False)
        along, across = self.long[:, None] * np.cos(turn), self.short[:, None] * np.sin(turn)
        cos, sin = np.cos(self.tilt_rad)[:, None], np.sin(self.tilt_rad)[:, None]
        angle = np.radians(self.angle_deg + ROUND_WINDOW_ANGLE_DEG)[:, None] + 0.0 * turn
        radius = self.radius[:, None] + along * cos - across * sin
        return from_cylinder(angle, radius, self.height[:, None] + along * sin + across * cos)

    def at(self, angle_deg: float) -> "Section":
        """The one cross-section at this angle, every array of length 1."""
        return Section(*(np.interp([angle_deg], self.angle_deg, values) for values in self))


@dataclass(frozen=True)
class Stretch:
    """How the average duct is stretched: lateral wall radius along A and across it (B), height, cross-section, the
    relative change ``apical`` of the radius beyond the first turn, and the number of ``turns``."""

    a: float = 1.0
    b: float = 1.0
    height: float = 1.0
    section: float = 1.0
    apical: float = 0.0
    turns: float = MEAN_TURNS


def make_section(stretch: Stretch) -> Section:
    """The duct of a stretch, sampled about every 3 degrees from the vestibule to the helicotrema."""
    end = 360.0 * stretch.turns
    count = int(round((end - START_DEG) / STEP_DEG)) + 1
    angle = np.linspace(START_DEG, end, count)
    # Ears differ in turns by how far the apical part goes on, so the average profile is stretched beyond one turn.
    mean_angle = np.where(angle <= 360, angle, 360 + (angle - 360) * (MEAN_TURNS - 1) / (stretch.turns - 1))
    wall = PchipInterpolator(_WALL[:, 0], _WALL[:, 1:])(mean_angle)
    section = PchipInterpolator(_SECTION[:, 0], _SECTION[:, 1:])(mean_angle)
    direction = np.radians(angle)
    apical = np.clip((angle - 360) / 180, 0, 1)
    scale = stretch.a * np.cos(direction) ** 2 + stretch.b * np.sin(direction) ** 2
    scale = scale * (1 + stretch.apical * apical**2 * (3 - 2 * apical))
    long, short = section[:, 0] * stretch.section, section[:, 1] * stretch.section
    tilt = np.radians(section[:, 2])
    extent = np.hypot(long * np.cos(tilt), short * np.sin(tilt))
    # The innermost turn keeps a little bone (the modiolus) inside it.
    radius = np.maximum(wall[:, 0] * scale - extent, 0.25)
    return Section(angle, radius, wall[:, 1] * stretch.height, long, short, tilt)


def path_length(points: FloatArray) -> float:
    """Length (mm) of a polyline (n, 3)."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def wall_length(section: Section, end_deg: float | None = None) -> float:
    """Lateral wall length (mm) from the round window to ``end_deg`` (default: the helicotrema)."""
    points = section.lateral_wall()
    stop = section.angle_deg[-1] if end_deg is None else end_deg
    cuts = np.sort(np.r_[0.0, section.angle_deg[(section.angle_deg > 0) & (section.angle_deg < stop)], stop])
    return path_length(np.stack([np.interp(cuts, section.angle_deg, points[:, k]) for k in range(3)], axis=1))


def diameter(section: Section, angle_deg: float) -> float:
    """Distance (mm), across the modiolar axis, between the lateral walls at ``angle_deg`` and half a turn later."""
    wall = section.radius + section.radial_extent
    return float(np.interp(angle_deg, section.angle_deg, wall) + np.interp(angle_deg + 180, section.angle_deg, wall))


def tube_volume(section: Section) -> float:
    """Volume (mm3) of the duct: cross-sections swept about the axis (Pappus; exact for this way of winding)."""
    return float(np.trapezoid(np.pi * section.long * section.short * section.radius, np.radians(section.angle_deg)))


def rise(section: Section) -> float:
    """Height (mm) of the lumen along the axis, from the round window to the top."""
    half = np.hypot(section.long * np.sin(section.tilt_rad), section.short * np.cos(section.tilt_rad))
    on = section.angle_deg >= 0
    return float((section.height + half)[on].max() - (section.height - half)[on].min())


def solve_stretch(
    *, a_mm: float, b_mm: float, turns: float, lateral_wall_mm: float, height_mm: float, volume_mm3: float
) -> Stretch:
    """The stretch whose duct has these measures. Raises ValueError when no duct of this family has them."""
    average = make_section(Stretch())
    a, b = a_mm / diameter(average, 0.0), b_mm / diameter(average, 90.0)
    apical, section, height = 0.0, 1.0, 1.0
    for _ in range(4):  # each measure depends mostly on its own knob: a few rounds settle all three

        def with_apical(value: float) -> float:
            return wall_length(make_section(Stretch(a, b, height, section, value, turns))) - lateral_wall_mm

        def with_section(value: float) -> float:
            return tube_volume(make_section(Stretch(a, b, height, value, apical, turns))) - volume_mm3

        def with_height(value: float) -> float:
            return rise(make_section(Stretch(a, b, value, section, apical, turns))) - height_mm

        apical = brentq(with_apical, -0.45, 0.6, xtol=1e-4)
        section = brentq(with_section, 0.6, 1.6, xtol=1e-4)
        height = brentq(with_height, 0.4, 1.8, xtol=1e-4)
    return Stretch(a, b, height, section, apical, turns)
