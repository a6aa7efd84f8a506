"""The truth by grid, against posteriors that are known."""

import math

import numpy as np
import pytest
import torch

from medlangevin.papers.toy import grid
from medlangevin.papers.toy.neural import neural_toy, neural_toy_of


def test_a_linear_likelihood_has_the_exact_gaussian_posterior(linear):
    density = grid.grid_density(linear.toy.log_joint, linear.toy.log_likelihood_bound)
    means, covariances = grid.moments(density)
    np.testing.assert_allclose(density.log_evidence, linear.log_evidence, atol=1e-8)
    np.testing.assert_allclose(means, linear.means, atol=1e-8)
    # Midpoints see the covariance of the density itself, without the cells' own width.
    np.testing.assert_allclose(covariances, linear.covariance.expand(2, 2, 2), atol=1e-8)
    np.testing.assert_allclose(np.exp(density.log_mass).sum((1, 2)), 1)


def test_cells_are_laid_out_with_z1_first(linear):
    density = grid.grid_density(linear.toy.log_joint, linear.toy.log_likelihood_bound)
    row, column = np.unravel_index(density.log_mass[0].argmax(), density.log_mass[0].shape)
    peak = [grid.CENTRES[row], grid.CENTRES[column]]
    np.testing.assert_allclose(peak, linear.means[0], atol=grid.CENTRES[1] - grid.CENTRES[0])


def test_the_bound_of_the_mass_outside_is_exact_where_the_data_say_nothing():
    # f = 0 and x = 0: the likelihood is at its bound everywhere, and the posterior is the prior.
    toy = neural_toy_of(torch.zeros_like, torch.zeros(1, 2, dtype=torch.float64))
    density = grid.grid_density(toy.log_joint, toy.log_likelihood_bound)
    assert density.outside[0] == pytest.approx(1 - math.erf(6 / math.sqrt(2)) ** 2, rel=1e-6)


@pytest.mark.slow
def test_the_toy_itself_is_inside_the_grid():
    toy = neural_toy()
    density = grid.grid_density(toy.log_joint, toy.log_likelihood_bound)
    assert (density.outside < 1e-6).all()


def test_draws_have_the_moments_of_the_density(linear):
    density = grid.grid_density(linear.toy.log_joint, linear.toy.log_likelihood_bound)
    draws = grid.draw(density, 20_000, np.random.default_rng(0))
    assert draws.shape == (20_000, 2, 2)
    scale = linear.covariance.diagonal().sqrt().numpy()
    # Five standard errors of 4 means and of 4 standard deviations: 5e-6 false alarms.
    assert (abs(draws.mean(0) - linear.means.numpy()) < 5 * scale / math.sqrt(20_000)).all()
    assert (abs(draws.std(0) - scale) < 5 * scale / math.sqrt(40_000)).all()
    correlation = np.corrcoef(draws[:, 0].T)[0, 1]
    exact = float(linear.covariance[0, 1]) / scale.prod()
    assert correlation == pytest.approx(exact, abs=5 * (1 - exact**2) / math.sqrt(20_000))
    # Off the midpoints, uniformly: no two draws coincide.
    assert len(np.unique(draws[:, 0, 0])) == 20_000
