"""The mode of a posterior and Laplace's approximation: exact where they are known, and down every gradient else."""

import math

import pytest
import torch
from torch import Tensor, nn

from medlangevin.config import ModelConfig
from medlangevin.config.model import KINDS
from medlangevin.likelihoods import Bernoulli, Gaussian, Likelihood
from medlangevin.models import LatentVariableModel, build, laplace
from medlangevin.models.vae import VAE
from medlangevin.networks.convolutional import ConvDecoder
from medlangevin.networks.ends import Output
from medlangevin.networks.mlp import MLPDecoder
from medlangevin.system.errors import MedlangevinError

DIM = 3
SHAPE = (1, 7, 6, 5)


class FixedEncoder(nn.Module):
    """Says the same of every image."""

    def __init__(self, mean: float, deviations: tuple[float, ...]) -> None:
        super().__init__()
        self.mean, self.deviations = mean, deviations

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        deviations = x.new_tensor(self.deviations).expand(len(x), -1)
        return torch.full_like(deviations, self.mean), deviations


def linear_model(encoder_mean: float = 0.0) -> tuple[VAE, Tensor, Tensor, Tensor]:
    """x = W z + b + 0.3 noise with widths of W from 5 to 0.2, three images, their posterior means and covariance."""
    random = torch.Generator().manual_seed(0)
    decoder = nn.Linear(DIM, 8, dtype=torch.float64)
    widths = torch.tensor([5.0, 1.0, 0.2], dtype=torch.float64)
    decoder.weight.data = torch.randn(8, DIM, generator=random, dtype=torch.float64) * widths
    likelihood = Gaussian(0.3).double()
    likelihood.log_scale.data.fill_(math.log(0.3))
    weight, bias = decoder.weight.detach(), decoder.bias.detach()
    covariance = torch.linalg.inv(torch.eye(DIM, dtype=torch.float64) + weight.T @ weight / 0.09)
    z = torch.randn(3, DIM, generator=random, dtype=torch.float64)
    x = z @ weight.T + bias + 0.3 * torch.randn(3, 8, generator=random, dtype=torch.float64)
    encoder = FixedEncoder(encoder_mean, (0.5, 1.0, 2.0))
    model = VAE(encoder=encoder, decoder=decoder, likelihood=likelihood, latent_dim=DIM)
    return model, x, (x - bias) @ weight @ covariance / 0.09, covariance


def curved_model(network: str, likelihood: Likelihood, seed: int) -> tuple[VAE, Tensor]:
    """A random network far from linear, in float64, and two images drawn from it."""
    output: Output = "logit" if isinstance(likelihood, Bernoulli) else "probability"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder: nn.Module = (
            ConvDecoder(SHAPE, DIM, channels=(3,), hidden=5, output=output)
            if network == "conv"
            else MLPDecoder(SHAPE, DIM, widths=(9, 9), activation="softplus", layer_norm=False, output=output)
        )
    decoder = decoder.double()
    for name, parameter in decoder.named_parameters():
        # Networks start near the mean image, where x would say little of z.
        if name.startswith("last") and parameter.ndim > 1:
            parameter.data *= 10
    encoder = FixedEncoder(1.0, (0.1, 0.1, 0.1))
    model = VAE(encoder=encoder, decoder=decoder, likelihood=likelihood.double(), latent_dim=DIM).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        x = likelihood.sample(decoder(torch.randn(2, DIM, generator=random, dtype=torch.float64)), random)
    return model, x


CURVED = [
    pytest.param(network, likelihood, seed, id=f"{network} {likelihood.__class__.__name__} {seed}")
    for network in ("mlp", "conv")
    for likelihood in (Gaussian(0.1), Bernoulli())
    for seed in range(3)
]


