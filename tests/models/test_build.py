"""Every kind, network and likelihood that a configuration can name is assembled, and as it says."""

import pytest
import torch
from torch import Tensor

from medlangevin import models
from medlangevin.config import ModelConfig
from medlangevin.models import build
from medlangevin.networks import Conv5Decoder
from medlangevin.system.errors import MedlangevinError

KINDS: dict[str, type[models.LatentVariableModel]] = {
    "vae": models.VAE,
    "vae_flow": models.VAEFlow,
    "iwae": models.IWAE,
    "hvae": models.HVAE,
    "qsl_vae": models.QSLVAE,
    "hoffman": models.Hoffman,
    "lae": models.LAE,
    "ae": models.LAE,
}
LIKELIHOODS = ("gaussian", "bernoulli", "continuous_bernoulli", "discretized_logistic")
NETWORKS = {
    "conv": {"channels": [3, 4], "hidden": 6},
    "conv5": {"kind": "conv5", "channels": [3, 4], "hidden": 6},
    "mlp": {"kind": "mlp", "widths": [7, 6]},
}
SHAPES = {"2D": (2, 6, 5), "3D": (1, 5, 4, 6)}


def make(kind: str, shape: str = "2D", network: str = "conv", likelihood: str = "gaussian", **settings):
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {
            "kind": kind,
            "latent_dim": 3,
            "network": NETWORKS[network],
            "likelihood": {"kind": likelihood},
            **settings,
        }
    )
    return build(config, SHAPES[shape], mean_image=mean_image(shape), data_size=50), config


def mean_image(shape: str) -> Tensor:
    return 0.2 + 0.6 * torch.rand(SHAPES[shape], generator=torch.Generator().manual_seed(1))


# Each kind with each network in the dimensions it knows, and with each likelihood.
@pytest.mark.parametrize(
    ("shape", "network", "likelihood"),
    [
        ("2D", "conv", "gaussian"),
        ("2D", "mlp", "discretized_logistic"),
        ("3D", "conv", "continuous_bernoulli"),
        ("3D", "mlp", "bernoulli"),
        ("2D", "conv5", "bernoulli"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_finite_loss_and_gradients(kind, shape, network, likelihood):
    steps = {"flow": {"steps": 2}} if kind in ("hvae", "qsl_vae") else {}
    model, config = make(kind, shape, network, likelihood, **steps)
    assert type(model) is KINDS[kind]
    x = torch.randint(0, 2, (4, *SHAPES[shape]), generator=torch.Generator().manual_seed(2)).float()
    loss, parts = model(x, torch.Generator().manual_seed(3))
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert ("penalty" in parts) == (likelihood == "discretized_logistic")
    loaded = build(config, SHAPES[shape])
    loaded.load_state_dict(model.state_dict())
    z = torch.randn(2, 3)
    assert torch.equal(loaded.decode(z), model.decode(z))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("network", ["conv", "mlp"])  # conv5 starts with weights as large as any other layer's
@pytest.mark.parametrize("shape", SHAPES)
def test_decoding_starts_near_the_mean_image(shape, network, likelihood):
    model, _ = make("vae", shape, network, likelihood)
    images = model.decode(torch.zeros(1, 3))
    # What E[x] is at the starting output: of a continuous Bernoulli, or a wide logistic clipped to [-1, 1], not p.
    expected = model.likelihood.mean(
        {"gaussian": mean_image(shape), "discretized_logistic": 2 * mean_image(shape) - 1}.get(
            likelihood, mean_image(shape).logit()
        )
    )
    assert (images[0] - expected).abs().max() < 0.05
    assert (images[0] - mean_image(shape)).abs().mean() < 0.15


def test_the_settings_arrive():
    planar, _ = make("vae_flow", planar={"layers": 3})
    assert len(planar.flow.bias) == 3
    iwae, _ = make("iwae", importance={"samples": 7})
    assert iwae.num_samples == 7
    steps = {"steps": 4, "step_size": 0.02, "max_step_size": 0.3, "learn_step_size": False, "checkpoint_steps": True}
    hvae, _ = make("hvae", flow={**steps, "tempering": "fixed", "initial_temperature": 1.7})
    paper, _ = make(
        "qsl_vae", flow={**steps, "bound": "flow", "damping": 0.2, "noise": 0.4, "initial_temperature": 0.9}
    )
    ours, _ = make("qsl_vae", flow={**steps, "damping": 0.2})
    for model in (hvae, paper, ours):
        assert (model.num_steps, model.max_step_size, model.checkpoint_steps) == (4, 0.3, True)
        torch.testing.assert_close(model.step_size, torch.full_like(model.step_size, 0.02))
        assert not model.step_size_logit.requires_grad
    assert hvae.initial_temperature.item() == pytest.approx(1.7)
    assert hvae.tempering == "fixed"
    assert (paper.bound, paper.damping, paper.noise_scale, paper.initial_temperature) == ("flow", 0.2, 0.4, 0.9)
    assert ours.bound == "annealed"
    assert ours.damping.item() == pytest.approx(0.2)
    hoffman, _ = make("hoffman", langevin={"steps": 4, "step_size": 0.3, "metropolis": False})
    assert (hoffman.num_steps, hoffman.step_size, hoffman.metropolis) == (4, 0.3, False)
    posterior = {"scale": 0.2, "posterior_steps": 8, "posterior_step_size": 0.7}
    lae, _ = make("lae", langevin={"steps": 4, "step_size": 0.3, "metropolis": False, **posterior})
    assert (lae.num_updates, lae.step_size, lae.metropolis, lae.update) == (4, 0.3, False, "langevin")
    assert make("lae", langevin={"update": "frozen"})[0].update == "frozen"
    ae, _ = make("ae", langevin=posterior)
    assert ae.update == "gradient"
    for model in (lae, ae):
        assert (model.encoder.scale, model.posterior_steps, model.posterior_step_size) == (0.2, 8, 0.7)
    logistic, _ = make("vae", likelihood="discretized_logistic")
    assert logistic.likelihood.data_size == 50
    assert make("vae", network="mlp")[0].decoder.dense.activation is torch.relu


@pytest.mark.parametrize("kind", ["vae", "lae"])
def test_conv5_starts_from_the_mean_image_like_the_others(kind):
    model, _ = make(kind, network="conv5", likelihood="bernoulli")
    assert type(model.decoder) is Conv5Decoder
    assert model.encoder.features.input_scale == 0.5
    torch.testing.assert_close(model.encoder.features.mean_image, mean_image("2D"))
    torch.testing.assert_close(model.decoder.mean_logit, mean_image("2D").logit())


@pytest.mark.parametrize("kind", ["vae", "lae"])
def test_conv5_refuses_volumes(kind):
    with pytest.raises(MedlangevinError, match=r"not for shape \(1, 5, 4, 6\); use network.kind: conv$"):
        make(kind, "3D", "conv5")
