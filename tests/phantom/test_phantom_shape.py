"""The phantom's measured statistics against those of adult ears."""

import numpy as np
import pytest

from medlangevin.phantom.duct import make_duct, solve_stretch, tube_volume
from medlangevin.phantom.fields import VoxelGrid, add_duct
from medlangevin.phantom.measures import cochlear_measures, duct_mesh, surface_centroid
from medlangevin.phantom.shape import MEAN_SHAPE, sample_shape

EARS = 250
# Tolerances are 4 standard errors of this many draws: a false alarm about once in 16000 a figure. The seed is fixed.
FOUR_ERRORS = 4 / np.sqrt(EARS)


@pytest.fixture(scope="module")
def measured() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(20)
    ears = [cochlear_measures(sample_shape(rng).duct()) for _ in range(EARS)]
    return {name: np.array([ear[name] for ear in ears]) for name in ears[0]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "spread", "slack"),
    [
        ("a_value_mm", 9.2, 0.4, 0.0),
        ("b_value_mm", 6.8, 0.4, 0.0),
        ("turns", 2.6, 0.2, 0.0),
        ("lateral_wall_mm", 41.0, 1.7, 0.0),
        # Follows from A and B: 0.1 mm short of 22.5 on average.
        ("lateral_wall_first_turn_mm", 22.5, 1.0, 0.12),
        ("cochlea_volume_mm3", 73.0, 11.0, 0.3),
        ("height_mm", 4.3, 0.3, 0.0),
    ],
)
def test_population_has_the_literatures_means_and_spreads(
    measured: dict[str, np.ndarray], name: str, mean: float, spread: float, slack: float
) -> None:
    values = measured[name]
    assert values.mean() == pytest.approx(mean, abs=slack + FOUR_ERRORS * spread)
    # The standard error of a spread is spread / sqrt(2 n); cutting at three spreads takes another 1.5 % off.
    assert values.std() == pytest.approx(spread, abs=FOUR_ERRORS * spread / np.sqrt(2) + 0.06 * spread)


def test_volume_stays_in_its_range(measured: dict[str, np.ndarray]) -> None:
    volume = measured["cochlea_volume_mm3"]
    assert volume.min() > 55.7
    assert volume.max() < 113.3


def test_duct_narrows_from_base_to_apex(measured: dict[str, np.ndarray]) -> None:
    # Their spread is that of the volume, about 0.35 and 0.13 mm2 and 0.15 mm.
    assert measured["basal_cross_section_mm2"].mean() == pytest.approx(2.5, abs=FOUR_ERRORS * 0.35)
    assert measured["apical_cross_section_mm2"].mean() == pytest.approx(0.9, abs=FOUR_ERRORS * 0.13)
    assert measured["basal_lumen_diameter_mm"].mean() == pytest.approx(2.1, abs=FOUR_ERRORS * 0.15)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a_value_mm", "b_value_mm"),
        ("a_value_mm", "lateral_wall_mm"),
        ("b_value_mm", "lateral_wall_mm"),
        ("turns", "lateral_wall_mm"),
        ("a_value_mm", "cochlea_volume_mm3"),
        ("b_value_mm", "cochlea_volume_mm3"),
        ("height_mm", "cochlea_volume_mm3"),
        ("cochlea_volume_mm3", "cochlea_surface_mm2"),
    ],
)
def test_large_ears_are_large_in_every_way(measured: dict[str, np.ndarray], first: str, second: str) -> None:
    # Without correlation the coefficient has a standard error of 0.063: 0.2 by chance once in 1300.
    assert np.corrcoef(measured[first], measured[second])[0, 1] > 0.2


def test_mean_shape_has_the_means() -> None:
    measures = cochlear_measures(MEAN_SHAPE.duct())
    assert measures["a_value_mm"] == pytest.approx(9.2, abs=0.01)
    assert measures["b_value_mm"] == pytest.approx(6.8, abs=0.01)
    assert measures["turns"] == pytest.approx(2.6)
    assert measures["lateral_wall_mm"] == pytest.approx(41.0, abs=0.02)
    assert measures["lateral_wall_first_turn_mm"] == pytest.approx(22.5, abs=0.15)
    assert measures["cochlea_volume_mm3"] == pytest.approx(73.0, rel=0.01)


def test_mean_cochleas_surface_is_centred_at_the_origin() -> None:
    assert np.linalg.norm(surface_centroid(duct_mesh(MEAN_SHAPE.duct()))) < 0.2


def test_mesh_volume_formula_and_voxel_count_agree() -> None:
    rng = np.random.default_rng(3)
    for duct in (MEAN_SHAPE.duct(), sample_shape(rng).duct(), sample_shape(rng).duct()):
        mesh = cochlear_measures(duct)["cochlea_volume_mm3"]
        assert mesh == pytest.approx(tube_volume(duct), rel=0.01)
        grid = VoxelGrid.around(np.full(3, -6.5), np.full(3, 6.5), 0.1)
        field = grid.field()
        add_duct(field, grid, duct)
        voxels = np.clip(0.5 - field / grid.spacing, 0, 1).sum() * grid.spacing**3
        # The voxels also have the rounded tip beyond the last cross-section, at most 0.6 mm3, and turns that touch.
        assert voxels == pytest.approx(mesh, rel=0.025)


def test_solved_stretch_gives_the_measures_asked_for() -> None:
    wanted = {
        "a_mm": 9.6, "b_mm": 6.5, "turns": 2.75, "lateral_wall_mm": 41.8, "height_mm": 4.6, "volume_mm3": 85.0
    }  # fmt: skip
    measures = cochlear_measures(make_duct(solve_stretch(**wanted)))
    assert measures["a_value_mm"] == pytest.approx(9.6, abs=0.01)
    assert measures["b_value_mm"] == pytest.approx(6.5, abs=0.01)
    assert measures["lateral_wall_mm"] == pytest.approx(41.8, abs=0.02)
    assert measures["height_mm"] == pytest.approx(4.6, abs=0.01)
    assert measures["cochlea_volume_mm3"] == pytest.approx(85.0, rel=0.01)


def test_impossible_measures_are_refused() -> None:
    with pytest.raises(ValueError, match="sign"):
        solve_stretch(a_mm=9.2, b_mm=6.8, turns=2.6, lateral_wall_mm=60.0, height_mm=4.3, volume_mm3=73.0)


def test_same_generator_state_gives_the_same_shape() -> None:
    assert sample_shape(np.random.default_rng(5)) == sample_shape(np.random.default_rng(5))
    assert sample_shape(np.random.default_rng(5)) != sample_shape(np.random.default_rng(6))
