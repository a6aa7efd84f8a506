"""The annealed bound's settings: what is learned, what is refused, and the limit of vanishing steps."""

import pytest
import torch

from medlangevin.system.errors import MedlangevinError


def test_fractions_rise_to_one_whatever_their_parameters(linear_gaussian):
    model = linear_gaussian.model("annealed", num_steps=4)
    torch.testing.assert_close(model.fractions, torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64))
    model.fraction_logits.data += torch.tensor([-3.0, 2.0, 0.0, 5.0])
    steps = model.fractions.diff(prepend=torch.zeros(1, dtype=torch.float64))
    assert (steps > 0).all()
    assert model.fractions[-1].item() == pytest.approx(1)


@pytest.mark.parametrize("damping", [1e-3, 0.1, 4.0, 100.0])
def test_learned_damping_starts_where_asked_and_stays_positive(linear_gaussian, damping):
    model = linear_gaussian.model("annealed", damping=damping)
    assert model.damping.item() == pytest.approx(damping, rel=1e-4)
    model.raw_damping.data -= 200
    assert model.damping >= 0


def test_no_damping_stays_none(linear_gaussian):
    model = linear_gaussian.model("annealed", damping=0.0)
    loss = model(linear_gaussian.x, torch.Generator().manual_seed(0))
    loss.loss.backward()
    assert model.damping == 0
    assert loss.parts["damping"] == 0
    assert model.raw_damping is None


def test_steps_are_learned_per_step_and_dimension_unless_asked_otherwise(linear_gaussian):
    assert linear_gaussian.model("annealed", num_steps=5).step_size.shape == (5, 4)
    assert linear_gaussian.model("qsl_vae", num_steps=5).step_size.shape == (4,)
    fixed = linear_gaussian.model("annealed", learn_step_size=False)
    assert not fixed.step_size_logit.requires_grad


@pytest.mark.parametrize("setting", [{"noise_scale": 0.5}, {"initial_temperature": 1.5}])
def test_settings_of_the_flow_are_refused_by_the_annealed_bound(linear_gaussian, setting):
    with pytest.raises(MedlangevinError, match="bound: flow") as error:
        linear_gaussian.model("annealed", **setting)
    assert "\n" not in str(error.value)


def test_vanishing_steps_leave_the_encoder_s_sample_alone(linear_gaussian):
    x = linear_gaussian.x.expand(100, -1)
    expected = linear_gaussian.model("vae").log_weights(x, torch.Generator().manual_seed(0))
    weights = linear_gaussian.model("annealed", step_size=1e-9).log_weights(x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)
