"""Distances between distributions whose distance is known."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import binom

from medlangevin.papers.toy import grid
from medlangevin.papers.toy.distances import binned_kl, gaussian_kl, gaussian_wasserstein2, sample_wasserstein2

ZERO = np.zeros(2)
A = np.array([[0.7, 0.6], [0.6, 0.8]])
B = np.array([[0.5, -0.1], [-0.1, 0.3]])


def density_of(mean, covariance) -> grid.GridDensity:
    """A Gaussian as a density on the grid."""
    z = np.stack(np.meshgrid(grid.CENTRES, grid.CENTRES, indexing="ij"), axis=-1) - mean
    log_mass = -0.5 * np.einsum("ijd,de,ije->ij", z, np.linalg.inv(covariance), z)
    return grid.GridDensity((log_mass - np.logaddexp.reduce(log_mass, axis=None))[None], np.zeros(1), np.zeros(1))


def test_gaussians_that_differ_in_the_mean_are_that_far_apart():
    assert gaussian_wasserstein2(ZERO, A, np.array([3.0, 4.0]), A) == pytest.approx(5)


def test_a_gaussian_is_at_distance_zero_from_itself():
    # The square root of a rounding error of 1e-16.
    assert gaussian_wasserstein2(ZERO, A, ZERO, A) < 1e-7


def test_axis_aligned_gaussians_differ_by_their_standard_deviations():
    distance = gaussian_wasserstein2(ZERO, np.diag([4.0, 9.0]), ZERO, np.diag([1.0, 25.0]))
    assert distance == pytest.approx(np.hypot(2 - 1, 3 - 5))


def test_gaussians_with_other_axes_are_joined_by_the_optimal_linear_map():
    # x -> T x with T symmetric and positive is the optimal map (Brenier), and carries N(0, A) to N(0, T A T).
    transport = np.array([[1.5, 0.4], [0.4, 0.6]])
    move = transport - np.eye(2)
    distance = gaussian_wasserstein2(ZERO, A, ZERO, transport @ A @ transport)
    assert distance == pytest.approx(np.sqrt(np.trace(move @ A @ move)))


def test_a_collapsed_sample_is_as_far_as_the_spread_of_the_other():
    assert gaussian_wasserstein2(ZERO, np.zeros((2, 2)), ZERO, A) == pytest.approx(np.sqrt(np.trace(A)))


def test_a_shifted_sample_is_at_the_distance_of_the_shift_in_any_order():
    random = np.random.default_rng(0)
    sample = random.standard_normal((50, 2))
    assert sample_wasserstein2(sample, random.permutation(sample) + np.array([0.3, -0.4])) == pytest.approx(0.5)


def test_the_assignment_is_the_best_of_all():
    random = np.random.default_rng(1)
    first, second = random.standard_normal((2, 6, 2))
    best = min(((first - second[list(order)]) ** 2).sum(1).mean() for order in permutations(range(6)))
    assert sample_wasserstein2(first, second) == pytest.approx(np.sqrt(best))


def test_the_divergence_of_gaussians_is_the_closed_form():
    mean = np.array([0.3, -0.2])
    inverse = np.linalg.inv(B)
    log_ratio = np.log(np.linalg.det(B) / np.linalg.det(A))
    exact = 0.5 * (np.trace(inverse @ A) + mean @ inverse @ mean - 2 + log_ratio)
    assert gaussian_kl(ZERO, A, density_of(mean, B), 0) == pytest.approx(exact, rel=1e-6)


def test_a_sample_in_one_bin_has_the_divergence_of_that_bin():
    density = density_of(ZERO, A)
    near = (grid.CENTRES > 0) & (10 * (grid.CENTRES[1] - grid.CENTRES[0]) > grid.CENTRES)
    held = np.exp(density.log_mass[0])[near][:, near].sum()
    assert binned_kl(np.full((100, 2), 0.05), density, 0) == pytest.approx(-np.log(held))


def test_draws_outside_the_grid_count_for_the_outermost_bins():
    density = density_of(ZERO, A)
    corner = -np.logaddexp.reduce(density.log_mass[0, -10:, -10:], axis=None)
    assert binned_kl(np.full((100, 2), 60.0), density, 0) == pytest.approx(corner)


def test_the_binned_divergence_of_a_large_sample_is_that_of_the_densities():
    random = np.random.default_rng(2)
    mean = np.array([0.4, 0.2])
    sample = random.multivariate_normal(mean, A, size=100_000)
    exact = 0.5 * mean @ np.linalg.inv(A) @ mean
    # Binning takes a part away and the finite sample adds one: over 200 other seeds the relative error was 0.010 with a
    # standard deviation of 0.012, between -0.021 and 0.040.
    assert binned_kl(sample, density_of(ZERO, A), 0) == pytest.approx(exact, rel=0.1)


@pytest.mark.slow
def test_independent_draws_are_biased_by_the_sum_over_binomials():
    random = np.random.default_rng(3)
    count, density = 500, density_of(ZERO, A)
    values = [binned_kl(random.multivariate_normal(ZERO, A, size=count), density, 0) for _ in range(100)]
    mass = np.exp(density.log_mass[0]).reshape(60, 10, 60, 10).sum((1, 3)).ravel()[:, None]
    drawn = np.arange(1, count + 1)
    terms = binom.pmf(drawn, count, mass) * drawn / count * np.log(drawn / count / mass)
    # Five standard errors of the mean: 6e-7 false alarms.
    assert np.mean(values) == pytest.approx(terms.sum(), abs=5 * float(np.std(values)) / 10)
