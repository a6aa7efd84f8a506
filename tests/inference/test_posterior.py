"""Posterior chains of a linear-Gaussian decoder, whose posterior is known in closed form; and the command's files."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError

from medlangevin.inference.latent_posterior import has_converged, sample_posterior
from medlangevin.inference.posterior import format_posterior, posterior, with_spread
from medlangevin.likelihoods import Gaussian
from medlangevin.models.vae import VAE
from medlangevin.runs.load import load_run
from medlangevin.samplers.diagnostics import load_positions
from medlangevin.shape.measure import Measures
from medlangevin.system.errors import MedlangevinError

DIM, PIXELS, SCALE, CHAINS = 3, 5, 0.3, 64


class PriorEncoder(torch.nn.Module):
    def __init__(self, size=DIM):
        super().__init__()
        self.size = size

    def forward(self, x):
        mean = torch.zeros(len(x), self.size, dtype=x.dtype)
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


# Chains are independent, so their averages give the standard error. 9 statistics of 64 chains (Student, 63 degrees of
# freedom) at 5 standard errors: a false alarm in 2e4 for all 9 of one kernel.
@pytest.mark.slow
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


def test_the_spread_of_a_measure_is_that_of_its_known_posterior(
    run: Path, ear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A linear decoder of crops, and the mean HU as the measure: its posterior is a Gaussian known in closed form."""
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(DIM, 8 * 6 * 5)
    linear.weight.data = 0.1 * torch.randn(linear.weight.shape, generator=generator) + 0.05
    linear.bias.data = torch.full_like(linear.bias, 0.4)
    decoder = torch.nn.Sequential(linear, torch.nn.Unflatten(1, (1, 8, 6, 5)))
    model = VAE(encoder=PriorEncoder(), decoder=decoder, likelihood=Gaussian(SCALE), latent_dim=DIM)
    loaded = dataclasses.replace(load_run(run), model=model)
    monkeypatch.setattr("medlangevin.inference.posterior.load_run", lambda *_, **__: loaded)
    monkeypatch.setattr("medlangevin.inference.posterior.measure", lambda hu, _: Measures(volume_mm3=float(hu.mean())))

    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    covariance = torch.linalg.inv(torch.eye(DIM, dtype=torch.float64) + weight.T @ weight / SCALE**2)
    mean = covariance @ weight.T @ (loaded.image(ear).flatten().double() - bias) / SCALE**2
    slope, offset = 3500 * weight.mean(0), 3500 * float(bias.mean()) - 1000
    expected, deviation = float(slope @ mean) + offset, float((slope @ covariance @ slope).sqrt())

    chains, draws = 32, 100
    result = posterior(run, ear, tmp_path, chains=chains, draws=draws, warmup=100, measured=chains * draws)
    found, rows = result["measures"]["volume_mm3"], pd.read_csv(tmp_path / "measures.tsv", sep="\t")
    assert found["count"] == chains * draws
    positions = load_positions(tmp_path / "chains.nc")[rows["chain"], rows["draw"]]
    np.testing.assert_allclose(rows["volume_mm3"], positions @ slope.numpy() + offset, atol=0.01)
    assert not rows.duplicated(["chain", "draw"]).any()
    # The chains are independent, so their averages give the standard errors. Four figures at 5 of them (Student, 31
    # degrees of freedom): a false alarm once in 1e4 seeds.
    centred = rows["volume_mm3"] - expected
    errors = [moments.groupby(rows["chain"]).mean().std() / math.sqrt(chains) for moments in (centred, centred**2)]
    assert abs(found["mean"] - expected) < 5 * errors[0]
    assert abs(found["sd"] ** 2 - deviation**2) < 5 * errors[1]
    # The standard error of a quantile is 2.67 of that of the mean: sqrt(0.025 * 0.975) over the density there, 0.058.
    for name, side in (("low_2.5%", -1.96), ("high_97.5%", 1.96)):
        assert abs(found[name] - expected - side * deviation) < 5 * 2.67 * errors[0]
    assert 5 * max(errors[0] / deviation, errors[1] / deviation**2) < 0.5
    # HMC takes three gradients a step and chain; the figure counts those of all chains, as the effective draws do.
    diagnostics = result["diagnostics"]
    spent = diagnostics["gradients_per_effective_sample"] * diagnostics["ess_bulk_min"]
    assert spent == pytest.approx(3 * chains * draws)
    effective = (deviation / errors[0]) ** 2
    assert 0.3 < diagnostics["ess_bulk_min"] / effective < 3


