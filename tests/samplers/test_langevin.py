"""ULA and MALA: the distributions they sample, their acceptance and their cost."""

import math

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import mala, ula

COVARIANCE = torch.tensor([[0.7, 0.6], [0.6, 0.8]], dtype=torch.float64)
PRECISION = torch.linalg.inv(COVARIANCE)


def correlated(z: Tensor) -> Tensor:
    return 0.5 * torch.einsum("ni,ij,nj->n", z - 1.0, PRECISION, z - 1.0)


def two_modes(z: Tensor) -> Tensor:
    """0.3 N(-1.2, 0.5^2) + 0.7 N(1.2, 0.5^2), in one dimension, without the constant."""
    logits = torch.stack([math.log(0.3) - 2 * (z + 1.2).square(), math.log(0.7) - 2 * (z - 1.2).square()])
    return -logits.logsumexp(0).squeeze(-1)


def run(kernel, potential, start: Tensor, steps: int, step_size: float, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    state, infos = kernel.init(start, potential), []
    for _ in range(steps):
        state, info = kernel.step(state, potential, generator, step_size=step_size)
        infos.append(info)
    return state, infos


def test_mala_leaves_a_correlated_gaussian_invariant():
    n = 40_000
    # Started in the target itself, the chains must stay there; they are independent, so standard errors are exact.
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    state, _ = run(mala, correlated, 1.0 + noise @ torch.linalg.cholesky(COVARIANCE).T, steps=40, step_size=0.15)
    mean_error = (state.position.mean(0) - 1.0) / (COVARIANCE.diagonal() / n).sqrt()
    variances = torch.outer(COVARIANCE.diagonal(), COVARIANCE.diagonal()) + COVARIANCE.square()
    covariance_error = (state.position.T.cov() - COVARIANCE) / (variances / n).sqrt()
    # 5 distinct checks at 4 standard errors: a false-alarm rate of 3e-4 over seeds; the seed is fixed.
    assert mean_error.abs().max() < 4
    assert covariance_error.abs().max() < 4


def test_ula_at_the_same_step_size_does_not():
    n = 40_000
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    state, _ = run(ula, correlated, 1.0 + noise @ torch.linalg.cholesky(COVARIANCE).T, steps=40, step_size=0.15)
    # Its stationary covariance is (P - eta P^2 / 2)^-1, larger than P^-1: the very error that MALA removes.
    stationary = torch.linalg.inv(PRECISION - 0.075 * PRECISION @ PRECISION)
    variances = torch.outer(stationary.diagonal(), stationary.diagonal()) + stationary.square()
    assert ((state.position.T.cov() - stationary) / (variances / n).sqrt()).abs().max() < 4
    assert ((state.position.T.cov() - COVARIANCE) / (variances / n).sqrt()).abs().max() > 8


def test_mala_finds_the_weights_of_two_modes():
    n = 20_000
    start = torch.full((n, 1), -1.2, dtype=torch.float64)
    state, _ = run(mala, two_modes, start, steps=300, step_size=0.3)
    # Mass right of 0: 0.7 Phi(2.4) + 0.3 Phi(-2.4).
    tail = 0.5 * math.erfc(2.4 / math.sqrt(2))
    mass = 0.7 * (1 - tail) + 0.3 * tail
    standard_error = math.sqrt(mass * (1 - mass) / n)
    # 4 standard errors: a false-alarm rate of 6e-5 over seeds.
    assert abs(float((state.position > 0).double().mean()) - mass) < 4 * standard_error


def test_acceptance_is_per_chain_and_near_one_for_small_steps():
    start = torch.randn(500, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    _, rough = run(mala, correlated, start, steps=5, step_size=0.3)
    _, fine = run(mala, correlated, start, steps=5, step_size=1e-4)
    assert rough[0].is_accepted.shape == (500,)
    assert 0 < rough[-1].is_accepted.double().mean() < 1
    assert fine[-1].acceptance_probability.min() > 0.99
    state = mala.init(start, correlated)
    following, info = mala.step(state, correlated, torch.Generator().manual_seed(3), step_size=0.3)
    moved = (following.position != state.position).any(-1)
    assert torch.equal(moved, info.is_accepted)
    torch.testing.assert_close(following.value, correlated(following.position))


def test_a_proposal_of_infinite_energy_is_rejected():
    def walled(z: Tensor) -> Tensor:
        return torch.where((z.abs() > 0.5).any(-1), torch.inf, 0.5 * z.square().sum(-1))

    state, infos = run(mala, walled, torch.zeros(200, 2, dtype=torch.float64), steps=20, step_size=0.1)
    assert state.position.abs().max() <= 0.5
    assert 0 < torch.stack([info.is_accepted for info in infos]).double().mean() < 1


@pytest.mark.parametrize("kernel", [ula, mala])
def test_one_gradient_a_step(kernel):
    calls = []

    def counted(z: Tensor) -> Tensor:
        calls.append(1)
        return correlated(z)

    run(kernel, counted, torch.zeros(3, 2, dtype=torch.float64), steps=7, step_size=0.1)
    assert len(calls) == 8
