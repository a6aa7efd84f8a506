"""The Langevin autoencoder: its loss and gradients against plain autograd, what it costs, its posterior samples."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medlangevin.likelihoods import Gaussian
from medlangevin.models.lae import LAE
from medlangevin.samplers import amortized, mala
from medlangevin.system.errors import MedlangevinError

SHAPE, LATENT_DIM, FEATURES, BATCH = (1, 3, 4), 2, 24, 12


class Decoder(nn.Module):
    """z -> images; counts its evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(LATENT_DIM, 8), nn.Tanh(), nn.Linear(8, math.prod(SHAPE)))
        self.calls = 0

    def forward(self, z: Tensor) -> Tensor:
        self.calls += 1
        return self.layers(z).unflatten(1, SHAPE)


def make(seed: int = 0, **options) -> LAE:
    torch.manual_seed(seed)
    features = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), FEATURES), nn.ReLU())
    options = {"step_size": 0.02, "posterior_steps": 20, **options}
    return LAE(
        features=features,
        decoder=Decoder(),
        likelihood=Gaussian(0.3),
        latent_dim=LATENT_DIM,
        num_features=FEATURES,
        **options,
    ).double()


def images(count: int = BATCH, seed: int = 0) -> Tensor:
    """Bumps of one width at different places, in [0, 1]."""
    place = torch.rand(count, 1, dtype=torch.float64, generator=generator(seed))
    grid = torch.linspace(0, 1, math.prod(SHAPE), dtype=torch.float64)
    return torch.exp(-20 * (grid - place).square()).unflatten(1, SHAPE)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_loss(model: LAE, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """The loss by the sampler's own step and a second evaluation at each visited state; the last Phi; acceptance."""
    features, potential = model.encoder.features(x), model.potential(x)
    state = amortized.init(model.encoder.weight.clone(), potential, features=features.detach())
    energies, accepted = [], 0.0
    for _ in range(model.num_updates):
        step_size = model.step_size / len(x)
        state, info = amortized.step(
            state, potential, rng, features=features.detach(), step_size=step_size, metropolis=model.metropolis
        )
        energies.append(potential(features @ state.weight.T).mean())
        accepted += info.is_accepted.item() / model.num_updates
    return torch.stack(energies).mean(), state.weight, accepted


@pytest.fixture
def undecided_on_host(monkeypatch):
    """As on a GPU: which proposals are accepted stays on the device."""
    monkeypatch.setattr(LAE, "_decides_on_host", staticmethod(lambda x: False))


@pytest.mark.claim("lae-gradients")
@pytest.mark.parametrize("expected_acceptance", [0.0, 1.0])
@pytest.mark.parametrize(("num_updates", "metropolis"), [(1, True), (3, True), (2, False)])
def test_the_loss_and_its_gradients_are_those_of_plain_autograd(num_updates, metropolis, expected_acceptance):
    """Whatever acceptance was expected, which decides the evaluations that give parameter gradients at once."""
    require_plain_gradients(num_updates, metropolis, expected_acceptance)


@pytest.mark.claim("lae-host")
@pytest.mark.parametrize(("num_updates", "metropolis"), [(1, True), (3, True), (2, False)])
def test_they_are_those_of_plain_autograd_where_the_host_does_not_wait_for_decisions(
    num_updates, metropolis, undecided_on_host
):
    require_plain_gradients(num_updates, metropolis, expected_acceptance=1.0)


@pytest.mark.claim("lae-host")
def test_a_refused_proposal_without_energy_leaves_no_trace(undecided_on_host):
    """Steps so long that the energy overflows are refused, and the loss is that at the start."""
    model, x = make(num_updates=2, step_size=1e305), images()
    before = model.encoder.weight.clone()
    loss, parts = model(x, generator())
    loss.backward()
    assert parts["acceptance"] == 0
    assert torch.equal(model.encoder.weight, before)
    torch.testing.assert_close(loss, model.potential(x)(model.encoder(x)[0]).mean())
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def require_plain_gradients(num_updates, metropolis, expected_acceptance):
    model = make(num_updates=num_updates, metropolis=metropolis, step_size=0.25)
    seen = set()
    for seed in range(12):
        x = images(seed=seed)
        model.running_acceptance.fill_(expected_acceptance)
        model.zero_grad()
        expected, weight, acceptance = plain_loss(model, x, generator(seed))
        expected.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        model.zero_grad()
        loss, parts = model(x, generator(seed))
        (2 * loss).backward()
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(model.encoder.weight, weight)
        assert parts["acceptance"].item() == pytest.approx(acceptance)
        for name, parameter in model.named_parameters():
            gradient = gradients[name]
            assert gradient is not None
            assert gradient.abs().sum() > 0
            torch.testing.assert_close(parameter.grad, 2 * gradient)
        seen.add(round(acceptance * num_updates))
    assert seen == (set(range(num_updates + 1)) if metropolis else {num_updates})


@pytest.mark.claim("lae-gradients")
@pytest.mark.parametrize("step_size", [1e-6, 0.02, 10.0])
@pytest.mark.parametrize("num_updates", [1, 2, 5])
def test_a_mini_batch_costs_one_decoder_evaluation_more_than_it_has_updates(num_updates, step_size):
    model = make(num_updates=num_updates, step_size=step_size)
    decoder = model.decoder
    assert isinstance(decoder, Decoder)
    for seed in range(5):
        decoder.calls = 0
        model(images(), generator(seed)).loss.backward()
        assert decoder.calls == num_updates + 1


@pytest.mark.claim("lae-updates")
@pytest.mark.parametrize("update", ["gradient", "frozen"])
def test_the_controls_make_no_updates(update):
    """The loss is the energy at z = Phi g(x); Phi gets a gradient, or stays where it was drawn."""
    model, x = make(update=update), images()
    before = model.encoder.weight.clone()
    loss, parts = model(x, generator())
    loss.backward()
    z = model.encoder.features(x) @ before.T
    assert isinstance(model.likelihood, Gaussian)
    energy = -torch.distributions.Normal(model.decoder(z), model.likelihood.scale).log_prob(x).flatten(1).sum(1)
    energy = energy - torch.distributions.Normal(0, 1).log_prob(z).sum(1)
    torch.testing.assert_close(loss, energy.mean())
    assert "acceptance" not in parts
    assert torch.equal(model.encoder.weight, before)
    learned = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert learned == {name for name, _ in model.named_parameters()}
    assert ("encoder.weight" in learned) == (update == "gradient")
    torch.testing.assert_close(before @ before.T, torch.eye(LATENT_DIM, dtype=torch.float64))


def test_parts_are_named_and_add_up():
    loss, parts = make()(images(), generator())
    assert set(parts) == {"log_joint", "log_likelihood", "log_prior", "weight_norm", "acceptance", "likelihood_scale"}
    assert all(part.shape == () and not part.requires_grad for part in parts.values())
    assert parts["log_joint"].item() == pytest.approx(-loss.item())
    _, parts = make(num_updates=1)(images(), generator())
    assert (parts["log_likelihood"] + parts["log_prior"]).item() == pytest.approx(parts["log_joint"].item())


def train(model: LAE, x: Tensor, steps: int, *, learning_rate: float = 3e-3, seed: int = 0) -> list[dict[str, float]]:
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    rng, rows = generator(seed), []
    for _ in range(steps):
        batch = x[torch.randperm(len(x), generator=rng)[:BATCH]]
        optimiser.zero_grad()
        loss, parts = model(batch, rng)
        loss.backward()
        optimiser.step()
        rows.append({name: part.item() for name, part in parts.items()})
    return rows


@pytest.mark.slow
@pytest.mark.claim("lae-updates")
def test_training_raises_the_joint_density_with_an_acceptance_between_none_and_all():
    model, x = make(), images(60)
    before = model.elbo(x, generator()).mean()
    rows = train(model, x, 300)
    acceptance = sum(row["acceptance"] for row in rows) / len(rows)
    assert 0 < acceptance < 1
    assert 0 < model.running_acceptance < 1
    assert rows[-1]["log_joint"] > rows[0]["log_joint"] + 5
    assert model.elbo(x, generator()).mean() > before + 5
    assert rows[-1]["weight_norm"] != rows[0]["weight_norm"]


def test_a_training_step_follows_from_the_state_and_the_generator(tmp_path):
    model, x = make(), images()
    train(model, x, 7)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = make(seed=1)
    assert not torch.equal(other.encoder.weight, model.encoder.weight)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other.elbo(x, generator()), model.elbo(x, generator()))
    assert torch.equal(other.posterior_sample(x, 2, generator()), model.posterior_sample(x, 2, generator()))
    for one in (model, other):
        train(one, x, 5, seed=3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


class Affine(nn.Linear):
    """z -> images of ``SHAPE``."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).unflatten(1, SHAPE)


def linear_model(**options) -> tuple[LAE, Tensor]:
    """Linear encoder and decoder, and 200 images of a linear-Gaussian model."""
    rng = generator(5)
    size = math.prod(SHAPE)
    loadings = torch.randn(size, LATENT_DIM, dtype=torch.float64, generator=rng) / 2
    z = torch.randn(200, LATENT_DIM, dtype=torch.float64, generator=rng)
    x = z @ loadings.T + 0.5 * torch.randn(200, size, dtype=torch.float64, generator=rng)
    torch.manual_seed(0)
    model = LAE(
        features=nn.Sequential(nn.Flatten(), nn.Linear(size, 12)),
        decoder=Affine(LATENT_DIM, size),
        likelihood=Gaussian(1.0),
        latent_dim=LATENT_DIM,
        num_features=12,
        step_size=0.01,
        **options,
    ).double()
    return model, x.unflatten(1, SHAPE)


def linear_parts(model: LAE) -> tuple[Tensor, Tensor, Tensor]:
    """Weight and bias of the decoder, and the scale of the likelihood."""
    assert isinstance(model.decoder, Affine)
    assert isinstance(model.likelihood, Gaussian)
    return model.decoder.weight.detach(), model.decoder.bias.detach(), model.likelihood.scale.detach()


def posterior(model: LAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (N, d) and covariance (d, d) of z given x under the model's own linear decoder."""
    weight, bias, scale = linear_parts(model)
    covariance = torch.linalg.inv(torch.eye(LATENT_DIM, dtype=torch.float64) + weight.T @ weight / scale**2)
    return (x.flatten(1) - bias) @ weight @ covariance / scale**2, covariance


@pytest.mark.slow
@pytest.mark.claim("posterior-scale")
@pytest.mark.parametrize("update", ["langevin", "gradient"])
def test_posterior_samples_have_the_exact_spread_of_the_learned_decoder(update):
    model, x = linear_model(update=update, posterior_steps=100)
    train(model, x, 300, learning_rate=1e-2)
    mean, covariance = posterior(model, x[:2])
    samples = model.posterior_sample(x[:2], 10_000, generator())
    deviations = samples.std(0) / covariance.diagonal().sqrt()
    # Independent chains: the standard error is 0.7 %, so 3 % is 4.2 of them, a false-alarm rate of 1e-4 over seeds.
    assert (deviations - 1).abs().max() < 0.03
    assert ((samples.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max() < 4.2 / 100
    correlation = torch.corrcoef(samples[:, 0].T)[0, 1]
    expected = covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]).sqrt()
    assert abs(correlation - expected) < 0.04
    # The encoder's own q would not do: neither its spread nor, in general, its mean is the posterior's.
    assert (model.encoder.scale / covariance.diagonal().sqrt() - 1).abs().min() > 0.1


@pytest.mark.parametrize("steps", [2, 3, 8, 21])
def test_a_posterior_sample_is_the_end_of_a_chain_of_all_its_steps(steps):
    """Steps too small to be refused: each point that is looked at is where the chain stands next."""
    model = make(posterior_steps=steps, posterior_step_size=1e-10)
    visited: list[Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _, inputs: visited.append(inputs[0].detach().clone()))
    drawn = model.posterior_sample(images(3), 1, generator())[0]
    assert len(visited) == steps + 1  # the start, and one proposal a step
    assert torch.equal(drawn, visited[-1])
    assert len(torch.stack(visited).unique(dim=0)) == steps + 1


def test_the_bound_and_the_evidence_of_a_linear_model():
    model, x = linear_model(scale=0.2)
    train(model, x, 100, learning_rate=1e-2)
    x = x[:1]
    mean, scale = (part.detach() for part in model.encoder(x))
    assert torch.equal(scale, torch.full((1, LATENT_DIM), 0.2, dtype=torch.float64))
    weight, bias, sigma = linear_parts(model)
    at_mean = model.likelihood.log_prob(x, model.decoder(mean)).detach()
    expected = at_mean - 0.5 * 0.2**2 * weight.square().sum() / sigma**2
    expected = expected - 0.5 * (mean.square().sum() + LATENT_DIM * (0.2**2 - 1 - math.log(0.2**2)))
    draws = model.elbo(x.expand(20_000, *SHAPE), generator())
    # 4 standard errors: a false-alarm rate of 6e-5 over seeds.
    assert abs(draws.mean() - expected) < 4 * draws.std() / 20_000**0.5
    covariance = weight @ weight.T + sigma**2 * torch.eye(len(weight))
    evidence = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x.flatten(1))
    assert draws.mean() < evidence


