import numpy as np
import pytest

from medlangevin.shape import coil, coordinates, surface
from medlangevin.shape.levels import Levels
from medlangevin.shape.measure import analyse_lumen, measure
from medlangevin.shape.segment import Lumen


@pytest.fixture(scope="module")
def lumen(spiral_distance, affine):
    return Lumen(spiral_distance, affine, Levels(0.0, 2000.0))


def test_lateral_wall_of_a_known_spiral_is_found_all_around_the_first_turn(lumen, spiral):
    for angle in (20, 90, 135, 180, 225, 270, 330):
        assert coil.lateral_wall_radius(lumen, angle) == pytest.approx(spiral.wall(angle), abs=0.05)


def test_a_and_b_of_a_known_spiral(lumen, spiral):
    assert coil.a_value(lumen) == pytest.approx(spiral.wall(0) + spiral.wall(180), abs=0.1)
    assert coil.b_value(lumen) == pytest.approx(spiral.wall(90) + spiral.wall(270), abs=0.05)


def test_height_is_from_the_floor_of_the_first_turn_to_the_top(lumen, spiral, affine):
    vertices = coordinates.to_modiolar(surface.mesh_of(lumen.level, affine).vertices)
    expected = spiral.rise_mm_per_turn * spiral.turns + spiral.tube_mm + spiral.end_tube_mm
    assert coil.height(vertices) == pytest.approx(expected, abs=0.12)


def test_the_centre_line_and_the_turns_of_a_known_spiral(lumen, spiral):
    path = coil.trace(lumen)
    on = (path.angle_deg > 40) & (path.angle_deg < 800)
    assert path.radius_mm[on] == pytest.approx(spiral.radius(np.radians(path.angle_deg[on])), abs=0.12)
    assert path.height_mm[on] == pytest.approx(-0.2 + spiral.rise_mm_per_turn * path.angle_deg[on] / 360, abs=0.12)
    top = -0.2 + spiral.rise_mm_per_turn * spiral.turns + spiral.end_tube_mm
    assert coil.turns(path, top) == pytest.approx(spiral.turns, abs=0.2)


def test_volume_and_surface_of_a_known_spiral(lumen, spiral):
    theta, centres = spiral.centres(begin_deg=0.0)
    length = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    tube = spiral.tube(theta[1:])
    result = analyse_lumen(lumen).measures
    # The tube begins 3 degrees earlier and ends in two half balls, part of the first beyond the cut to the vestibule.
    ends = 2 / 3 * np.pi * (spiral.tube_mm**3 + spiral.end_tube_mm**3)
    assert result.volume_mm3 == pytest.approx((np.pi * tube**2 * length).sum() + ends, rel=0.03)
    wall_ends = 2 * np.pi * (spiral.tube_mm**2 + spiral.end_tube_mm**2)
    assert result.surface_mm2 == pytest.approx((2 * np.pi * tube * length).sum() + wall_ends, rel=0.03)


def test_turns_that_run_together_are_missing_not_guessed(unresolved_distance, affine):
    result = analyse_lumen(Lumen(unresolved_distance, affine, Levels(0.0, 2000.0))).measures
    assert np.isnan(result.turns)
    assert "turns" in result.note
    assert result.b_mm > 0


def test_a_blob_has_volume_and_no_coil(uvh, affine):
    blob = 2.5 - np.linalg.norm(uvh - np.array([-2.0, -1.0, 0.3]), axis=-1)
    result = analyse_lumen(Lumen(blob, affine, Levels(0.0, 2000.0))).measures
    assert result.volume_mm3 == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.01)
    assert np.isnan([result.a_mm, result.b_mm, result.b_over_a, result.height_mm, result.turns]).all()
    assert "does not coil" in result.note


def test_the_measures_survive_imaging(spiral_ct, affine, spiral):
    noise = np.random.default_rng(0).standard_normal(spiral_ct.shape) * 60
    result = measure(spiral_ct + noise, affine)
    assert result.note == ""
    assert result.a_mm == pytest.approx(spiral.wall(0) + spiral.wall(180), abs=0.3)
    assert result.b_mm == pytest.approx(spiral.wall(90) + spiral.wall(270), abs=0.15)
    assert result.turns == pytest.approx(spiral.turns, abs=0.2)
