"""Posterior chains of a linear-Gaussian decoder, whose posterior is known in closed form; and the command's files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from medlangevin.inference.latent_posterior import laplace_approximation, sample_posterior
from medlangevin.inference.posterior import posterior, with_spread
from medlangevin.likelihoods import Gaussian
from medlangevin.models.vae import VAE
from medlangevin.system.errors import MedlangevinError

DIM, PIXELS, SCALE, CHAINS = 3, 5, 0.3, 64


class PriorEncoder(torch.nn.Module):
    def forward(self, x):
        mean = torch.zeros(len(x), DIM, dtype=x.dtype)
        return mean, torch.ones_like(mean)


@pytest.fixture(scope="module")
def linear():
    """Model, image, posterior mean and covariance: x = W z + b + 0.3 noise, widths of W differing by a factor of 25."""
    generator = torch.Generator().manual_seed(0)
    decoder = torch.nn.Linear(DIM, PIXELS, dtype=torch.float64)
    with torch.no_grad():
        scales = torch.tensor([5.0, 1.0, 0.2], dtype=torch.float64)
        decoder.weight.copy_(torch.randn(PIXELS, DIM, generator=generator, dtype=torch.float64) * scales)
    model = VAE(encoder=PriorEncoder(), decoder=decoder, likelihood=Gaussian(SCALE).double(), latent_dim=DIM)
    x = torch.randn(1, PIXELS, generator=generator, dtype=torch.float64)
    weight, bias = decoder.weight.detach(), decoder.bias.detach()
    covariance = torch.linalg.inv(torch.eye(DIM, dtype=torch.float64) + weight.T @ weight / SCALE**2)
    mean = covariance @ weight.T @ (x[0] - bias) / SCALE**2
    return model, x, mean, covariance


def test_laplace_s_approximation_of_a_gaussian_is_exact(linear):
    model, x, mean, covariance = linear
    laplace = laplace_approximation(model, x)
    torch.testing.assert_close(laplace.mode, mean, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(laplace.factor @ laplace.factor.T, covariance, atol=1e-6, rtol=1e-5)


# Chains are independent, so their averages give the standard error. 9 statistics of 64 chains (Student, 63 degrees of
# freedom) at 5 standard errors: a false alarm in 2e4 for all 9 of one kernel.
@pytest.mark.parametrize("kernel", ["mala", "hmc"])
def test_mean_and_covariance_of_a_linear_gaussian_decoder(linear, kernel):
    model, x, mean, covariance = linear
    chains = sample_posterior(
        model, x, torch.Generator().manual_seed(1), kernel=kernel, num_chains=CHAINS, num_draws=400, warmup=100
    )
    assert errors(chains.positions, mean, covariance).abs().max() < 5
    # A wrong scale of the noise or a wrong mean by a third of a deviation would be seen.
    assert errors(chains.positions, mean, 1.2 * covariance).abs().max() > 5
    assert errors(chains.positions, mean + covariance.diagonal().sqrt() / 3, covariance).abs().max() > 5


@pytest.mark.parametrize(("kernel", "share"), [("qsl", 0.02), ("ula", 0.02)])
def test_kernels_without_a_test_are_off_by_two_per_cent_at_most(linear, kernel, share):
    """Allowed: the stated bias of the covariance, and 5 standard errors."""
    model, x, mean, covariance = linear
    chains = sample_posterior(
        model, x, torch.Generator().manual_seed(2), kernel=kernel, num_chains=CHAINS, num_draws=500, warmup=300
    )
    low, high = ((1 - share) * covariance, (1 + share) * covariance)
    diagonal = [3, 6, 8]
    below, above = errors(chains.positions, mean, low), errors(chains.positions, mean, high)
    assert below[:3].abs().max() < 5
    assert (below[diagonal] > -5).all()
    assert (above[diagonal] < 5).all()


def errors(positions, mean, covariance):
    """3 means and 6 entries of the covariance (about ``mean``), in standard errors."""
    centred = positions - mean
    upper = torch.triu_indices(DIM, DIM)
    products = (centred[..., :, None] * centred[..., None, :] - covariance)[..., upper[0], upper[1]]
    averages = torch.cat([centred, products], -1).mean(1)
    return averages.mean(0) / (averages.std(0) / math.sqrt(len(averages)))


def test_the_command_writes_chains_tables_and_a_picture(run: Path, ear: Path, tmp_path: Path):
    from medlangevin.reports.shape_figure import draw_posterior
    from medlangevin.samplers.diagnostics import load_positions

    result = posterior(run, ear, tmp_path / "out", chains=2, draws=20, warmup=10, measured=7)
    draw_posterior(tmp_path / "out")
    again = posterior(run, ear, tmp_path / "out", chains=2, draws=20, warmup=10, measured=7)
    assert result == again == json.loads((tmp_path / "out/summary.json").read_text())
    assert load_positions(tmp_path / "out/chains.nc").shape == (2, 20, 3)
    lines = (tmp_path / "out/measures.tsv").read_text().splitlines()
    assert len(lines) == 8
    assert lines[0].split("\t")[:3] == ["chain", "draw", "volume_mm3"]
    assert np.isfinite(result["diagnostics"]["acceptance_rate"])
    with pytest.raises(MedlangevinError, match="which posterior did not write"):
        posterior(run, ear, run)
    with pytest.raises(MedlangevinError, match="can be measured"):
        posterior(run, ear, tmp_path / "none", chains=1, draws=4, measured=5)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [(9.1234, 0.21, "9.12 +- 0.21"), (9.12341, 0.00432, "9.1234 +- 0.0043"), (72.0, 0.0, "72.00 +- 0.00")],
)
def test_a_small_spread_is_not_shown_as_none(mean, sd, text):
    assert with_spread(mean, sd) == text
