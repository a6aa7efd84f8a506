import numpy as np
import pytest

from medlangevin.shape.two_sample import manifold_scores


def test_a_layout_worked_out_by_hand():
    real = np.array([[0.0], [1.0], [2.0], [10.0]])  # radii to the nearest other: 1, 1, 1, 8
    synthetic = np.array([[0.5], [1.5], [30.0]])  # radii 1, 1, 28.5
    scores = manifold_scores(synthetic, real, neighbours=1)
    # 0.5 lies in the balls of 0, 1; 1.5 in those of 1, 2; 30 in none. The ball of 10 reaches 2 to 18.
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.density == pytest.approx(4 / 3)
    assert scores.coverage == pytest.approx(3 / 4)
    # The synthetic ball of 30 reaches down to 1.5, so that 2 and 10 are in it; 0 and 1 are in that of 0.5.
    assert scores.recall == 1.0


def test_equal_distributions_have_density_one_and_the_coverage_of_theory():
    rng = np.random.default_rng(0)
    scores = [manifold_scores(*rng.standard_normal((2, 100, 3))) for _ in range(60)]
    density, coverage = (np.array([getattr(item, name) for item in scores]) for name in ("density", "coverage"))
    # Naeem et al. 2020, eq. 5 and 8: E density = 1; E coverage = 1 - prod_{i<k} (n - 1 - i) / (2n - 1 - i), n = m.
    place = np.arange(5)
    expected = 1 - np.prod((100 - 1 - place) / (200 - 1 - place))
    assert density.mean() == pytest.approx(1.0, abs=4.5 * density.std() / np.sqrt(60))
    assert coverage.mean() == pytest.approx(expected, abs=4.5 * coverage.std() / np.sqrt(60))


def test_one_kind_of_ear_alone_is_precise_and_covers_little():
    rng = np.random.default_rng(1)
    real, synthetic = rng.standard_normal((200, 2)), 0.05 * rng.standard_normal((200, 2))
    scores = manifold_scores(synthetic, real)
    assert scores.precision == 1.0
    assert scores.recall < 0.1
    assert scores.coverage < 0.5


def test_sets_far_apart_score_nothing():
    real = np.random.default_rng(2).standard_normal((20, 2))
    assert manifold_scores(real + 100, real) == (0.0, 0.0, 0.0, 0.0)
