"""ULA, MALA, HMC and QSL step by step: proposals, tests, divergences and cost. Their laws: test_invariance."""

import math
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from medlangevin.samplers import Kernel, hmc, mala, metropolis, qsl, quasi_symplectic, ula

PER_DIMENSION = torch.tensor([0.1, 0.3], dtype=torch.float64)
KERNELS: dict[str, Kernel[Any]] = {
    "ula": Kernel(ula.init, partial(ula.step, step_size=0.1)),
    "mala": Kernel(mala.init, partial(mala.step, step_size=0.1)),
    "hmc": Kernel(hmc.init, partial(hmc.step, step_size=0.1, num_steps=6)),
    "qsl": Kernel(qsl.init, partial(qsl.step, step_size=0.1, damping=1.0)),
}
ADJUSTED = pytest.mark.parametrize(
    "step", [partial(mala.step, step_size=0.1), partial(hmc.step, step_size=0.3, num_steps=3)]
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.claim("acceptance")
@pytest.mark.parametrize("step_size", [0.3, PER_DIMENSION], ids=["scalar", "per-dimension"])
def test_mala_accepts_with_the_probability_of_metropolis_and_hastings(step_size, correlated):
    state = mala.init(normal(300, 2, seed=1), correlated.potential)
    _, info = mala.step(state, correlated.potential, seeded(2), step_size=step_size)
    eta = torch.as_tensor(step_size, dtype=torch.float64)
    proposal = state.position - eta * state.gradient + (2 * eta).sqrt() * normal(300, 2, seed=2)
    back = mala.init(proposal, correlated.potential)
    forward_density = Normal(state.position - eta * state.gradient, (2 * eta).sqrt()).log_prob(proposal).sum(-1)
    backward_density = Normal(proposal - eta * back.gradient, (2 * eta).sqrt()).log_prob(state.position).sum(-1)
    ratio = (state.value - back.value + backward_density - forward_density).exp()
    assert 0.1 < ratio.clamp(max=1).mean() < 0.99
    torch.testing.assert_close(info.acceptance_probability, ratio.clamp(max=1), rtol=1e-10, atol=1e-12)


@pytest.mark.claim("acceptance")
@pytest.mark.parametrize("step_size", [0.6, PER_DIMENSION.sqrt()], ids=["scalar", "per-dimension"])
def test_hmc_of_one_leapfrog_step_is_mala(step_size, correlated):
    # t xi - (t^2 / 2) grad U is the Langevin proposal of eta = t^2 / 2, and the energies give the same ratio.
    potential = correlated.potential
    one, other = hmc.init(normal(300, 2, seed=1), potential), mala.init(normal(300, 2, seed=1), potential)
    generators = seeded(2), seeded(2)
    for _ in range(10):
        one, info = hmc.step(one, potential, generators[0], step_size=step_size, num_steps=1)
        other, expected = mala.step(other, potential, generators[1], step_size=0.5 * step_size**2)
        torch.testing.assert_close(info.acceptance_probability, expected.acceptance_probability, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(one.position, other.position, rtol=0, atol=1e-9)


def test_hmc_reports_the_energy_of_its_proposal(correlated):
    state = hmc.init(normal(300, 2, seed=1), correlated.potential)
    start = state.value + 0.5 * normal(300, 2, seed=2).square().sum(-1)  # the velocities that seed 2 draws
    _, info = hmc.step(state, correlated.potential, seeded(2), step_size=0.5, num_steps=5)
    torch.testing.assert_close(info.acceptance_probability, (start - info.energy).exp().clamp(max=1))
    assert not info.is_divergent.any()


def test_qsl_takes_the_integrators_step_with_the_noise_of_its_temperature(correlated):
    state = qsl.init(normal(3, 2, seed=1), correlated.potential, seeded(2), temperature=4.0)
    torch.testing.assert_close(state.velocity, 2 * normal(3, 2, seed=2))
    for options, scale in (({}, math.sqrt(2 * 0.7 * 4.0)), ({"noise_scale": 0.3}, 0.3)):
        following, _ = qsl.step(
            state, correlated.potential, seeded(3), step_size=0.2, damping=0.7, temperature=4.0, **options
        )
        expected = quasi_symplectic.step(
            state,
            correlated.potential,
            step_size=0.2,
            damping=0.7,
            noise_scale=scale,
            noise=normal(3, 2, seed=3),
        )
        torch.testing.assert_close(following, expected)


@ADJUSTED
def test_acceptance_is_per_chain_and_the_state_stays_consistent(step, correlated):
    state = mala.init(normal(500, 2, seed=2), correlated.potential)
    following, info = step(state, correlated.potential, seeded(3))
    assert info.is_accepted.shape == info.acceptance_probability.shape == info.is_divergent.shape == (500,)
    assert 0 < info.is_accepted.double().mean() < 1
    assert torch.equal((following.position != state.position).any(-1), info.is_accepted)
    consistent = mala.init(following.position, correlated.potential)
    torch.testing.assert_close(following, consistent)


@pytest.mark.parametrize("step", [partial(mala.step, step_size=1e-4), partial(hmc.step, step_size=0.01, num_steps=3)])
def test_acceptance_is_near_one_for_small_steps(step, correlated):
    state = mala.init(normal(500, 2, seed=2), correlated.potential)
    assert step(state, correlated.potential, seeded(3))[1].acceptance_probability.min() > 0.99


@pytest.mark.claim("rejected-proposals")
@ADJUSTED
@pytest.mark.parametrize("outside", [torch.inf, -torch.inf, torch.nan])
def test_a_proposal_without_finite_energy_is_rejected(step, outside):
    def walled(z: Tensor) -> Tensor:
        return torch.where((z.abs() > 0.5).any(-1), outside, 0.5 * z.square().sum(-1))

    state, infos = mala.init(torch.zeros(200, 2, dtype=torch.float64), walled), []
    for seed in range(20):
        state, info = step(state, walled, seeded(seed))
        infos.append(info)
    assert state.position.abs().max() <= 0.5
    assert state.value.isfinite().all()
    accepted, divergent = (
        torch.stack([getattr(info, name) for info in infos]) for name in ("is_accepted", "is_divergent")
    )
    assert 0 < accepted.double().mean() < 1
    assert divergent.any()
    assert not (accepted & divergent).any()


def test_a_start_of_infinite_potential_can_be_left():
    def walled(z: Tensor) -> Tensor:
        return torch.where((z.abs() > 1).any(-1), torch.inf, 0.5 * z.square().sum(-1))

    state = mala.init(torch.full((200, 2), 1.1, dtype=torch.float64), walled)
    for seed in range(100):
        state, _ = mala.step(state, walled, seeded(seed), step_size=0.1)
    assert (state.position.abs() <= 1).all()


@pytest.mark.claim("rejected-proposals")
def test_a_step_that_is_far_too_long_is_divergent(correlated):
    state = hmc.init(normal(50, 2, seed=1), correlated.potential)
    following, info = hmc.step(state, correlated.potential, seeded(2), step_size=3.0, num_steps=10)
    assert info.is_divergent.all()
    assert torch.equal(following.position, state.position)


@pytest.mark.claim("rejected-proposals")
@pytest.mark.parametrize("name", ["ula", "qsl"])
def test_an_unadjusted_chain_that_leaves_the_numbers_is_divergent(name, correlated):
    init, step = KERNELS[name]
    start = normal(50, 2, seed=1)
    start[0] = torch.inf
    _, info = step(init(start, correlated.potential), correlated.potential, seeded(2))
    assert info.is_divergent.tolist() == [True] + 49 * [False]


def test_an_unadjusted_chain_that_meets_an_infinite_potential_is_divergent():
    def walled(z: Tensor) -> Tensor:
        return torch.where(z[..., 0] > 0, torch.inf, 0.5 * z.square().sum(-1))

    state, info = ula.step(ula.init(normal(50, 2, seed=1), walled), walled, seeded(2), step_size=0.1)
    assert torch.equal(info.is_divergent, state.position[:, 0] > 0)
    assert 0 < info.is_divergent.sum() < 50


def test_the_test_accepts_with_the_given_probability():
    # 40,000 tests of one ratio: 4 standard errors, a false-alarm rate of 6e-5 over seeds.
    info = metropolis.decide(torch.full((40_000,), math.log(0.3)), torch.zeros(40_000), seeded(1))
    assert abs(float(info.is_accepted.double().mean()) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 40_000)
    torch.testing.assert_close(info.acceptance_probability, torch.full((40_000,), 0.3))
    ratios = torch.tensor([2.0, torch.inf, 2.0, -999.0, -1001.0, torch.nan])
    values = torch.tensor([0.0, 0.0, -torch.inf, 0.0, 0.0, 0.0])
    info = metropolis.decide(ratios, values, seeded(1))
    assert info.is_accepted.tolist() == [True, True, False, False, False, False]
    assert info.is_divergent.tolist() == [False, False, True, False, True, True]


class Cost(NamedTuple):
    init: int
    step: int


@pytest.mark.claim("gradients-per-step")
@pytest.mark.parametrize(
    ("name", "cost"), [("ula", Cost(1, 1)), ("mala", Cost(1, 1)), ("hmc", Cost(1, 6)), ("qsl", Cost(0, 1))]
)
def test_gradients_of_a_step(name, cost, correlated, counting):
    init, step = KERNELS[name]
    potential = counting(correlated.potential)
    state = init(normal(3, 2, seed=1), potential)
    assert (potential.values, potential.gradients) == (cost.init, cost.init)
    for seed in range(7):
        state, _ = step(state, potential, seeded(seed))
    assert (potential.values, potential.gradients) == (cost.init + 7 * cost.step,) * 2


@pytest.mark.parametrize("name", KERNELS)
def test_a_chain_keeps_no_graph(name, correlated):
    init, step = KERNELS[name]
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    state = init(normal(3, 2, seed=1).requires_grad_(), lambda z: scale * correlated.potential(z))
    state, info = step(state, lambda z: scale * correlated.potential(z), seeded(1))
    assert isinstance(info, tuple)
    assert not any(part.requires_grad for part in (*state, *info))
