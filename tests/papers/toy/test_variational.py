"""Variational inference where the best Gaussian is known."""

import numpy as np
import pytest
import torch

from medlangevin.papers.toy.distances import gaussian_kl
from medlangevin.papers.toy.grid import grid_density
from medlangevin.papers.toy.neural import neural_toy
from medlangevin.papers.toy.variational import draw, fit_gaussian


@pytest.fixture(scope="module")
def fits(linear):
    return {full: fit(linear.toy, full, num_steps=400) for full in (False, True)}


def fit(toy, full_covariance, num_steps):
    points, generator = len(toy.observations), torch.Generator().manual_seed(0)
    return fit_gaussian(toy.log_joint, points, generator, full_covariance=full_covariance, num_steps=num_steps)


@pytest.mark.slow
@pytest.mark.parametrize("full_covariance", [False, True])
def test_the_elbo_falls_short_of_the_evidence_by_the_divergence(full_covariance):
    toy = neural_toy()
    truth = grid_density(toy.log_joint, toy.log_likelihood_bound)
    found = fit(toy, full_covariance, num_steps=100)
    for point in range(3):
        covariance = (found.scale_tril[point] @ found.scale_tril[point].T).numpy()
        divergence = gaussian_kl(found.mean[point].numpy(), covariance, truth, point)
        # log p has a standard deviation of about 1 nat under q: 0.007 for 20,000 draws, of which this is five.
        assert truth.log_evidence[point] - found.elbo[point].item() == pytest.approx(divergence, abs=0.035)


@pytest.mark.slow
def test_full_covariance_recovers_a_gaussian_posterior_and_its_evidence(linear, fits):
    found = fits[True]
    np.testing.assert_allclose(found.mean, linear.means, atol=1e-4)
    assert (found.scale_tril.triu(1) == 0).all()
    np.testing.assert_allclose(found.scale_tril @ found.scale_tril.mT, linear.covariance.expand(2, 2, 2), atol=1e-4)
    np.testing.assert_allclose(found.elbo, linear.log_evidence, atol=1e-6)


def test_mean_field_recovers_the_mean_and_the_diagonal_of_the_precision(linear, fits):
    found = fits[False]
    variances = 1 / torch.linalg.inv(linear.covariance).diagonal()
    np.testing.assert_allclose(found.mean, linear.means, atol=1e-4)
    np.testing.assert_allclose(found.scale_tril.square(), torch.diag(variances).expand(2, 2, 2), atol=1e-4)
    # KL(q || p) of Gaussians with the same mean whose precisions agree in the diagonal.
    gap = 0.5 * (torch.logdet(linear.covariance) - variances.log().sum())
    np.testing.assert_allclose(linear.log_evidence - found.elbo, gap.expand(2), atol=1e-6)


def test_draws_are_those_of_the_fit(fits):
    found = fits[True]
    draws = draw(found, 20_000, torch.Generator().manual_seed(0))
    exact = found.scale_tril[0] @ found.scale_tril[0].T
    # Five standard errors (20,000 draws: 0.7 % and 1 %); 5e-6 false alarms.
    np.testing.assert_allclose(draws[:, 0].mean(0), found.mean[0], atol=5 * 0.0071 * float(exact.max()) ** 0.5)
    np.testing.assert_allclose(torch.cov(draws[:, 0].T), exact, atol=5 * 0.01 * float(exact.max()))
