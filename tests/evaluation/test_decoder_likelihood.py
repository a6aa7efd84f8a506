"""The decoder's likelihood by annealing: against closed form and a grid, without the encoder, in bounded memory."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from medlangevin.evaluation.decoder_likelihood import DecoderLikelihood, decoder_log_likelihood
from medlangevin.likelihoods import Bernoulli, Gaussian
from medlangevin.models import LatentVariableModel, base
from medlangevin.models.vae import VAE
from medlangevin.system.errors import MedlangevinError

SCALE, CHAINS, TEMPERATURES = 0.3, 32, 300


class NoEncoder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("the encoder was used")


class LinearDecoder(nn.Module):
    """x = W z in the shape (1, 3, 2); counts the latent vectors it decodes, in all and at a time."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, 3, generator=generator, dtype=torch.float64))
        self.decoded, self.at_once = 0, 0

    def forward(self, z: Tensor) -> Tensor:
        self.decoded += len(z)
        self.at_once = max(self.at_once, len(z))
        return (z @ self.weight.T).unflatten(1, (1, 3, 2))


@pytest.fixture
def linear() -> tuple[LatentVariableModel, Tensor, Tensor]:
    """The model, three images and their exact log p(x)."""
    decoder, likelihood = LinearDecoder(), Gaussian(SCALE).double()
    likelihood.log_scale.data.fill_(math.log(SCALE))
    covariance = decoder.weight.detach() @ decoder.weight.detach().T + SCALE**2 * torch.eye(6, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) @ law.scale_tril.T
    model = VAE(encoder=NoEncoder(), decoder=decoder, likelihood=likelihood, latent_dim=3)
    return model, x.unflatten(1, (1, 3, 2)), law.log_prob(x)


def errors_of(estimate: DecoderLikelihood, truth: Tensor) -> Tensor:
    """Of each image, in standard errors, which the effective sample size gives: Var(mean w) / E[w]^2."""
    return (estimate.log_likelihood - truth) / (1 / estimate.effective_sample_size - 1 / CHAINS).sqrt()


def estimate_of(
    model: LatentVariableModel, x: Tensor, *, seed: int, on_step: Callable[[int, int], None] | None = None
) -> DecoderLikelihood:
    generator = torch.Generator().manual_seed(seed)
    return decoder_log_likelihood(
        model, x, generator, num_chains=CHAINS, num_temperatures=TEMPERATURES, on_step=on_step
    )


# 4 standard errors for each of three images: no false alarm at 200 other seeds; the smallest effective size was 12.
@pytest.mark.claim("decoder-likelihood")
def test_a_linear_decoder_s_evidence_without_its_encoder(linear):
    model, x, truth = linear
    estimate = estimate_of(model, x, seed=2)
    assert errors_of(estimate, truth).abs().max() < 4
    assert estimate.effective_sample_size.min() > CHAINS / 8
    assert (estimate.acceptance - 0.65).abs().max() < 0.15


# 4 standard errors: no false alarm at 200 other seeds, with a third of the temperatures.
@pytest.mark.slow
@pytest.mark.claim("decoder-likelihood")
@pytest.mark.parametrize("likelihood", [Gaussian(0.2), Bernoulli()])
def test_an_mlp_decoder_s_evidence_is_that_of_a_grid(likelihood, mlp_case):
    model, x, truth = mlp_case(likelihood, NoEncoder(), activation="relu", gain=20)
    estimate = estimate_of(model, x, seed=5)
    assert errors_of(estimate, truth).abs().max() < 4
    assert estimate.effective_sample_size.min() > CHAINS / 8


@pytest.mark.slow
@pytest.mark.claim("decoder-likelihood")
@pytest.mark.parametrize("room", [16 * 6, 2 * CHAINS * 6])
def test_memory_is_bounded_and_every_move_is_told(room, linear, monkeypatch):
    monkeypatch.setattr(base, "_ELEMENTS_PER_CHUNK", room)
    model, x, truth = linear
    seen: list[tuple[int, int]] = []
    estimate = estimate_of(model, x, seed=6, on_step=lambda done, total: seen.append((done, total)))
    assert model.decoder.at_once <= room // 6
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    assert errors_of(estimate, truth).abs().max() < 4


def test_the_cost_is_as_stated(linear):
    model, x, _ = linear
    estimate = estimate_of(model, x, seed=7)
    assert model.decoder.decoded == len(x) * estimate.num_gradients
    assert estimate.num_gradients > CHAINS * (1 + (TEMPERATURES - 1) * 2)


def test_nonsense_is_refused(linear):
    model, x, _ = linear
    with pytest.raises(MedlangevinError, match="0 chains"):
        decoder_log_likelihood(model, x, num_chains=0, num_temperatures=5)
    model.decoder.weight.data.fill_(torch.nan)
    with pytest.raises(MedlangevinError, match="check the model"):
        decoder_log_likelihood(model, x, num_chains=2, num_temperatures=5)
