import numpy as np
import pytest
from scipy import stats

from medlangevin.shape import coordinates
from medlangevin.shape.levels import Levels
from medlangevin.shape.modes import distance_map, fit_modes, model_curves
from medlangevin.shape.segment import Lumen

DEVIATIONS = np.array([0.3, 0.1])


def _names(count):
    return [str(index) for index in range(count)]


@pytest.fixture(scope="module")
def maps():
    """Maps of a Gaussian model with two known modes, about a plane wall; and the modes."""
    rng = np.random.default_rng(0)
    mean = np.linspace(-0.4, 0.4, 200)
    modes = np.linalg.qr(rng.standard_normal((200, 2)))[0].T
    return mean + (rng.standard_normal((400, 2)) * DEVIATIONS * np.sqrt(200)) @ modes, modes


def test_a_ball_has_its_own_distance_map(affine):
    grid = coordinates.voxel_centres_lps((60, 50, 50), affine)
    centre, radius = np.array([-0.4, 0.45, 0.4]), 3.0
    found = distance_map(Lumen(radius - np.linalg.norm(grid - centre, axis=-1), affine, Levels(0.0, 2000.0)))
    index = np.stack(np.meshgrid(np.arange(30), np.arange(25), np.arange(25), indexing="ij"), axis=-1)
    away = 0.4 * np.linalg.norm(index - np.array([14.5, 12, 12]), axis=-1)
    assert found.reshape(30, 25, 25) == pytest.approx(np.clip(radius - away, -1.5, 1.5), abs=0.06)


def test_known_modes_and_their_variances_are_found(maps):
    values, modes = maps
    found = fit_modes(values)
    # The relative standard error of a variance of n draws is sqrt(2 / (n - 1)): 4.5 of them, false alarm below 1e-5.
    assert found.variances[:2] == pytest.approx(DEVIATIONS**2 * 200, rel=4.5 * np.sqrt(2 / 399))
    assert found.variances[2:].max() < 1e-10
    assert np.abs(modes @ found.vectors[:2].T) == pytest.approx(np.eye(2), abs=0.1)


def test_compactness_generality_and_specificity_of_the_known_model(maps):
    values, _ = maps
    curves = model_curves(values, _names(400), most=4)
    share = DEVIATIONS[0] ** 2 / (DEVIATIONS**2).sum()
    assert curves.compactness[:2] == pytest.approx([share, 1.0], abs=0.02)
    assert model_curves(values, _names(400), most=1).compactness == pytest.approx(curves.compactness[:1])
    # With one mode, what is left is the second mode's part: |N(0, 0.1)| on average, 0.1 sqrt(2 / pi).
    spread = 0.1 * np.sqrt(1 - 2 / np.pi) / np.sqrt(400)
    assert curves.generality_mm[0] == pytest.approx(0.1 * np.sqrt(2 / np.pi), abs=4.5 * spread + 0.002)
    assert curves.generality_mm[1:] == pytest.approx(0.0, abs=1e-6)
    # A sampled shape in the plane of two modes is near one of 400 ears there, and nearer than ears are spread.
    assert 0 < curves.specificity_mm[1] < 0.05


def test_variances_add_up_to_those_of_the_maps(maps):
    values = maps[0][:7]
    found = fit_modes(values)
    assert found.variances.sum() == pytest.approx(values.var(axis=0, ddof=1).sum())
    weights = (values - found.mean) @ found.vectors.T
    assert weights[:, :2].std(axis=0, ddof=1) == pytest.approx(np.sqrt(found.variances[:2]))


def test_shapes_drawn_from_two_ears_are_as_far_from_them_as_the_normal_law_has_it():
    """Two ears, whose walls lie 0.1 mm to both sides of the mean: a variance of 2 in units of the 0.1 mm.

    The distance of a drawn wall to the nearer ear is | sqrt(2) |g| - 1 | for g of N(0, 1). Mean of 100 draws, with a
    standard deviation of 0.54: 4.5 standard errors, a false alarm below 1e-5.
    """
    values = np.linspace(-0.3, 0.3, 200) + np.array([[-0.1], [0.1]])
    far_from_the_wall = np.ones((2, 2000))
    place = 1 / np.sqrt(2)
    nearer = 2 * stats.norm.cdf(place) - 1 - 2 * np.sqrt(2) * (stats.norm.pdf(0) - stats.norm.pdf(place))
    expected = np.sqrt(2) * np.sqrt(2 / np.pi) - 1 + 2 * nearer
    curves = model_curves(np.hstack([values, far_from_the_wall]), _names(2), most=1)
    assert curves.specificity_mm[0] == pytest.approx(0.1 * expected, abs=0.1 * 4.5 * 0.054)


def test_few_ears_have_few_modes(maps):
    curves = model_curves(maps[0][:3], _names(3), most=4)
    assert np.isnan(curves.compactness[2:]).all()
    assert curves.compactness[1] == pytest.approx(1.0)
    assert np.isnan(curves.generality_mm[1:]).all()


def test_two_ears_of_a_subject_are_left_out_together():
    # Twins: left out one by one, the other would give its shape away.
    rng = np.random.default_rng(4)
    values = np.repeat(np.linspace(-0.4, 0.4, 200) + 0.2 * rng.standard_normal((8, 200)), 2, axis=0)
    twins = [str(index // 2) for index in range(16)]
    apart = model_curves(values, _names(16), most=7, folds=16)
    together = model_curves(values, twins, most=7, folds=16)
    assert together.generality_mm[6] > 2 * apart.generality_mm[6] + 0.05
