"""The leapfrog step: Jacobian, reversibility, order, energy and cost."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import leapfrog

D = 4
PER_DIMENSION = torch.tensor([0.05, 0.15, 0.2, 0.11], dtype=torch.float64)
STEP_SIZES = pytest.mark.parametrize("step_size", [0.15, PER_DIMENSION], ids=["scalar", "per-dimension"])


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def energy(state: leapfrog.State) -> Tensor:
    return state.value + 0.5 * state.velocity.square().sum(-1)


@pytest.mark.claim("leapfrog")
@STEP_SIZES
def test_a_step_preserves_volume_and_the_symplectic_form(step_size, quartic):
    def flat_step(flat: Tensor) -> Tensor:
        start = leapfrog.init(flat[None, :D], flat[None, D:], quartic, create_graph=True)
        end = leapfrog.step(start, quartic, step_size=step_size, create_graph=True)
        return torch.cat([end.position[0], end.velocity[0]])

    jacobian = torch.autograd.functional.jacobian(flat_step, normal(2 * D, seed=0))
    sign, log_determinant = torch.linalg.slogdet(jacobian)
    assert sign == 1
    assert log_determinant.item() == pytest.approx(0, abs=1e-12)
    eye, zero = torch.eye(D, dtype=torch.float64), torch.zeros(D, D, dtype=torch.float64)
    form = torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)])
    if isinstance(step_size, float):
        torch.testing.assert_close(jacobian.T @ form @ jacobian, form, rtol=0, atol=1e-12)


@pytest.mark.claim("leapfrog")
@STEP_SIZES
def test_it_is_time_reversible_and_negative_steps_are_its_inverse(step_size, quartic):
    position, velocity = normal(50, D, seed=1), normal(50, D, seed=2)
    end = leapfrog.init(position, velocity, quartic)
    for _ in range(5):
        end = leapfrog.step(end, quartic, step_size=step_size)
    flipped, inverse = end._replace(velocity=-end.velocity), end
    for _ in range(5):
        flipped = leapfrog.step(flipped, quartic, step_size=step_size)
        inverse = leapfrog.step(inverse, quartic, step_size=-step_size)
    assert (end.position - position).abs().max() > 0.1
    for back, sign in ((flipped, -1), (inverse, 1)):
        torch.testing.assert_close(back.position, position, rtol=0, atol=1e-11)
        torch.testing.assert_close(sign * back.velocity, velocity, rtol=0, atol=1e-11)


@pytest.mark.claim("leapfrog")
def test_it_follows_the_dynamics_with_order_two():
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    position, velocity = normal(3, 2, seed=1), normal(3, 2, seed=2)
    eye = torch.eye(2, dtype=torch.float64)
    flow = torch.linalg.matrix_exp(2 * torch.cat([torch.cat([0 * eye, eye], 1), torch.cat([-matrix, 0 * eye], 1)]))
    exact = torch.cat([position, velocity], dim=1) @ flow.T

    def error(step_size: float) -> float:
        def potential(z: Tensor) -> Tensor:
            return 0.5 * (z @ matrix * z).sum(-1)

        state = leapfrog.init(position, velocity, potential)
        for _ in range(round(2 / step_size)):
            state = leapfrog.step(state, potential, step_size=step_size)
        return float((torch.cat([state.position, state.velocity], dim=1) - exact).abs().max())

    errors = [error(t) for t in (0.1, 0.05, 0.025)]
    assert errors[0] < 0.02
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.1)


def largest_drift(potential, step_size: float, time: float) -> float:
    state = leapfrog.init(normal(20, D, seed=3), normal(20, D, seed=4), potential)
    start, drift = energy(state), torch.zeros(20, dtype=torch.float64)
    for _ in range(round(time / step_size)):
        state = leapfrog.step(state, potential, step_size=step_size)
        drift = torch.maximum(drift, (energy(state) - start).abs())
    return float(drift.max())


@pytest.mark.claim("leapfrog-energy")
def test_energy_drift_falls_with_the_square_of_the_step_size(quartic):
    ratio = largest_drift(quartic, 0.02, time=1) / largest_drift(quartic, 0.01, time=1)
    assert math.log2(ratio) == pytest.approx(2, abs=0.2)


@pytest.mark.claim("leapfrog-energy")
def test_energy_drift_stays_bounded_over_long_times(quartic):
    # A drift that grew with time would be a hundred times as large after a hundred times as long.
    assert largest_drift(quartic, 0.02, time=40) < 3 * largest_drift(quartic, 0.02, time=0.4)


def test_k_steps_make_k_plus_one_gradients(quartic, counting):
    potential = counting(quartic)
    state = leapfrog.init(normal(3, D, seed=0), normal(3, D, seed=1), potential)
    for _ in range(7):
        state = leapfrog.step(state, potential, step_size=0.1)
    assert (potential.values, potential.gradients) == (8, 8)
    torch.testing.assert_close(state.value, quartic(state.position))
