"""The chain runner: which states it keeps, in which order, and what it counts."""

from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import Adaptation, hmc, mala, qsl, sample
from medlangevin.system.errors import MedlangevinError


class Counter(NamedTuple):
    """A state whose number is the count of steps taken."""

    number: Tensor
    value: None = None

    @property
    def position(self) -> Tensor:
        return self.number


class Info(NamedTuple):
    acceptance_probability: Tensor
    is_divergent: Tensor


def count_up(state: Counter, potential, generator) -> tuple[Counter, Info]:
    """The second chain diverges at step 7; the acceptance probability is a tenth of the step's number."""
    number = state.number + 1
    divergent = number.flatten(1)[:, 0] == 7
    divergent[0] = False
    return Counter(number), Info(number.flatten(1)[:, 0] / 10, divergent)


def run_counter(shape: tuple[int, ...] = (2, 3), **options):
    start = Counter(torch.zeros(shape))
    return sample(count_up, start, lambda z: z.sum(-1), **options)


@pytest.mark.claim("chain-runner")
def test_burn_in_and_thinning_choose_the_draws():
    chains = run_counter(num_samples=3, burn_in=4, thinning=2)
    assert chains.positions.shape == (2, 3, 3)
    assert chains.positions[:, :, 0].tolist() == 2 * [[6, 8, 10]]
    # Of the two steps behind each draw: the mean acceptance, and whether either diverged.
    torch.testing.assert_close(chains.acceptance, torch.tensor([[0.55, 0.75, 0.95]]).expand(2, 3))
    assert chains.divergences.tolist() == [[False, False, False], [False, True, False]]
    assert chains.potential is None
    assert chains.step_size is None
    assert chains.state.number[0, 0] == 10


def test_draws_are_stacked_behind_the_first_dimension_of_any_state():
    assert run_counter((2, 5, 3), num_samples=4).positions.shape == (2, 4, 5, 3)


def test_every_step_is_reported():
    done: list[int] = []
    run_counter(num_samples=3, burn_in=4, thinning=2, on_step=done.append)
    assert done == list(range(1, 11))


@pytest.mark.claim("chain-runner")
@pytest.mark.parametrize(
    ("kernel", "options", "cost"),
    [
        (mala, {"step_size": 0.1}, 1),
        (hmc, {"step_size": 0.1, "num_steps": 4}, 4),
        (qsl, {"step_size": 0.1, "damping": 1.0}, 1),
    ],
    ids=["mala", "hmc", "qsl"],
)
def test_draws_and_costs_of_a_kernel(kernel, options, cost, correlated, counting):
    potential = counting(correlated.potential)
    state = kernel.init(torch.zeros(6, 2, dtype=torch.float64), potential)
    potential.gradients = 0
    chains = sample(partial(kernel.step, **options), state, potential, num_samples=5, burn_in=3, thinning=2)
    assert chains.positions.shape == (6, 5, 2)
    assert chains.num_gradients == 10 * cost
    assert potential.gradients == 13 * cost
    assert chains.divergences.shape == (6, 5)
    if kernel is qsl:
        assert chains.acceptance is None
        assert chains.potential is None
    else:
        assert chains.acceptance is not None
        assert chains.acceptance.shape == (6, 5)
        expected = correlated.potential(chains.positions.reshape(-1, 2)).reshape(6, 5)
        torch.testing.assert_close(chains.potential, expected)


def test_a_run_can_be_continued_and_repeated(correlated):
    step, potential = partial(mala.step, step_size=0.2), correlated.potential
    start = mala.init(torch.zeros(6, 2, dtype=torch.float64), potential)
    whole = sample(step, start, potential, torch.Generator().manual_seed(1), num_samples=8)
    generator = torch.Generator().manual_seed(1)
    first = sample(step, start, potential, generator, num_samples=5)
    second = sample(step, first.state, potential, generator, num_samples=3)
    assert torch.equal(torch.cat([first.positions, second.positions], dim=1), whole.positions)


@pytest.mark.parametrize("wrong", [{"num_samples": 0}, {"thinning": 0}, {"burn_in": -1}])
def test_counts_that_make_no_sense_are_refused(wrong):
    with pytest.raises(MedlangevinError, match=rf"{next(iter(wrong))} {next(iter(wrong.values()))}"):
        run_counter(**({"num_samples": 3} | wrong))


def test_adaptation_needs_burn_in_and_a_kernel_with_a_test(correlated):
    adaptation = Adaptation(0.1, 0.6)
    with pytest.raises(MedlangevinError, match="give a burn_in"):
        run_counter(num_samples=3, adaptation=adaptation)
    state = qsl.init(torch.zeros(6, 2, dtype=torch.float64), correlated.potential)
    step = partial(qsl.step, damping=1.0)
    with pytest.raises(MedlangevinError, match="no acceptance"):
        sample(step, state, correlated.potential, num_samples=3, burn_in=3, adaptation=adaptation)
