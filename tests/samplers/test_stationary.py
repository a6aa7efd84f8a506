"""The unadjusted kernels against their exact stationary law on a Gaussian, where they are linear recursions."""

import itertools
import math
from functools import partial

import pytest
import scipy.linalg
import torch
from torch import Tensor

from medlangevin.samplers import qsl, sample, ula

EYE = torch.eye(2, dtype=torch.float64)
ZERO = torch.zeros(2, 2, dtype=torch.float64)


def stationary(transition: Tensor, noise: Tensor) -> Tensor:
    """The covariance S of z' = A z + B xi in the long run: S = A S A^T + B B^T, a discrete Lyapunov equation."""
    return torch.from_numpy(scipy.linalg.solve_discrete_lyapunov(transition.numpy(), (noise @ noise.T).numpy()))


def ula_covariance(precision: Tensor, step_size: float) -> Tensor:
    return stationary(EYE - step_size * precision, math.sqrt(2 * step_size) * EYE)


def qsl_covariance(precision: Tensor, t: float, damping: float, temperature: float = 1.0) -> Tensor:
    """Of position and velocity (4, 4): the step written as a product of matrices."""

    def blocks(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return torch.cat([torch.cat([a, b], dim=1), torch.cat([c, d], dim=1)])

    damp = blocks(EYE, ZERO, ZERO, math.exp(-damping * t / 2) * EYE)
    drift = blocks(EYE, t / 2 * EYE, ZERO, EYE)
    kick = blocks(EYE, ZERO, -t * precision, EYE)
    noise = torch.cat([ZERO, math.sqrt(2 * damping * temperature * t) * EYE])
    return stationary(damp @ drift @ kick @ drift @ damp, damp @ drift @ noise)


def errors(chains: Tensor, expected: Tensor) -> Tensor:
    """Errors of the entries of the second moment of centred chains (chains, draws, n), in standard errors."""
    moments = torch.einsum("cdi,cdj->cij", chains, chains) / chains.shape[1]
    return (moments.mean(0) - expected) / (moments.std(0) / math.sqrt(len(chains)))


def ula_errors(target, expected: Tensor, step_size: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    state = ula.init(target.draw(1000, generator), target.potential)
    step = partial(ula.step, step_size=step_size)
    chains = sample(step, state, target.potential, generator, num_samples=100, burn_in=100)
    return errors(chains.positions - target.mean, expected)


def qsl_errors(target, expected: Tensor, t: float, damping: float, temperature: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    state = qsl.init(target.draw(1000, generator), target.potential, generator, temperature=temperature)
    step = partial(qsl.step, step_size=t, damping=damping, temperature=temperature)
    chains = sample(
        step,
        state,
        target.potential,
        generator,
        num_samples=100,
        burn_in=150,
        position=lambda state: torch.cat([state.position - target.mean, state.velocity], dim=-1),
    )
    return errors(chains.positions, expected)


@pytest.mark.claim("stationary-law")
def test_the_error_of_ula_falls_with_the_step_size(correlated):
    precision = torch.linalg.inv(correlated.covariance)
    found = [(ula_covariance(precision, eta) - correlated.covariance).abs().max() for eta in (0.02, 0.01, 0.005)]
    assert found[-1] < 0.006
    for coarse, fine in itertools.pairwise(found):
        assert math.log2(coarse / fine) == pytest.approx(1, abs=0.1)


@pytest.mark.claim("stationary-law")
@pytest.mark.parametrize("damping", [0.5, 2.0])
def test_the_error_of_qsl_falls_with_the_square_of_the_step_size(damping, correlated):
    precision = torch.linalg.inv(correlated.covariance)
    exact = torch.block_diag(correlated.covariance, EYE)
    found = [(qsl_covariance(precision, t, damping) - exact).abs().max() for t in (0.1, 0.05, 0.025)]
    assert found[-1] < 0.001
    for coarse, fine in itertools.pairwise(found):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.1)


@pytest.mark.claim("stationary-law")
def test_ula_samples_its_stationary_law_and_not_the_target(correlated):
    expected = ula_covariance(torch.linalg.inv(correlated.covariance), 0.15)
    # Three distinct statistics at 3 standard errors: a false-alarm rate of 0.8 % at most.
    assert ula_errors(correlated, expected, 0.15, seed=1).abs().max() < 3
    assert ula_errors(correlated, correlated.covariance, 0.15, seed=1).abs().max() > 8


@pytest.mark.claim("stationary-law")
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_qsl_samples_its_stationary_law_and_not_the_target(temperature, correlated):
    t, damping = 0.5, 1.5
    expected = qsl_covariance(torch.linalg.inv(correlated.covariance), t, damping, temperature)
    # Ten distinct statistics at 3 standard errors: a false-alarm rate of 2.7 % at most.
    assert qsl_errors(correlated, expected, t, damping, temperature, seed=1).abs().max() < 3
    exact = temperature * torch.block_diag(correlated.covariance, EYE)
    assert qsl_errors(correlated, exact, t, damping, temperature, seed=1).abs().max() > 8
