"""Steps in units of the standard deviations of q: the same flow in other coordinates; kicks that stay bounded."""

import math

import pytest
import torch


def in_units_of_q(linear_gaussian, kind: str, **settings):
    """The model with steps in units of q, none of its kicks shortened."""
    model = linear_gaussian.model(kind, step_unit="posterior", **settings)
    model.max_kick = math.inf
    return model


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.claim("step-unit")
@pytest.mark.parametrize("kind", ["qsl_vae", "annealed"])
@pytest.mark.parametrize("estimate", ["log_weights", "elbo"])
def test_without_damping_they_are_steps_scaled_per_dimension(linear_gaussian, kind, estimate):
    x = linear_gaussian.x.expand(100, -1)
    scale = linear_gaussian.encoder.scale.detach()
    standardised = in_units_of_q(linear_gaussian, kind, damping=0.0, step_size=0.3, max_step_size=1.0)
    latent = linear_gaussian.model(kind, damping=0.0, step_size=0.3, max_step_size=1.0)
    for model, sizes in ((standardised, 0.3 * torch.ones_like(scale)), (latent, 0.3 * scale)):
        model.step_size_logit.data.copy_(torch.logit(sizes).expand_as(model.step_size_logit))
    expected = getattr(latent, estimate)(x, seeded())
    torch.testing.assert_close(getattr(standardised, estimate)(x, seeded()), expected, rtol=0, atol=1e-10)


@pytest.mark.claim("step-unit")
@pytest.mark.parametrize("kind", ["qsl_vae", "annealed"])
def test_the_gradient_of_training_is_the_finite_difference(linear_gaussian, kind):
    """Of the encoder's scale, in whose units the steps are; ``max_kick`` shortens some of them."""
    model = linear_gaussian.model(kind, step_unit="posterior", damping=0.5, step_size=0.3, max_step_size=1.0)
    model.max_kick = 0.5
    x = linear_gaussian.x.expand(50, -1)
    scale = model.encoder.scale
    model(x, seeded()).loss.backward()
    for j in range(len(scale)):
        losses = []
        for shift in (1e-6, -1e-6):
            with torch.no_grad():
                scale[j] += shift
                losses.append(model(x, seeded()).loss.item())
                scale[j] -= shift
        assert scale.grad[j].item() == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-7)


@pytest.mark.claim("step-unit")
@pytest.mark.parametrize("kind", ["qsl_vae", "annealed"])
def test_an_encoder_far_too_wide_costs_little_more_than_without_steps(linear_gaussian, kind):
    """Steps of z that suit a narrow q explode there: 1e3 standard deviations of the posterior out, forces are long."""
    with torch.no_grad():
        linear_gaussian.encoder.scale.mul_(1e3)
    x = linear_gaussian.x.expand(200, -1)
    own = linear_gaussian.model("vae").elbo(x, seeded()).mean()
    bounded = linear_gaussian.model(kind, step_unit="posterior", step_size=0.4, max_step_size=1.0).elbo(x, seeded())
    unbounded = in_units_of_q(linear_gaussian, kind, step_size=0.4, max_step_size=1.0).elbo(x, seeded())
    assert bounded.mean() > 2 * own
    assert not unbounded.mean() > 1e3 * own


@pytest.mark.parametrize("kind", ["qsl_vae", "annealed"])
def test_kicks_are_bounded_by_the_length_of_a_velocity_in_units_of_q_alone(linear_gaussian, kind):
    dimensions = len(linear_gaussian.encoder.scale)
    assert linear_gaussian.model(kind, step_unit="posterior").max_kick == math.sqrt(dimensions)
    assert linear_gaussian.model(kind, step_unit="latent").max_kick == math.inf


def test_the_density_of_a_draw_is_that_of_q_at_any_point(linear_gaussian):
    x = linear_gaussian.x.expand(5, -1)
    draw = linear_gaussian.model("vae")._draw_initial(x, seeded())
    elsewhere = draw.z + torch.randn(draw.z.shape, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(draw.log_density(draw.z), draw.log_q)
    expected = torch.distributions.Normal(draw.mean, draw.scale).log_prob(elsewhere).sum(-1)
    torch.testing.assert_close(draw.log_density(elsewhere), expected)
