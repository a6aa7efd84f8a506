"""Gradients of the losses, second order through the force included, against finite differences."""

from typing import Any

import pytest
import torch
from torch import Tensor

from medlangevin.likelihoods import Gaussian
from medlangevin.models import LatentVariableModel
from medlangevin.models.vae import VAE
from medlangevin.networks import ConvDecoder, ConvEncoder

SHAPES = {"2D": (1, 7, 6), "3D": (1, 5, 4, 6)}
STEPS = {"num_steps": 3, "step_size": 0.1, "max_step_size": 0.5}
WARM = {**STEPS, "initial_temperature": 1.4}
IN_UNITS_OF_Q = {"step_unit": "posterior", "step_size": 0.4, "max_step_size": 1.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("vae", {}),
    "vae_flow": ("vae_flow", {"num_layers": 3}),
    "iwae": ("iwae", {"num_samples": 4}),
    "hvae none": ("hvae", STEPS),
    "hvae fixed": ("hvae", {**WARM, "tempering": "fixed"}),
    "hvae free": ("hvae", {**WARM, "tempering": "free"}),
    "qsl_vae": ("qsl_vae", {**WARM, "damping": 0.4, "noise_scale": 0.7}),
    "annealed": ("annealed", {**STEPS, "damping": 0.8}),
    "annealed without damping": ("annealed", {**STEPS, "damping": 0.0}),
    "annealed in one step": ("annealed", {**STEPS, "num_steps": 1}),
    "qsl_vae in units of q": ("qsl_vae", {**WARM, **IN_UNITS_OF_Q, "damping": 0.4, "noise_scale": 0.7}),
    "annealed in units of q": ("annealed", {**STEPS, **IN_UNITS_OF_Q, "damping": 0.8}),
}
WITH_STEPS = [name for name, (kind, _) in CASES.items() if kind in ("hvae", "qsl_vae", "annealed")]


@pytest.fixture
def tiny(assemble):
    def make(case: str, shape: tuple[int, ...] = SHAPES["2D"], **changes) -> tuple[LatentVariableModel, Tensor]:
        torch.manual_seed(0)
        mean_image = torch.rand(shape)
        widths: dict[str, Any] = {"channels": (3, 4), "hidden": 5}
        kind, settings = CASES[case]
        model = assemble(
            kind,
            encoder=ConvEncoder(shape, 3, mean_image=mean_image, input_scale=0.3, **widths),
            decoder=ConvDecoder(shape, 3, mean_image=mean_image, **widths),
            likelihood=Gaussian(0.3),
            latent_dim=3,
            **{**settings, **changes},
        )
        # Away from the start, where the last layer is small, every parameter matters.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return model, torch.rand(4, *shape, dtype=torch.float64)

    return make


def loss_of(model: LatentVariableModel, x: Tensor) -> Tensor:
    return model(x, torch.Generator().manual_seed(7)).loss


def slopes(function, parameter: Tensor, direction: Tensor) -> float:
    """The central difference of ``function()`` as ``parameter`` moves along ``direction``."""
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(direction, alpha=sign * 1e-5)
        values.append(function().item())
        with torch.no_grad():
            parameter.sub_(direction, alpha=sign * 1e-5)
    return (values[0] - values[1]) / 2e-5


def assert_gradients(loss, named_parameters, gradients) -> None:
    generator = torch.Generator().manual_seed(1)
    for (name, parameter), gradient in zip(named_parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm() + 1e-12
        expected = slopes(loss, parameter, direction)
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-6), name
        # With one step there is one fraction, and it is 1.
        assert gradient.abs().max() > 0 or (name == "fraction_logits" and len(parameter) == 1), name


@pytest.mark.claim("model-gradients")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gradient_agrees_with_a_central_difference(tiny, case, shape):
    model, x = tiny(case, SHAPES[shape])
    named = list(model.named_parameters())
    gradients = torch.autograd.grad(loss_of(model, x), [parameter for _, parameter in named])
    assert_gradients(lambda: loss_of(model, x), named, gradients)


@pytest.mark.claim("force-gradients")
@pytest.mark.parametrize("case", WITH_STEPS)
def test_recomputed_steps_give_the_same_gradients(tiny, case):
    gradients = []
    for checkpoint_steps in (False, True):
        model, x = tiny(case, checkpoint_steps=checkpoint_steps)
        loss = loss_of(model, x)
        gradients.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=1e-12, atol=1e-12)


LEARNED = {
    "hvae none": {"step_size_logit"},
    "hvae fixed": {"step_size_logit", "raw_temperature"},
    "hvae free": {"step_size_logit", "velocity_scale_logit"},
    "qsl_vae": {"step_size_logit"},
    "annealed": {"step_size_logit", "raw_damping", "fraction_logits"},
    "annealed without damping": {"step_size_logit", "fraction_logits"},
    "annealed in one step": {"step_size_logit", "fraction_logits"},
}


@pytest.mark.parametrize("case", LEARNED)
def test_what_is_learned_beside_the_networks(tiny, case):
    model, _ = tiny(case)
    assert {name for name, _ in model.named_parameters(recurse=False)} == LEARNED[case]


@pytest.mark.claim("model-gradients")
@pytest.mark.parametrize("setting", ["damping", "noise_scale", "initial_temperature"])
def test_gradient_in_the_fixed_settings_of_the_flow(tiny, setting):
    value = CASES["qsl_vae"][1][setting]

    def loss(number) -> Tensor:
        return loss_of(*tiny("qsl_vae", **{setting: number}))

    variable = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(variable), variable)
    expected = (loss(value + 1e-5) - loss(value - 1e-5)).item() / 2e-5
    assert gradient.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.claim("force-gradients")
def test_the_force_term_carries_gradient(tiny):
    """Without the second order the decoder's gradient is another one: the finite differences above can tell."""
    model, x = tiny("qsl_vae")
    gradients = []
    for create_graph in (True, False):
        refinement = model._refine(x, torch.Generator().manual_seed(7), create_graph=create_graph)
        bound = model.likelihood.log_prob(x, model.decoder(refinement.position)) + refinement.bound
        gradients.append(torch.autograd.grad(bound.mean(), model.decoder.dense.weight)[0])
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() > 0.01


@pytest.fixture
def hoffman(tiny, monkeypatch):
    monkeypatch.setitem(CASES, "hoffman", ("hoffman", {"num_steps": 3, "step_size": 0.02}))
    return tiny("hoffman")


@pytest.mark.claim("hoffman")
def test_hoffman_s_encoder_learns_from_the_elbo(hoffman):
    model, x = hoffman
    named = list(model.encoder.named_parameters())
    gradients = torch.autograd.grad(loss_of(model, x), [parameter for _, parameter in named])

    def negative_elbo() -> Tensor:
        return -model.elbo(x, torch.Generator().manual_seed(7)).mean()

    torch.testing.assert_close(loss_of(model, x), negative_elbo())
    assert_gradients(negative_elbo, named, gradients)


@pytest.mark.claim("hoffman")
def test_hoffman_s_decoder_learns_from_the_end_of_the_chain(hoffman):
    model, x = hoffman
    named = [*model.decoder.named_parameters(), *model.likelihood.named_parameters()]
    gradients = torch.autograd.grad(loss_of(model, x), [parameter for _, parameter in named])
    z = model.posterior_sample(x, 1, torch.Generator().manual_seed(7))[0]
    start = VAE._draw_posterior(model, x, torch.Generator().manual_seed(7))
    assert not torch.isclose(z, start).all(1).any()
    assert_gradients(lambda: -model.likelihood.log_prob(x, model.decoder(z)).mean(), named, gradients)