def test_one_line_errors():
    for options, message in (
        ({"update": "adam"}, "it can be langevin, mala, gradient or frozen"),
        ({"num_updates": 0}, "at least one of a positive size"),
        ({"step_size": 0.0}, "at least one of a positive size"),
        ({"scale": 0.0}, "positive scale"),
        ({"posterior_steps": 1}, "2 steps or more"),
    ):
        with pytest.raises(MedlangevinError, match=message):
            make(**options)
    make(update="gradient", num_updates=0)


@pytest.mark.claim("lae-independent-images")
def test_an_image_s_posterior_does_not_depend_on_the_others():
    """Step sizes are adapted per chain: with one for all, stiff images would shorten the steps of the rest."""
    model, x = make(), images()
    drawn = []
    for others in (x[1:2], 30 * x[1:2]):  # the same noise; only the other image's curvature of U differs
        torch.manual_seed(0)
        drawn.append(model.posterior_sample(torch.cat([x[:1], others]), 3, generator()))
    torch.testing.assert_close(drawn[0][:, 0], drawn[1][:, 0])
    assert not torch.allclose(drawn[0][:, 1], drawn[1][:, 1])


def test_evaluation_mode_leaves_the_last_layer_alone():
    model = make().eval()
    before = model.encoder.weight.clone()
    model(images(), generator())
    assert torch.equal(model.encoder.weight, before)


