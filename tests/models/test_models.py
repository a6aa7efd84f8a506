"""What every model offers: shapes in 2D and 3D, seeds, state on disk, and learning."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medlangevin.config import ModelConfig, load_config
from medlangevin.models import build
from medlangevin.system.errors import MedlangevinError

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))
# Every kind, with settings that give it noise of its own and steps small enough for untrained networks.
KINDS: dict[str, dict] = {
    "vae": {"kind": "vae"},
    "vae_flow": {"kind": "vae_flow", "planar": {"layers": 3}},
    "iwae": {"kind": "iwae", "importance": {"samples": 4}},
    "hvae": {"kind": "hvae", "flow": {"steps": 2, "step_size": 0.002}},
    "hvae fixed": {"kind": "hvae", "flow": {"steps": 2, "step_size": 0.002, "tempering": "fixed"}},
    "hvae free": {"kind": "hvae", "flow": {"steps": 2, "step_size": 0.002, "tempering": "free"}},
    "qsl_vae": {"kind": "qsl_vae", "flow": {"bound": "flow", "steps": 2, "step_size": 0.002, "noise": 0.5}},
    "annealed": {"kind": "qsl_vae", "flow": {"bound": "annealed", "steps": 2, "step_size": 0.002}},
    "hoffman": {"kind": "hoffman", "langevin": {"steps": 2, "step_size": 1e-5}},
}
SHAPES = {"2D": (2, 9, 8), "3D": (1, 12, 10, 9)}


def config_of(kind: str, **settings) -> ModelConfig:
    """``settings`` add to those of ``kind``, section by section."""
    config = {"latent_dim": 3, "network": {"channels": [4, 6], "hidden": 8}, **KINDS[kind]}
    for key, value in settings.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    return ModelConfig.model_validate(config)


def make(kind: str, image_shape: tuple[int, ...], seed: int = 0, **settings):
    torch.manual_seed(seed)
    return build(config_of(kind, **settings), image_shape)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_builds_a_model_for_cochlea_crops(path):
    config = load_config(path)
    torch.manual_seed(0)
    shape = (1, 60, 50, 50)
    model = build(config.model, shape, mean_image=torch.full(shape, 0.4))
    loss = model(torch.rand(1, *shape), generator())
    loss.loss.backward()
    assert torch.isfinite(loss.loss)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert model.sample(1, generator()).shape == (1, *shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(kind, shape):
    model, x = make(kind, SHAPES[shape]), torch.rand(5, *SHAPES[shape])
    loss = model(x, generator())
    assert loss.loss.shape == ()
    assert loss.parts["elbo"].item() == pytest.approx(-loss.loss.item())
    assert all(part.shape == () and not part.requires_grad for part in loss.parts.values())
    assert model.latent_dim == 3
    assert model.elbo(x, generator()).shape == (5,)
    assert model.log_likelihood(x, 7, generator()).shape == (5,)
    assert model.posterior_sample(x, 7, generator()).shape == (7, 5, 3)
    assert model.encode(x).shape == (5, 3)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(4, generator()).shape == (4, *SHAPES[shape])
    assert model.decode(torch.zeros(2, 3)).shape == (2, *SHAPES[shape])
    assert not model.elbo(x, generator()).requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_and_torch_s_own_seed_does_not(kind):
    model, x = make(kind, SHAPES["3D"]), torch.rand(3, *SHAPES["3D"])
    calls = {
        "loss": lambda g: model(x, g).loss.detach(),
        "elbo": lambda g: model.elbo(x, g),
        "log_likelihood": lambda g: model.log_likelihood(x, 5, g),
        "posterior_sample": lambda g: model.posterior_sample(x, 5, g),
        "sample": lambda g: model.sample(2, g),
    }
    for name, call in calls.items():
        first = call(generator(1))
        torch.rand(1)
        assert torch.equal(call(generator(1)), first), name
        assert not torch.equal(call(generator(2)), first), name


@pytest.mark.slow(seconds=0.8)
@pytest.mark.parametrize("kind", KINDS)
def test_posterior_samples_follow_their_own_image(kind, monkeypatch):
    """Chunks of images and draws must not mix up which sample belongs to which image."""
    model = make(kind, SHAPES["2D"])
    x = torch.rand(5, *SHAPES["2D"]) * torch.linspace(0, 1, 5)[:, None, None, None]
    alone = torch.cat([model.posterior_sample(image[None], 400, generator(1)) for image in x], dim=1)
    mean, scale = alone.mean(0), alone.std(0)
    assert ((mean[0] - mean[4]).abs() > 5 * scale[0]).any()
    for elements in (2**23, 144 * 7, 144 * 3, 1):
        monkeypatch.setattr("medlangevin.models.base._ELEMENTS_PER_CHUNK", elements)
        draws = model.posterior_sample(x, 40, generator())
        # Within 5 standard errors of the difference of a mean of 40 draws and one of 400.
        assert ((draws.mean(0) - mean).abs() < 5 * scale * (1 / 40 + 1 / 400) ** 0.5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_state_survives_safetensors(kind, tmp_path):
    shape = SHAPES["3D"]
    config = config_of(kind)
    torch.manual_seed(1)
    model = build(config, shape, mean_image=torch.rand(shape))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.manual_seed(2)
    loaded = build(config, shape)
    x = torch.rand(2, *shape)
    assert not torch.equal(loaded.elbo(x, generator()), model.elbo(x, generator()))
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(loaded.elbo(x, generator()), model.elbo(x, generator()))
    assert torch.equal(loaded.sample(2, generator()), model.sample(2, generator()))


def test_step_sizes_start_where_asked_and_stay_inside_their_bounds():
    model = make("qsl_vae", SHAPES["2D"], flow={"step_size": 0.02, "max_step_size": 0.3})
    torch.testing.assert_close(model.step_size, torch.full((3,), 0.02))
    for extreme in (-50.0, 50.0):
        model.step_size_logit.data.fill_(extreme)
        assert (model.step_size >= 0).all()
        assert (model.step_size <= 0.3).all()
    fixed = make("qsl_vae", SHAPES["2D"], flow={"learn_step_size": False})
    assert not fixed.step_size_logit.requires_grad


def test_a_flow_of_vanishing_steps_is_the_vae():
    """Same networks, t -> 0, no damping: L_RB differs from the VAE's bound only by the noise of its KL term."""
    shape = SHAPES["2D"]
    x = torch.rand(1, *shape).expand(4000, -1, -1, -1)
    vae = make("vae", shape)
    qsl = make("qsl_vae", shape, flow={"step_size": 1e-7, "damping": 0.0, "noise": 0.0})
    difference = qsl.elbo(x, generator()) - vae.elbo(x, generator())
    # 4 standard errors: a false-alarm rate of 6e-5 over seeds.
    assert abs(difference.mean()) < 4 * difference.std() / 4000**0.5


