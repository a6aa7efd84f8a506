"""Log-likelihoods against torch.distributions, in precision and in scale."""

import math

import pytest
import torch

from medlangevin.likelihoods import Bernoulli, Gaussian


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 5), (3, 1, 4, 5), (3, 2, 4, 3, 5)])
def test_gaussian_is_the_sum_of_normal_log_densities(shape):
    x, mean = noise(*shape, seed=1), noise(*shape, seed=2)
    likelihood = Gaussian(0.3)
    expected = torch.distributions.Normal(mean.double(), 0.3).log_prob(x.double()).flatten(1).sum(1)
    assert likelihood.log_prob(x, mean).shape == (3,)
    torch.testing.assert_close(likelihood.log_prob(x, mean).detach(), expected, rtol=1e-6, atol=0)
    assert torch.equal(likelihood.mean(mean), mean)


def test_a_volume_s_sum_is_accurate_to_a_hundredth_of_a_nat():
    x, mean = noise(2, 1, 60, 50, 50, seed=1), noise(2, 1, 60, 50, 50, seed=2)
    likelihood = Gaussian(0.1)
    exact = likelihood.log_prob(x.double(), mean.double())
    assert exact.abs().min() > 1e7
    # Each of 150,000 elements carries a relative rounding error of about 1e-7, with random sign: 1e-7 * 1e7 / 400.
    assert (likelihood.log_prob(x, mean) - exact).abs().max() < 0.2
    assert (
        likelihood.log_prob(0.1 * x, 0.1 * mean) - likelihood.log_prob(0.1 * x.double(), 0.1 * mean.double())
    ).abs().max() < 0.01


def test_the_learned_scale_has_its_maximum_at_the_root_mean_square_error():
    x, mean = noise(4, 100, seed=1), torch.zeros(4, 100)
    likelihood = Gaussian(float(x.square().mean().sqrt()))
    (gradient,) = torch.autograd.grad(likelihood.log_prob(x, mean).sum(), likelihood.log_scale)
    assert gradient.abs() < 1e-3
    likelihood.log_scale.data += 0.1
    (gradient,) = torch.autograd.grad(likelihood.log_prob(x, mean).sum(), likelihood.log_scale)
    assert gradient == pytest.approx(-400 * (1 - math.exp(-0.2)), rel=1e-4)


def test_bernoulli_is_the_sum_of_bernoulli_log_masses():
    x, logits = (noise(3, 1, 7, 5, seed=1) > 0).float(), 3 * noise(3, 1, 7, 5, seed=2)
    expected = torch.distributions.Bernoulli(logits=logits.double()).log_prob(x.double()).flatten(1).sum(1)
    torch.testing.assert_close(Bernoulli().log_prob(x, logits), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(Bernoulli().mean(logits), torch.sigmoid(logits))


def test_bernoulli_does_not_clamp_outliers():
    logits = torch.tensor([[-300.0]], requires_grad=True)
    value = Bernoulli().log_prob(torch.ones(1, 1), logits)
    assert value.item() == pytest.approx(-300)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient.item() == pytest.approx(1)


@pytest.mark.parametrize("likelihood", [Gaussian(0.2), Bernoulli()])
def test_half_precision_networks_are_summed_in_full_precision(likelihood):
    x, output = (noise(2, 5000, seed=1) > 0).float(), noise(2, 5000, seed=2).to(torch.bfloat16)
    assert likelihood.log_prob(x, output).dtype == torch.float64
    torch.testing.assert_close(likelihood.log_prob(x, output), likelihood.log_prob(x, output.float()))
