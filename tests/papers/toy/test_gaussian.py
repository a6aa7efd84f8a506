"""The Gaussian toy's truth, which samples are compared with."""

import pytest
import torch

from medlangevin.papers.toy.gaussian import COVARIANCE, gaussian_toy


@pytest.mark.claim("gaussian-toy")
def test_its_covariance_is_one_and_the_printed_matrix_is_none():
    """Correction 5: the paper prints [[0.7, 0.6], [0.7, 0.8]]."""
    ours, printed = torch.tensor(COVARIANCE), torch.tensor([[0.7, 0.6], [0.7, 0.8]])
    assert torch.equal(ours, ours.T)
    assert torch.linalg.eigvalsh(ours).min() > 0.1
    assert not torch.equal(printed, printed.T)


@pytest.mark.claim("gaussian-toy")
def test_the_posteriors_are_those_of_the_potential():
    toy = gaussian_toy()
    (gradient,) = torch.autograd.functional.vjp(toy.potential, toy.means, torch.ones(3, dtype=torch.float64))[1:]
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
    hessian = torch.autograd.functional.hessian(lambda z: toy.potential(z).sum(), toy.means)
    for point in range(len(toy.means)):
        torch.testing.assert_close(torch.linalg.inv(hessian[point, :, point, :]), toy.covariance)