# The temperings of the HVAE are trained in test_posterior_scale.py.
@pytest.mark.slow(seconds=1)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("hvae fixed", "hvae free")])
def test_training_raises_the_bound(kind):
    shape = SHAPES["3D"]
    grid = torch.linspace(-1, 1, 12)[:, None, None] + torch.zeros(shape[1:])
    positions = torch.rand(12, generator=generator(3)) - 0.5
    x = torch.exp(-8 * (grid[None, None] - positions[:, None, None, None, None]).square())
    model = make(kind, shape, latent_dim=2)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    before = model.elbo(x, generator()).mean()
    rng = generator(4)
    for _ in range(60):
        optimiser.zero_grad()
        model(x, rng).loss.backward()
        optimiser.step()
    errors = (model.reconstruct(x) - x).square().mean().sqrt()
    assert model.elbo(x, generator()).mean() > before + 300
    assert errors < 0.5 * x.sub(x.mean(0)).square().mean().sqrt()


@pytest.mark.parametrize("kind", KINDS)
def test_the_reconstruction_is_the_mean_image_of_the_encoder_s_estimate_or_of_a_given_latent(kind, monkeypatch):
    model, x = make(kind, SHAPES["2D"]).eval(), torch.rand(5, *SHAPES["2D"])
    estimate = model.encode(x)
    torch.rand(1)
    assert torch.equal(model.encode(x), estimate)
    # Of many draws of the posterior the mean is the estimate, which itself is of 8 where there is no better; 6 errors.
    draws = model.posterior_sample(x, 400, generator())
    assert ((estimate - draws.mean(0)).abs() < 6 * draws.std(0) * (1 / 8 + 1 / 400) ** 0.5).all()
    z = torch.randn(5, 3, generator=generator(1))
    expected = model.decode(z), model.decode(estimate)
    for elements in (2**23, 144 * 2, 1):
        monkeypatch.setattr("medlangevin.models.base._ELEMENTS_PER_CHUNK", elements)
        torch.testing.assert_close(model.reconstruct(x, z), expected[0])
        torch.testing.assert_close(model.reconstruct(x, estimate), expected[1])
    monkeypatch.undo()
    torch.testing.assert_close(model.reconstruct(x), expected[1])
    assert not model.reconstruct(x).requires_grad


def test_one_line_errors():
    with pytest.raises(MedlangevinError, match="cannot be modelled"):
        make("vae", (1, 5))
    with pytest.raises(MedlangevinError, match="mean image"):
        build(ModelConfig.model_validate({"kind": "vae"}), (1, 8, 8), mean_image=torch.zeros(1, 4, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_by_one_importance_sample_is_its_log_weight(kind):
    model = make(kind, SHAPES["2D"])
    x = torch.rand(3, *SHAPES["2D"])
    torch.testing.assert_close(model.log_likelihood(x, 1, generator()), model.log_weights(x, generator()).double())