def hessian(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    potential = model.potential(x)
    return torch.autograd.functional.hessian(lambda at: potential(at[None]).sum(), z)


# Far off: a thousand of the narrowest deviations.
@pytest.mark.claim("posterior-mode")
@pytest.mark.parametrize("encoder_mean", [0.0, 20.0])
def test_of_a_linear_decoder_mean_and_covariance_are_exact_whatever_the_encoder(encoder_mean: float) -> None:
    model, x, means, covariance = linear_model(encoder_mean)
    found = laplace.laplace(model, x)
    torch.testing.assert_close(found.mean, means, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(laplace.find_mode(model, x), means, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        laplace.find_mode(model, x, torch.full_like(means, encoder_mean)), means, atol=1e-5, rtol=1e-5
    )
    for factor in found.factor:
        torch.testing.assert_close(factor @ factor.T, covariance, atol=1e-5, rtol=1e-5)


@pytest.mark.claim("posterior-mode")
@pytest.mark.parametrize(("network", "likelihood", "seed"), CURVED)
def test_of_a_curved_decoder_the_gradient_vanishes_at_the_mode(network: str, likelihood: Likelihood, seed: int) -> None:
    """In units in which the curvature there is 1, the gradient is how many deviations the mode is still away."""
    model, x = curved_model(network, likelihood, seed)
    found = laplace.laplace(model, x)
    start = model.potential(x)(model.encode(x))
    for number, (z, factor) in enumerate(zip(found.mean, found.factor, strict=True)):
        potential = model.potential(x[number : number + 1])
        (gradient,) = torch.autograd.grad(potential(z.requires_grad_()[None]).sum(), z)
        assert (factor.T @ gradient).abs().max() < 0.06
        lowest = potential(z[None])
        assert lowest < start[number]
        assert lowest < potential(torch.zeros_like(z)[None])


@pytest.mark.parametrize(("said", "start"), [(1.0, 1.0), (40.0, 0.0)])
def test_the_way_starts_at_the_encoder_s_estimate_or_at_the_prior_s_mean(said: float, start: float) -> None:
    """Where U is lower: at 40 the network is saturated, and no gradient leads back."""
    model, x = curved_model("mlp", Gaussian(0.1), 0)
    model.encoder.register_forward_hook(lambda module, inputs, output: (torch.full_like(output[0], said), output[1]))
    if said == 1:
        x = model.decoder(torch.ones_like(model.encode(x))).detach()
    found = laplace.find_mode(model, x)
    assert torch.equal(found, laplace.find_mode(model, x, torch.full_like(found, start)))


@pytest.mark.claim("laplace-covariance")
@pytest.mark.parametrize(("network", "likelihood", "seed"), CURVED)
def test_close_to_the_mode_the_covariance_inverts_the_hessian(
    network: str, likelihood: Likelihood, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Curvatures below the prior's are taken for 1, the directions staying."""
    monkeypatch.setattr(laplace, "_DEVIATIONS_APART", 1e-6)
    model, x = curved_model(network, likelihood, seed)
    found = laplace.laplace(model, x)
    for number, (z, factor) in enumerate(zip(found.mean, found.factor, strict=True)):
        curvatures, axes = torch.linalg.eigh(hessian(model, x[number : number + 1], z))
        expected = axes @ (1 / curvatures.clamp(min=1)).diag() @ axes.T
        # The error of a difference over 1e-6 deviations, and its rounding.
        torch.testing.assert_close(factor @ factor.T, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.claim("laplace-covariance")
def test_curvatures_below_the_prior_s_are_raised_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """x = z^2 / 2 + noise, one pixel: at z = 0 the curvature is 1 - x / scale^2, below 1 for x above 0."""
    monkeypatch.setattr(laplace, "_DEVIATIONS_APART", 1e-6)

    class Squares(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z.square().sum(1, keepdim=True) / 2

    likelihood = Gaussian(1.0).double()
    model = VAE(encoder=FixedEncoder(0.0, (1.0, 1.0)), decoder=Squares(), likelihood=likelihood, latent_dim=2)
    x = torch.tensor([[0.5], [-0.5]], dtype=torch.float64)
    found = laplace.laplace(model, x)
    torch.testing.assert_close(found.mean, torch.zeros(2, 2, dtype=torch.float64))
    variances = torch.tensor([1.0, 1 / 1.5], dtype=torch.float64)
    covariances = found.factor @ found.factor.mT
    torch.testing.assert_close(covariances, variances[:, None, None] * torch.eye(2, dtype=torch.float64))


@pytest.mark.claim("laplace-covariance")
def test_bends_within_a_deviation_count() -> None:
    """x = |z| - 1 + noise has its mode at the bend, z = 0, for x of -3: the derivative there says nothing of it."""

    class Bends(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z.abs() - 1

    model = VAE(encoder=FixedEncoder(0.0, (1.0,)), decoder=Bends(), likelihood=Gaussian(1.0).double(), latent_dim=1)
    x = torch.tensor([[-3.0]], dtype=torch.float64)
    # U = (|z| + 2)^2 / 2 + z^2 / 2: to both sides of 0 its slope is +- (2 + 2 |z|), and Gauss-Newton's deviation is
    # 1 / sqrt(2).
    (variance,) = laplace.laplace(model, x).factor.square().flatten()
    assert variance == pytest.approx(1 / (2 + 2 * math.sqrt(2)), rel=1e-6)


def test_the_refined_elbo_of_a_linear_decoder_is_its_evidence() -> None:
    """There the normal posterior is exact, so every draw gives log p(x), that of a dense Gaussian."""
    model, x, _, _ = linear_model(encoder_mean=20.0)
    weight, bias = (parameter.detach() for parameter in model.decoder.parameters())
    covariance = weight @ weight.T + 0.09 * torch.eye(8, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
    found = laplace.refined_elbo(model, x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=1e-6)


def test_draws_of_a_normal_posterior_have_its_mean_and_covariance() -> None:
    """20,000 draws: 2 means and 3 entries of the covariance within 5 standard errors, a false alarm in 3e5 seeds."""
    factor = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    mean = torch.tensor([3.0, -1.0])
    many = laplace.NormalPosterior(mean.expand(20_000, 2), factor.expand(20_000, 2, 2))
    draws = many.sample(torch.Generator().manual_seed(0)).double()
    covariance = (factor @ factor.T).double()
    scale = covariance.diag()
    assert ((draws.mean(0) - mean).abs() < 5 * (scale / 20_000).sqrt()).all()
    error = ((covariance.square() + torch.outer(scale, scale)) / 20_000).sqrt()
    assert ((draws.T.cov() - covariance).abs() < 5 * error).all()


def test_the_encoder_s_posterior_has_its_mean_and_deviations() -> None:
    """Of 4,000 draws; 5 standard errors of 3 means and 3 deviations."""
    model, x, _, _ = linear_model(encoder_mean=7.0)
    found = laplace.encoder_posterior(model, x, torch.Generator().manual_seed(0), draws=4000)
    deviations = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    assert ((found.mean - 7).abs() < 5 * deviations / math.sqrt(4000)).all()
    spread = found.factor.diagonal(dim1=1, dim2=2)
    assert ((spread / deviations - 1).abs() < 5 / math.sqrt(8000)).all()
    torch.testing.assert_close(found.factor, torch.diag_embed(spread))
    again = laplace.encoder_posterior(model, x, torch.Generator().manual_seed(0), draws=4000)
    assert torch.equal(found.mean, again.mean)


def test_what_has_no_curvature_is_one_line() -> None:
    model, x, _, _ = linear_model()
    next(model.decoder.parameters()).data.fill_(torch.nan)
    for find in (laplace.find_mode, laplace.laplace):
        with pytest.raises(MedlangevinError, match="no finite curvature; train the model again"):
            find(model, x)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_an_image_s_mode_does_not_depend_on_its_batch(network: str) -> None:
    model, x = curved_model(network, Gaussian(0.1), 0)
    together = laplace.laplace(model, x)
    for number in range(len(x)):
        alone = laplace.laplace(model, x[number : number + 1])
        assert torch.equal(alone.mean[0], together.mean[number])
        assert torch.equal(alone.factor[0], together.factor[number])
    assert torch.equal(laplace.find_mode(model, x.flip(0)), together.mean.flip(0))


def test_few_evaluations_are_few() -> None:
    model, x = curved_model("mlp", Gaussian(0.1), 0)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    start = torch.zeros(1, DIM, dtype=torch.float64)
    model.decoder.register_forward_hook(count)
    laplace.find_mode(model, x[:1], start, steps=3)
    assert calls <= 3 + 2  # two for the coordinates
    calls = 0
    laplace.find_mode(model, x[:1], start)
    assert 5 < calls < laplace.MOST_STEPS


@pytest.mark.parametrize("kind", tuple(KINDS))
@pytest.mark.parametrize(
    "network",
    [
        {"kind": "mlp", "widths": [8, 8], "activation": "relu", "layer_norm": True},
        {"kind": "conv", "channels": [3], "hidden": 5},
    ],
    ids=["relu", "conv"],
)
def test_every_kind_of_model_finds_a_mode(kind: str, network: dict) -> None:
    """Untrained, in float32, as commands have it: no gradient is kept, and U is not above that of the start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        section = {"kind": kind, "latent_dim": DIM} | ({} if kind == "ppca" else {"network": network})
        model = build(ModelConfig.model_validate(section), SHAPE)
    model = model.eval()
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    estimate = model.encode(x)
    assert torch.equal(estimate, model.encode(x))
    found = laplace.laplace(model, x)
    assert found.mean.shape == (2, DIM)
    assert found.factor.shape == (2, DIM, DIM)
    assert found.factor.isfinite().all()
    assert not found.mean.requires_grad
    assert not any(parameter.grad is not None for parameter in model.parameters())
    potential = model.potential(x)
    with torch.no_grad():
        starts = torch.minimum(potential(estimate), potential(torch.zeros_like(estimate)))
        assert (potential(found.mean) <= starts).all()
        torch.testing.assert_close(model.reconstruct(x, found.mean), model.decode(found.mean))
        torch.testing.assert_close(model.reconstruct(x), model.decode(estimate))