@pytest.mark.claim("lae-refined")
def test_refined_latents_train_the_decoder_and_the_encoder_learns_to_predict_them():
    """The loss and its gradients are those of plain autograd at the ends of MALA chains that start at Phi g(x)."""
    model, x = make(update="mala", num_updates=3, step_size=0.02), images()
    prediction = model.encoder(x)[0]
    rng, chain = generator(7), mala.init(prediction.detach(), model.potential(x))
    accepted = 0.0
    for _ in range(3):
        chain, info = mala.step(chain, model.potential(x), rng, step_size=0.02)
        accepted += info.acceptance_probability.mean().item() / 3
    z = chain.position
    energy = model.potential(x)(z).mean()
    misfit = 0.5 * ((z - prediction) / 0.05).square().sum(1).mean()
    names = [name for name, _ in model.named_parameters()]
    expected = torch.autograd.grad(energy + misfit, list(model.parameters()))
    assert isinstance(model.decoder, Decoder)
    model.decoder.calls = 0
    loss, parts = model.training_loss(x, generator(7))
    assert model.decoder.calls == 3 + 2
    torch.testing.assert_close(loss, energy)
    for name, found, wanted in zip(names, torch.autograd.grad(loss, list(model.parameters())), expected, strict=True):
        torch.testing.assert_close(found, wanted, msg=name)
    assert parts["acceptance"].item() == pytest.approx(accepted)
    assert model.latent_step_size.item() == pytest.approx(0.02 * math.exp(0.05 * (accepted - 0.574)))
    assert parts["step_size"].item() == pytest.approx(model.latent_step_size.item())


