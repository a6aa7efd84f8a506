"""The QSL step: Jacobian, inverse, order, and the distribution it samples."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import evaluate
from medlangevin.samplers.quasi_symplectic import PhaseState, log_det_jacobian, step

D = 4
SCALAR = 0.3
PER_DIMENSION = torch.tensor([0.05, 0.3, 0.6, 0.11], dtype=torch.float64)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def start(chains: int, seed: int = 0) -> PhaseState:
    return PhaseState(normal(chains, D, seed=seed), normal(chains, D, seed=seed + 1))


@pytest.mark.claim("qsl-jacobian")
@pytest.mark.parametrize("step_size", [SCALAR, PER_DIMENSION], ids=["scalar", "per-dimension"])
@pytest.mark.parametrize("damping", [0.0, 0.7])
@pytest.mark.parametrize("noise_scale", [0.0, 1.3])
@pytest.mark.parametrize("max_kick", [math.inf, 0.1])
def test_jacobian_equals_its_formula(step_size, damping, noise_scale, max_kick, quartic):
    noise = normal(1, D, seed=5)

    def flat_step(flat: Tensor) -> Tensor:
        state = PhaseState(flat[None, :D], flat[None, D:])
        end = step(
            state,
            quartic,
            step_size=step_size,
            damping=damping,
            noise_scale=noise_scale,
            noise=noise,
            max_kick=max_kick,
            create_graph=True,
        )
        return torch.cat([end.position[0], end.velocity[0]])

    state = start(1)
    jacobian = torch.autograd.functional.jacobian(flat_step, torch.cat([state.position[0], state.velocity[0]]))
    sign, log_determinant = torch.linalg.slogdet(jacobian)
    total = D * step_size if isinstance(step_size, float) else step_size.sum()
    assert sign == 1
    assert log_determinant == pytest.approx(float(-damping * total), abs=1e-12)
    assert log_det_jacobian(state, step_size=step_size, damping=damping).item() == pytest.approx(
        float(-damping * total), abs=1e-14
    )


def undone(end, potential, *, step_size, damping, noise_scale, noise, max_kick) -> PhaseState:
    """The maps of ``step`` undone, the last one first."""
    t = torch.as_tensor(step_size, dtype=torch.float64)
    damp = torch.exp(-0.5 * damping * t)
    velocity = end.velocity / damp
    position = end.position - 0.5 * t * velocity
    push = -t * evaluate(potential, position).gradient
    push = push * (max_kick / push.norm(dim=-1, keepdim=True)).clamp(max=1)
    velocity = velocity - push - t.sqrt() * noise_scale * noise
    return PhaseState(position - 0.5 * t * velocity, velocity / damp)


@pytest.mark.claim("qsl-inverse")
@pytest.mark.parametrize("step_size", [SCALAR, PER_DIMENSION], ids=["scalar", "per-dimension"])
@pytest.mark.parametrize("max_kick", [math.inf, 0.1])
def test_a_step_can_be_undone(step_size, max_kick, quartic):
    state, noise = start(50), normal(50, D, seed=9)
    arguments = {"step_size": step_size, "damping": 0.7, "noise_scale": 0.8, "noise": noise, "max_kick": max_kick}
    end = step(state, quartic, **arguments)
    back = undone(end, quartic, **arguments)
    assert (end.position - state.position).abs().max() > 0.1
    torch.testing.assert_close(back.position, state.position, rtol=0, atol=1e-11)
    torch.testing.assert_close(back.velocity, state.velocity, rtol=0, atol=1e-11)


def test_long_kicks_are_shortened_and_keep_their_direction(quartic):
    state = start(50)
    settings: dict[str, Any] = {"step_size": SCALAR, "damping": 0.0}
    kicks = step(state, quartic, **settings).velocity - state.velocity
    limit = kicks.norm(dim=-1).median().item()
    shortened = step(state, quartic, **settings, max_kick=limit).velocity - state.velocity
    expected = kicks * (limit / kicks.norm(dim=-1, keepdim=True)).clamp(max=1)
    torch.testing.assert_close(shortened, expected)
    assert (shortened.norm(dim=-1) < limit * (1 + 1e-12)).all()


@pytest.mark.claim("qsl-inverse")
def test_without_damping_it_is_time_reversible_and_with_damping_it_is_not(quartic):
    state = start(50)
    for damping, reversible in ((0.0, True), (0.3, False)):
        end = step(state, quartic, step_size=PER_DIMENSION, damping=damping)
        back = step(PhaseState(end.position, -end.velocity), quartic, step_size=PER_DIMENSION, damping=damping)
        assert torch.allclose(back.position, state.position, rtol=0, atol=1e-12) is reversible
        assert torch.allclose(-back.velocity, state.velocity, rtol=0, atol=1e-12) is reversible


def _error_at_time_two(step_size: float, damping: float) -> float:
    """Largest error at time 2 on U = z^T A z / 2, where phi' = kappa, kappa' = -A phi - nu kappa is solved exactly."""
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    state = PhaseState(normal(3, 2, seed=1), normal(3, 2, seed=2))
    flat = torch.cat([state.position, state.velocity], dim=1)
    eye = torch.eye(2, dtype=torch.float64)
    generator = torch.cat(
        [torch.cat([0 * eye, eye], dim=1), torch.cat([-matrix, -damping * eye], dim=1)],
    )
    exact = flat @ torch.linalg.matrix_exp(2 * generator).T
    for _ in range(round(2 / step_size)):
        state = step(
            state, lambda z: 0.5 * torch.einsum("ni,ij,nj->n", z, matrix, z), step_size=step_size, damping=damping
        )
    return float((torch.cat([state.position, state.velocity], dim=1) - exact).abs().max())


@pytest.mark.claim("qsl-order")
@pytest.mark.parametrize("damping", [0.0, 0.8])
def test_it_follows_the_damped_dynamics_with_order_two(damping):
    errors = [_error_at_time_two(t, damping) for t in (0.1, 0.05, 0.025)]
    assert errors[0] < 0.02
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.1)


@pytest.mark.claim("qsl-order")
def test_with_the_printed_sign_it_does_not_move():
    """Correction 1, on U = z^2 / 2 from (1, 0): at time 2 the position is cos 2, with the paper's Eq. 5 it is 1 - t."""
    for t in (0.1, 0.05, 0.025):
        ours = PhaseState(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))
        position, velocity = 1.0, 0.0
        for _ in range(round(2 / t)):
            ours = step(ours, lambda z: 0.5 * z.square().sum(-1), step_size=t, damping=0.0)
            position -= t / 2 * velocity
            velocity -= t * position
            position += t / 2 * velocity
        assert abs(ours.position.item() - math.cos(2)) < 0.1 * t**2
        assert position == pytest.approx(1 - t, abs=1e-9)


