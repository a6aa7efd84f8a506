"""Gradients of the losses, second order through the force included, against finite differences."""

import pytest
import torch

from medlangevin.config import ModelConfig
from medlangevin.models import build

SHAPES = {"2D": (1, 7, 6), "3D": (1, 5, 4, 6)}


def tiny(kind: str, image_shape: tuple[int, ...], **flow):
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {
            "kind": kind,
            "latent_dim": 3,
            "network": {"channels": [3, 4], "hidden": 5},
            "likelihood": {"initial_scale": 0.3},
            "flow": {
                "steps": 3,
                "step_size": 0.1,
                "max_step_size": 0.5,
                "damping": 0.4,
                "noise": 0.7,
                "initial_temperature": 0.8,
                **flow,
            },
        }
    )
    model = build(config, image_shape, mean_image=torch.rand(image_shape)).double()
    # Away from the start, where the last layer is small, every parameter matters.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model, torch.rand(4, *image_shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["vae", "qsl_vae"])
def test_every_parameter_gradient_agrees_with_a_central_difference(kind, shape):
    model, x = tiny(kind, SHAPES[shape])

    def loss() -> torch.Tensor:
        return model(x, torch.Generator().manual_seed(7)).loss

    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss(), parameters)
    generator = torch.Generator().manual_seed(1)
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm() + 1e-12
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * 1e-5)
            values.append(loss().item())
            with torch.no_grad():
                parameter.sub_(direction, alpha=sign * 1e-5)
        expected = (values[0] - values[1]) / 2e-5
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-6), name
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("setting", ["_damping", "noise_scale", "initial_temperature"])
def test_gradient_in_damping_and_noise(setting):
    model, x = tiny("qsl_vae", SHAPES["2D"])
    value = getattr(model, setting)

    def loss(number) -> torch.Tensor:
        setattr(model, setting, number)
        return model(x, torch.Generator().manual_seed(7)).loss

    variable = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(variable), variable)
    expected = (loss(value + 1e-5) - loss(value - 1e-5)).item() / 2e-5
    assert gradient.item() == pytest.approx(expected, rel=1e-6)


def test_the_force_term_carries_gradient():
    """Without the second order the decoder's gradient is another one: the finite differences above can tell."""
    model, x = tiny("qsl_vae", SHAPES["2D"])
    weight = model.decoder.dense.weight
    gradients = []
    for create_graph in (True, False):
        refinement = model._refine(x, torch.Generator().manual_seed(7), create_graph=create_graph)
        bound = model.likelihood.log_prob(x, model.decoder(refinement.position)) + refinement.bound
        gradients.append(torch.autograd.grad(bound.mean(), weight)[0])
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() > 0.01