@pytest.mark.slow(seconds=4)
@pytest.mark.claim("posterior-converges")
def test_chains_converge_and_stop_there():
    """N(0, I) in 32 dimensions after Laplace's map: with other seeds 20 of 20 converge, in 500 draws at most."""
    decoder = torch.nn.Linear(32, 40, dtype=torch.float64)
    model = VAE(encoder=PriorEncoder(32), decoder=decoder, likelihood=Gaussian(SCALE).double(), latent_dim=32)
    x = torch.randn(1, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for seed in (1, 2):
        chains = sample_posterior(model, x, torch.Generator().manual_seed(seed), num_draws=1500)
        assert has_converged(chains)
        assert chains.positions.shape[1] <= 1000


def test_an_interrupted_call_goes_on_where_it_was(
    run: Path, ear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("medlangevin.inference.latent_posterior.ROUND", 10)
    options: dict[str, Any] = {"chains": 2, "draws": 35, "warmup": 5, "measured": 3}
    whole = posterior(run, ear, tmp_path / "whole", **options)
    assert whole["draws"] == 35

    def interrupt(chains: object) -> bool:
        raise KeyboardInterrupt

    for kernel in ("hmc", "qsl"):
        whole = posterior(run, ear, tmp_path / f"{kernel}-whole", kernel=kernel, **options)
        with monkeypatch.context() as patch:
            patch.setattr("medlangevin.inference.latent_posterior.has_converged", interrupt)
            with pytest.raises(KeyboardInterrupt):
                posterior(run, ear, tmp_path / kernel, kernel=kernel, **options)
        partial = tmp_path / kernel / "chains.partial.safetensors"
        assert partial.is_file()
        kept = partial.read_bytes()
        assert posterior(run, ear, tmp_path / kernel, kernel=kernel, **options) == whole
        assert not partial.exists()
        first, second = (load_positions(tmp_path / name / "chains.nc") for name in (kernel, f"{kernel}-whole"))
        np.testing.assert_array_equal(first, second)
        # Those of another seed, or damaged ones, are not gone on with.
        for content in (kept, kept[:100], b""):
            partial.write_bytes(content)
            seed = 1 if content == kept else 0
            again = posterior(run, ear, tmp_path / kernel, kernel=kernel, seed=seed, **options)
            assert (again == whole) == (seed == 0)
        # Nor are those of another --draws: fewer would not be, and rounds would end elsewhere.
        partial.write_bytes(kept)
        fewer = posterior(run, ear, tmp_path / kernel, kernel=kernel, **options | {"draws": 5})
        assert fewer["draws"] == 5


def test_a_full_disk_is_said_in_one_line(run: Path, ear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("medlangevin.inference.kept_chains.save_file", full)
    with pytest.raises(MedlangevinError, match=r"cannot write .*chains.partial.*No space left.*make room"):
        posterior(run, ear, tmp_path / "out", chains=2, draws=4, warmup=1, measured=1)


def test_an_ear_that_the_model_does_not_reproduce_is_said_first(run: Path, ear: Path, tmp_path: Path):
    result = posterior(run, ear, tmp_path, chains=2, draws=8, warmup=5, measured=2)
    assert 0.5 < result["unexplained"] < 1.5
    assert "does not reproduce" not in format_posterior(result)
    loaded = load_run(run)
    other = loaded.decode(loaded.encode(ear)[None])[0] + np.where(np.indices((8, 6, 5)).sum(0) % 2, 3000, -3000)
    loaded.save(other, tmp_path / "other_ct.nii.gz")
    far = posterior(run, tmp_path / "other_ct.nii.gz", tmp_path / "far", chains=2, draws=8, warmup=5, measured=2)
    first, *_ = format_posterior(far).splitlines()
    assert re.match(r"the model does not reproduce this ear: [\d.]+ times its noise is left unexplained", first)


@pytest.mark.slow
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
    places = [line.split("\t")[:2] for line in lines[1:]]
    assert places == [["0", "0"], ["0", "5"], ["0", "11"], ["0", "17"], ["1", "2"], ["1", "8"], ["1", "14"]]
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
