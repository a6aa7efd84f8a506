"""Variational inference where the best Gaussian is known."""

import numpy as np
import pytest
import torch

from medlangevin.evaluation.toy.variational import draw, fit_gaussian


@pytest.fixture(scope="module")
def fits(linear):
    return {full: fit_gaussian(linear.toy.log_joint, 2, full_covariance=full, num_steps=400) for full in (False, True)}


def test_full_covariance_recovers_a_gaussian_posterior_and_its_evidence(linear, fits):
    fit = fits[True]
    np.testing.assert_allclose(fit.mean, linear.means, atol=1e-4)
    np.testing.assert_allclose(fit.scale_tril @ fit.scale_tril.mT, linear.covariance.expand(2, 2, 2), atol=1e-4)
    np.testing.assert_allclose(fit.elbo, linear.log_evidence, atol=1e-6)


def test_mean_field_recovers_the_mean_and_the_diagonal_of_the_precision(linear, fits):
    fit = fits[False]
    variances = 1 / torch.linalg.inv(linear.covariance).diagonal()
    np.testing.assert_allclose(fit.mean, linear.means, atol=1e-4)
    np.testing.assert_allclose(fit.scale_tril.square(), torch.diag(variances).expand(2, 2, 2), atol=1e-4)
    # KL(q || p) of Gaussians with the same mean whose precisions agree in the diagonal.
    gap = 0.5 * (torch.logdet(linear.covariance) - variances.log().sum())
    np.testing.assert_allclose(linear.log_evidence - fit.elbo, gap.expand(2), atol=1e-6)


def test_draws_are_those_of_the_fit(fits):
    fit = fits[True]
    draws = draw(fit, 20_000, torch.Generator().manual_seed(0))
    exact = fit.scale_tril[0] @ fit.scale_tril[0].T
    # Five standard errors (20,000 draws: 0.7 % and 1 %); 5e-6 false alarms.
    np.testing.assert_allclose(draws[:, 0].mean(0), fit.mean[0], atol=5 * 0.0071 * float(exact.max()) ** 0.5)
    np.testing.assert_allclose(torch.cov(draws[:, 0].T), exact, atol=5 * 0.01 * float(exact.max()))
