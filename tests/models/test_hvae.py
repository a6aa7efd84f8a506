"""Tempering: what the temperature starts at, what is refused, and the limit of vanishing steps."""

import pytest
import torch

from medlangevin.system.errors import MedlangevinError


@pytest.mark.parametrize("tempering", ["fixed", "free"])
@pytest.mark.parametrize("num_steps", [1, 4])
def test_the_velocity_cools_from_the_initial_temperature_to_one(linear_gaussian, tempering, num_steps):
    model = linear_gaussian.model("hvae", tempering=tempering, initial_temperature=1.7, num_steps=num_steps)
    one = torch.tensor(1.0, dtype=torch.float64)
    torch.testing.assert_close(model.initial_temperature, 1.7 * one, rtol=1e-6, atol=0)
    torch.testing.assert_close(model.velocity_scales.prod(), 1.7**-0.5 * one, rtol=1e-6, atol=0)
    for parameter in (getattr(model, "raw_temperature", None), getattr(model, "velocity_scale_logit", None)):
        if parameter is not None:
            parameter.data += 3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    assert model.initial_temperature > 1
    assert ((model.velocity_scales > 0) & (model.velocity_scales < 1)).all()
    torch.testing.assert_close(model.velocity_scales.prod(), model.initial_temperature.rsqrt())


def test_without_tempering_the_temperature_is_one(linear_gaussian):
    model = linear_gaussian.model("hvae")
    assert model.initial_temperature == 1
    assert model.velocity_scales is None


@pytest.mark.parametrize(
    ("tempering", "temperature"), [("none", 1.5), ("fixed", 1.0), ("free", 1.0), ("fixed", 0.5), ("none", 0.5)]
)
def test_temperatures_that_do_not_go_with_the_tempering_are_refused(linear_gaussian, tempering, temperature):
    with pytest.raises(MedlangevinError, match=f"tempering: {tempering}") as error:
        linear_gaussian.model("hvae", tempering=tempering, initial_temperature=temperature)
    assert "\n" not in str(error.value)


def test_vanishing_steps_leave_the_encoder_s_sample_alone(linear_gaussian):
    """t -> 0: the velocity's terms cancel in L, tempered or not, and what is left is the VAE's L for the same z."""
    x = linear_gaussian.x.expand(100, -1)
    expected = linear_gaussian.model("vae").log_weights(x, torch.Generator().manual_seed(0))
    for settings in ({}, {"tempering": "free", "initial_temperature": 2.0}):
        model = linear_gaussian.model("hvae", step_size=1e-9, **settings)
        weights = model.log_weights(x, torch.Generator().manual_seed(0))
        torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)
