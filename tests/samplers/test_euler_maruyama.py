"""The Euler-Maruyama step: Jacobian and orders of convergence."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import euler_maruyama, evaluate

D = 4
PER_DIMENSION = torch.tensor([0.05, 0.3, 0.6, 0.11], dtype=torch.float64)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.claim("euler-maruyama")
@pytest.mark.parametrize("step_size", [0.1, PER_DIMENSION], ids=["scalar", "per-dimension"])
def test_jacobian_equals_its_formula(step_size, quartic):
    noise, positions = normal(1, D, seed=1), normal(3, D, seed=2)

    def flat_step(flat: Tensor) -> Tensor:
        gradient = evaluate(quartic, flat[None], create_graph=True).gradient
        return euler_maruyama.step(flat[None], gradient, step_size=step_size, noise=noise)[0]

    jacobians = torch.stack([torch.autograd.functional.jacobian(flat_step, row) for row in positions])
    expected = torch.linalg.slogdet(jacobians).logabsdet
    assert expected.std() > 0.01  # it depends on the position, unlike the other integrators' determinants
    hessians = [torch.autograd.functional.hessian(lambda z: quartic(z[None])[0], row) for row in positions]
    eta = torch.as_tensor(step_size, dtype=torch.float64).expand(D)[:, None]
    found = torch.linalg.slogdet(torch.eye(D, dtype=torch.float64) - eta * torch.stack(hessians)).logabsdet
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.claim("euler-maruyama")
def test_mean_and_covariance_converge_with_order_one():
    # dz = -A z dt + sqrt(2) dB from a point: mean exp(-A t) z and covariance A^-1 (I - exp(-2 A t)) in closed form. The
    # step is affine in position and noise, so its own mean and covariance are propagated exactly, without sampling.
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    start, eye = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    decay = torch.linalg.matrix_exp(-matrix)
    mean, covariance = start @ decay, torch.linalg.inv(matrix) @ (eye - decay @ decay)

    def errors(step_size: float) -> tuple[float, float]:
        none = torch.zeros(2, 2, dtype=torch.float64)
        linear = euler_maruyama.step(eye, eye @ matrix, step_size=step_size, noise=none)
        noise = euler_maruyama.step(none, none, step_size=step_size, noise=eye)
        at, spread = start, none
        for _ in range(round(1 / step_size)):
            at, spread = at @ linear, linear.T @ spread @ linear + noise.T @ noise
        return float((at - mean).abs().max()), float((spread - covariance).abs().max())

    for coarse, fine in itertools.pairwise([errors(t) for t in (0.02, 0.01, 0.005)]):
        assert [math.log2(a / b) for a, b in zip(coarse, fine, strict=True)] == pytest.approx([1, 1], abs=0.1)


@pytest.mark.claim("euler-maruyama")
def test_paths_converge_with_strong_order_one_for_additive_noise(quartic):
    # The noise of a coarse step is the sum of the fine ones along the same Brownian path; the finest path stands for
    # the exact one. Largest root-mean-square error over 500 paths at time 0.5.
    finest, paths = 1024, 500
    increments = normal(finest, paths, D, seed=3)

    def end(steps: int) -> Tensor:
        merged = increments.reshape(steps, finest // steps, paths, D).sum(1) / math.sqrt(finest // steps)
        z = 0.3 * normal(paths, D, seed=4)
        for noise in merged:
            z = euler_maruyama.step(z, evaluate(quartic, z).gradient, step_size=0.5 / steps, noise=noise)
        return z

    reference = end(finest)
    errors = [float((end(steps) - reference).square().mean().sqrt()) for steps in (16, 32, 64)]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(1, abs=0.2)
