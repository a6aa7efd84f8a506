"""Tempering schedules: the end, the product and the differentiability of the velocity's factors."""

import pytest
import torch

from medlangevin.samplers import tempering


@pytest.mark.claim("tempering")
@pytest.mark.parametrize("temperature", [1.0, 1.3, 4.0])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_the_schedule_cools_from_the_initial_temperature_to_one(temperature, num_steps):
    start = torch.tensor(temperature, dtype=torch.float64)
    scales = tempering.quadratic_schedule(start, num_steps)
    assert scales.shape == (num_steps,)
    assert scales.max() <= 1
    assert scales.prod().item() == pytest.approx(temperature**-0.5, rel=1e-12)
    assert tempering.initial_temperature(scales).item() == pytest.approx(temperature, rel=1e-12)
    # Half-way, T = (1 - T0) / 4 + T0: the square of the first half's factors is T / T0.
    if num_steps == 2:
        assert scales[0].item() ** 2 == pytest.approx(((1 - temperature) / 4 + temperature) / temperature, rel=1e-12)


@pytest.mark.claim("tempering")
def test_the_schedule_is_differentiable_in_the_temperature():
    start = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: tempering.quadratic_schedule(t, 4), (start,))
