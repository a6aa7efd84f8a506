import numpy as np
import pytest
from scipy import stats

from medlangevin.shape.two_sample import discrepancy, median_distance


def _names(count):
    return [str(index) for index in range(count)]


def test_shifted_gaussians_have_the_discrepancy_of_the_closed_form():
    # For N(0, I) and N(shift, I) in d dimensions and kernel width s, with c = (s^2 / (s^2 + 2))^(d / 2):
    # MMD^2 = 2 c (1 - exp(-|shift|^2 / (2 (s^2 + 2)))).
    d, width, shift = 3, 1.5, np.array([0.8, 0.0, -0.4])
    scale = (width**2 / (width**2 + 2)) ** (d / 2)
    expected = 2 * scale * (1 - np.exp(-(shift @ shift) / (2 * (width**2 + 2))))
    rng = np.random.default_rng(0)
    estimates = []
    for _ in range(60):
        first, second = rng.standard_normal((80, d)), rng.standard_normal((80, d)) + shift
        found = discrepancy(first, second, _names(80), _names(80), bandwidth=width, permutations=1)
        estimates.append(found.squared)
    # Unbiased, so the mean of 60 estimates is within 4.5 standard errors: false alarm below 1e-5.
    error = np.std(estimates, ddof=1) / np.sqrt(60)
    assert np.mean(estimates) == pytest.approx(expected, abs=4.5 * error)
    assert 4.5 * error < 0.25 * expected


def test_equal_distributions_give_estimates_about_zero_and_uniform_p():
    rng = np.random.default_rng(1)
    found = [
        discrepancy(*rng.standard_normal((2, 15, 2)), _names(15), _names(15), permutations=99, seed=seed)
        for seed in range(200)
    ]
    squared = np.array([item.squared for item in found])
    assert squared.mean() == pytest.approx(0.0, abs=4.5 * squared.std() / np.sqrt(200))
    assert (squared < 0).any()
    # Under the null p is uniform on 0.01, 0.02 ... 1; Kolmogorov-Smirnov at a false alarm of 1e-4, plus a step.
    p = np.sort([item.p for item in found])
    distance = np.abs(p - np.arange(1, 201) / 200).max()
    assert distance < stats.kstwo.ppf(1 - 1e-4, 200) + 0.01


def test_sets_that_are_apart_have_the_smallest_p():
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((20, 2)), rng.standard_normal((20, 2)) + 3
    assert discrepancy(first, second, _names(20), _names(20), permutations=199).p == pytest.approx(1 / 200)


def test_the_median_heuristic():
    assert median_distance(np.array([[0.0], [1.0], [5.0]])) == 4.0
    assert median_distance(np.zeros((3, 2))) == 1.0


def test_the_bandwidth_is_the_median_distance_in_both_sets_together():
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((12, 2)), 3 * rng.standard_normal((10, 2))
    width = median_distance(np.concatenate([first, second]))
    chosen, given = (
        discrepancy(first, second, _names(12), _names(10), bandwidth=bandwidth, permutations=1)
        for bandwidth in (None, width)
    )
    assert chosen == given
