"""Step-size adaptation: the acceptance it reaches from too small and too large a step; afterwards it stands still."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import Adaptation, adaptation, hmc, mala, sample
from medlangevin.system.errors import MedlangevinError

SCALES = torch.linspace(0.6, 1.5, 30, dtype=torch.float64)


def uneven(z: Tensor) -> Tensor:
    """A Gaussian of uneven scales, in enough dimensions for the acceptance to fall smoothly with the step size."""
    return 0.5 * (z / SCALES).square().sum(-1)


def acceptance_reached(step, chains: int, burn_in: int, start: float, target: float, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    position = SCALES * torch.randn(chains, 30, generator=generator, dtype=torch.float64)
    run = sample(
        step,
        mala.init(position, uneven),
        uneven,
        generator,
        num_samples=200,
        burn_in=burn_in,
        adaptation=Adaptation(start, target),
    )
    assert run.acceptance is not None
    return float(run.acceptance.mean())


KERNELS = {
    "mala": (mala.step, 0.574),
    "hmc": (partial(hmc.step, num_steps=3), 0.65),
    "careful hmc": (partial(hmc.step, num_steps=3), 0.8),
}


# The tolerances are about four standard deviations over seeds, for the kernel that varies most.
@pytest.mark.claim("chain-runner")
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("start", [1e-3, 10.0])
def test_many_chains_reach_the_target_acceptance(name, start):
    step, target = KERNELS[name]
    assert acceptance_reached(step, 200, 200, start, target, seed=1) == pytest.approx(target, abs=0.03)


@pytest.mark.parametrize("name", KERNELS)
def test_few_chains_reach_the_target_acceptance(name):
    step, target = KERNELS[name]
    assert acceptance_reached(step, 10, 300, 0.01, target, seed=1) == pytest.approx(target, abs=0.08)


@pytest.mark.claim("chain-runner")
def test_the_step_size_stands_still_after_burn_in():
    used = []

    def recorded(state, potential, generator, *, step_size):
        used.append(step_size)
        return mala.step(state, potential, generator, step_size=step_size)

    state = mala.init(torch.zeros(5, 30, dtype=torch.float64), uneven)
    run = sample(recorded, state, uneven, num_samples=10, burn_in=20, adaptation=Adaptation(0.01, 0.574))
    assert used[0] == 0.01
    assert len(set(map(float, used[:20]))) == 20
    assert run.step_size is not None
    assert {float(size) for size in used[20:]} == {float(run.step_size)}


def test_the_ratios_of_a_step_size_per_dimension_stay():
    state = adaptation.init(torch.tensor([0.1, 0.2, 0.4]))
    for acceptance in (0.9, 0.2, 0.7):
        state = adaptation.update(state, torch.full((5,), acceptance), target_acceptance=0.6)
    torch.testing.assert_close(state.step_size / state.step_size[0], torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))


def test_it_follows_the_published_recursion():
    # The gain stays at 1 until the error changes its sign, and falls with the number of such changes.
    state, expected = adaptation.init(0.5), math.log(0.5)
    for acceptance, gain in ((0.75, 1), (0.85, 1), (0.25, 2**-0.6), (0.35, 2**-0.6), (0.95, 3**-0.6)):
        state = adaptation.update(state, torch.tensor([acceptance - 0.05, acceptance + 0.05]), target_acceptance=0.65)
        expected += gain * (acceptance - 0.65)
        assert state.step_size.item() == pytest.approx(math.exp(expected))


def test_a_step_size_for_each_chain_follows_its_own_acceptance():
    state = adaptation.init(torch.full((3, 1), 0.1))
    for _ in range(20):
        state = adaptation.update(state, torch.tensor([0.9, 0.574, 0.1]), target_acceptance=0.574)
    alone = adaptation.init(torch.tensor(0.1))
    for _ in range(20):
        alone = adaptation.update(alone, torch.tensor([0.9]), target_acceptance=0.574)
    assert state.step_size[0] > state.step_size[1] > state.step_size[2]
    torch.testing.assert_close(state.step_size[0, 0], alone.step_size)


@pytest.mark.parametrize("target", [0.0, 1.0, 1.5])
def test_a_target_that_cannot_be_reached_is_refused(target):
    start = mala.init(torch.zeros(2, 2), lambda z: 0.5 * z.square().sum(-1))
    with pytest.raises(MedlangevinError, match="between 0 and 1"):
        sample(
            mala.step,
            start,
            lambda z: 0.5 * z.square().sum(-1),
            num_samples=1,
            burn_in=1,
            adaptation=Adaptation(0.1, target),
        )