@pytest.mark.slow
@pytest.mark.claim("lae-refined")
def test_the_encoder_predicts_the_posterior_mean_of_a_linear_decoder_and_the_step_finds_its_acceptance():
    """With the decoder held fixed the posterior is N(m(x), S); its mean is linear in x, so Phi g can reach it exactly.

    Means over the last 100 updates. With eight seeds, and twice as many updates, the misfit was 0.018 to 0.022 and the
    acceptance 0.5735 to 0.5745; the prior mean in place of m(x) misses by 0.27.
    """
    model, x = linear_model(update="mala", num_updates=5)
    assert isinstance(model.decoder, Affine)
    with torch.no_grad():
        model.decoder.weight.mul_(3)  # or the posterior would hardly differ from the prior
    for parameter in (*model.decoder.parameters(), *model.likelihood.parameters()):
        parameter.requires_grad_(False)
    optimiser = torch.optim.Adam(model.encoder.parameters(), 3e-3)
    rng = generator(1)
    acceptance, misfit = [], []
    exact, _ = posterior(model, x)
    for step in range(700):
        optimiser.zero_grad()
        loss, parts = model.train()(x, rng)
        loss.backward()
        optimiser.step()
        if step >= 600:
            acceptance.append(parts["acceptance"].item())
            misfit.append((model.encoder(x)[0].detach() - exact).square().mean().sqrt().item())
    assert sum(acceptance) / len(acceptance) == pytest.approx(0.574, abs=0.01)
    assert sum(misfit) / len(misfit) < 0.04