def largest_drift(quartic, step_size: float, time: float) -> float:
    state = start(20)
    energy = quartic(state.position) + 0.5 * state.velocity.square().sum(-1)
    drift = torch.zeros(20, dtype=torch.float64)
    for _ in range(round(time / step_size)):
        state = step(state, quartic, step_size=step_size, damping=0.0)
        now = quartic(state.position) + 0.5 * state.velocity.square().sum(-1)
        drift = torch.maximum(drift, (now - energy).abs())
    return float(drift.max())


@pytest.mark.claim("qsl-energy")
def test_energy_drift_falls_with_the_square_of_the_step_size(quartic):
    ratio = largest_drift(quartic, 0.01, time=1) / largest_drift(quartic, 0.005, time=1)
    assert math.log2(ratio) == pytest.approx(2, abs=0.2)


@pytest.mark.claim("qsl-energy")
def test_energy_drift_stays_bounded_over_long_times(quartic):
    # A drift that grew with time would be a hundred times as large after a hundred times as long.
    assert largest_drift(quartic, 0.02, time=40) < 3 * largest_drift(quartic, 0.02, time=0.4)


def test_noise_of_sqrt_two_nu_temperature_samples_that_temperature():
    temperature, damping, chains = 2.0, 1.0, 20_000
    scale, t = torch.tensor([1.0, 0.5], dtype=torch.float64), 0.1
    generator = torch.Generator().manual_seed(3)
    state = PhaseState(torch.zeros(chains, 2, dtype=torch.float64), torch.zeros(chains, 2, dtype=torch.float64))
    for _ in range(150):
        state = step(
            state,
            lambda z: 0.5 * (z / scale).square().sum(-1),
            step_size=t,
            damping=damping,
            noise_scale=math.sqrt(2 * damping * temperature),
            noise=torch.randn(chains, 2, generator=generator, dtype=torch.float64),
        )
    # The variance estimate of n independent normals has relative standard error sqrt(2 / n) = 0.01; 4 of them have a
    # false-alarm rate of 6e-5 a check. The rest of the 0.06 allows for the step's own error of order t^2 = 0.01.
    torch.testing.assert_close(state.position.var(0), temperature * scale**2, rtol=0.06, atol=0)
    torch.testing.assert_close(
        state.velocity.var(0), torch.full((2,), temperature, dtype=torch.float64), rtol=0.06, atol=0
    )


def test_a_step_keeps_no_graph_unless_asked(quartic):
    weight = torch.ones(D, dtype=torch.float64, requires_grad=True)

    def potential(z: Tensor) -> Tensor:
        return quartic(z * weight)

    assert not step(start(3), potential, step_size=SCALAR, damping=0.1).velocity.requires_grad
    kept = step(start(3), potential, step_size=SCALAR, damping=0.1, create_graph=True)
    (gradient,) = torch.autograd.grad(kept.velocity.sum(), weight)
    assert gradient.abs().min() > 0
