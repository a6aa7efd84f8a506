import numpy as np
import pytest

from medlangevin.cochlear_frame import SPIRAL_CENTRE_UV
from medlangevin.shape import coil, sections
from medlangevin.shape.levels import Levels
from medlangevin.shape.measure import analyse_lumen
from medlangevin.shape.segment import Lumen

LEVELS = Levels(0.0, 2000.0)


@pytest.fixture(scope="module")
def analysis(spiral_distance, affine):
    return analyse_lumen(Lumen(spiral_distance, affine, LEVELS))


def _true_wall(spiral, turns):
    """Length of the known spiral's lateral wall from the round window to a number of turns."""
    theta = np.linspace(0, 2 * np.pi * turns, 4000)
    radius = spiral.radius(theta) + spiral.tube(theta)
    height = spiral.rise_mm_per_turn * theta / (2 * np.pi)
    points = np.stack([radius * np.cos(theta), radius * np.sin(theta), height], axis=1)
    return np.linalg.norm(np.diff(points, axis=0), axis=1).sum()


@pytest.mark.slow
def test_the_lateral_wall_of_a_known_spiral_has_its_length_in_space(analysis, spiral):
    assert analysis.measures.lateral_wall_mm == pytest.approx(_true_wall(spiral, analysis.measures.turns), rel=0.01)


def test_cross_sections_of_a_known_spiral(analysis, spiral):
    cuts = analysis.sections
    on = (cuts.angle_deg <= 720) & np.isfinite(cuts.area_mm2)
    assert on.sum() == 139
    theta = np.radians(cuts.angle_deg[on])
    # A half-plane through the axis cuts a round tube aslant by its pitch, dr/dtheta over r and the rise.
    radius = spiral.radius(theta)
    slant = np.sqrt(1 + spiral.rate**2 + (spiral.rise_mm_per_turn / (2 * np.pi * radius)) ** 2)
    expected = np.pi * spiral.tube(theta) ** 2 * slant
    assert cuts.area_mm2[on] == pytest.approx(expected, rel=0.08)
    first = cuts.angle_deg[on] <= 360
    assert analysis.measures.mean_area_mm2 == pytest.approx(expected[first].mean(), rel=0.02)
    wall = [spiral.wall(angle) for angle in cuts.angle_deg[on]]
    assert cuts.wall_radius_mm[on] == pytest.approx(wall, abs=0.07)


def test_every_section_of_a_torus_is_its_circle(uvh, affine):
    ring, tube = 3.0, 0.9
    level = tube - np.hypot(np.hypot(*np.moveaxis(uvh[..., :2] - SPIRAL_CENTRE_UV, -1, 0)) - ring, uvh[..., 2])
    angle = np.arange(30.0, 366.0, 5.0)
    path = coil.Path(angle, np.full(angle.size, ring), np.zeros(angle.size), True)
    cuts = sections.cut_sections(Lumen(level, affine, LEVELS), path)
    assert cuts.area_mm2[angle < 360] == pytest.approx(np.pi * tube**2, rel=0.03)
    assert cuts.wall_radius_mm[angle < 360] == pytest.approx(ring + tube, abs=0.03)
    length = sections.wall_length(cuts, np.full(6, ring + tube), end_deg=350.0)
    assert length == pytest.approx(2 * np.pi * (ring + tube) * 350 / 360, rel=0.01)


def test_turns_that_touch_are_parted_at_the_ridge(uvh, affine):
    rho = np.hypot(*np.moveaxis(uvh[..., :2] - SPIRAL_CENTRE_UV, -1, 0))
    level = np.maximum(0.8 - np.hypot(rho - 3.5, uvh[..., 2]), 0.8 - np.hypot(rho - 2.1, uvh[..., 2] - 0.5))
    path = coil.Path(np.array([90.0, 450.0]), np.array([3.5, 2.1]), np.array([0.0, 0.5]), True)
    cuts = sections.cut_sections(Lumen(level, affine, LEVELS), path)
    # Two circles of radius 0.8 with centres d apart share half a lens each: area of a circle less that of a segment.
    half = np.hypot(1.4, 0.5) / 2
    segment = 0.64 * np.arccos(half / 0.8) - half * np.sqrt(0.64 - half**2)
    assert cuts.area_mm2 == pytest.approx(np.pi * 0.64 - segment, rel=0.05)


def test_a_section_that_is_not_there_makes_length_and_mean_missing(analysis):
    gap = analysis.sections.area_mm2.copy()
    gap[10] = np.nan
    cuts = analysis.sections._replace(area_mm2=gap, wall_radius_mm=gap)
    assert np.isnan(sections.mean_area(cuts))
    assert np.isnan(sections.wall_length(cuts, np.full(6, 5.0), end_deg=700.0))
    assert np.isnan(sections.wall_length(analysis.sections, np.full(6, 5.0), end_deg=float("nan")))
    assert np.isnan(sections.mean_area(analysis.sections, end_deg=2000.0))


def test_sections_end_with_the_duct(analysis, spiral):
    assert analysis.sections.angle_deg[-1] == pytest.approx(360 * analysis.measures.turns)
    assert analysis.sections.angle_deg[-1] == pytest.approx(360 * spiral.turns, abs=72)


@pytest.fixture(scope="module")
def unresolved(unresolved_distance, affine):
    return analyse_lumen(Lumen(unresolved_distance, affine, LEVELS))


def test_unresolved_turns_leave_the_length_missing_and_the_first_turn_found(unresolved):
    found = unresolved.measures
    assert np.isnan(found.lateral_wall_mm)
    assert "lateral wall" in found.note
    assert found.cdl_corti_a_mm > 0


def test_sections_of_an_unresolved_apex_end_at_the_highest_point(unresolved):
    path = coil.trace(unresolved.lumen)
    assert unresolved.sections.angle_deg[-1] == max(360.0, path.angle_deg[path.height_mm.argmax()])
