"""Diagnostics on chains whose effective sample size, R-hat and standard errors are known."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from medlangevin.samplers import mala
from medlangevin.samplers.chain import sample
from medlangevin.samplers.diagnostics import from_chains, save_inference_data, summary, to_inference_data
from medlangevin.system.errors import MedlangevinError

CHAINS, DRAWS, DIM = 4, 20_000, 2


def autoregressive(rho: float, seed: int, *, chains=CHAINS, draws=DRAWS) -> np.ndarray:
    """Stationary AR(1), coefficient rho, variance 1: its ESS is N (1 - rho) / (1 + rho). (chains, draws, DIM)."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((chains, draws, DIM))
    out = np.empty_like(noise)
    out[:, 0] = noise[:, 0]
    for t in range(1, draws):
        out[:, t] = rho * out[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return out


# Six standard deviations of the relative error of ArviZ's estimate, which over 200 other seeds were 0.010, 0.021, 0.049
# and 0.018: false alarms below 1e-7 if normal; its lower tail is longer, the worst of 400 values lay 4.4 sd away.
@pytest.mark.claim("diagnostics")
@pytest.mark.parametrize(("rho", "tolerance"), [(0.0, 0.06), (0.5, 0.12), (0.9, 0.29), (-0.3, 0.11)])
def test_effective_sample_size_of_a_known_autocorrelation(rho, tolerance):
    table = summary(to_inference_data(autoregressive(rho, seed=1)))
    expected = CHAINS * DRAWS * (1 - rho) / (1 + rho)
    np.testing.assert_allclose(table["ess_bulk"], expected, rtol=tolerance)


@pytest.mark.claim("diagnostics")
def test_independent_draws_have_r_hat_one_and_the_textbook_standard_error():
    draws = autoregressive(0.0, seed=2)
    table = summary(to_inference_data(draws))
    assert (abs(table["r_hat"] - 1) < 0.001).all()  # largest of 400 values over 200 other seeds: 0.00016
    np.testing.assert_allclose(table["mcse_mean"], 1 / np.sqrt(CHAINS * DRAWS), rtol=0.05)  # 200 seeds: 0.023
    np.testing.assert_allclose(table["mean"], draws.mean((0, 1)))


@pytest.mark.claim("diagnostics")
def test_chains_in_different_places_have_a_large_r_hat():
    draws = autoregressive(0.0, seed=3, draws=500) + 2 * np.arange(CHAINS)[:, None, None]
    table = summary(to_inference_data(draws))
    assert (table["r_hat"] > 1.5).all()
    assert (table["ess_bulk"] < 10).all()


def test_chains_that_drift_alike_have_a_large_r_hat():
    draws = autoregressive(0.0, seed=4, draws=500) + np.linspace(0, 5, 500)[None, :, None]
    assert (summary(to_inference_data(draws))["r_hat"] > 1.3).all()


def test_a_single_chain_has_no_r_hat(capfd):
    table = summary(to_inference_data(autoregressive(0.0, seed=4, chains=1, draws=500)))
    assert table["r_hat"].isna().all()
    assert table["ess_bulk"].notna().all()
    assert capfd.readouterr() == ("", "")


def test_chains_that_never_moved_give_nan_and_no_warning(recwarn):
    table = summary(to_inference_data(np.zeros((2, 100, 1))), num_gradients=200)
    assert table[["ess_bulk", "r_hat", "gradients_per_effective_sample"]].isna().all(axis=None)
    assert len(recwarn) == 0


def test_acceptance_divergences_and_gradients_come_from_the_run():
    draws = autoregressive(0.0, seed=5, draws=1000)
    diverging = np.zeros(draws.shape[:2], dtype=bool)
    diverging[1, :3] = True
    table = summary(
        to_inference_data(draws, acceptance_rate=np.full(draws.shape[:2], 0.75), diverging=diverging),
        num_gradients=8000,
    )
    assert (table["acceptance_rate"] == 0.75).all()
    assert (table["divergences"] == 3).all()
    np.testing.assert_allclose(table["gradients_per_effective_sample"], 8000 / table["ess_bulk"].min())


def test_a_run_of_the_sampler_core_is_taken_as_it_is():
    def potential(z):
        return 0.5 * z.square().sum(-1)

    start = mala.init(torch.zeros(3, 2, dtype=torch.float64), potential)
    chains = sample(
        partial(mala.step, step_size=0.5), start, potential, torch.Generator().manual_seed(0), num_samples=40
    )
    data = from_chains(chains, attrs={"step_size": 0.5})
    assert chains.acceptance is not None
    np.testing.assert_array_equal(data["posterior"]["z"].values, chains.positions.numpy())
    np.testing.assert_allclose(data["sample_stats"]["lp"].values, -0.5 * chains.positions.square().sum(-1).numpy())
    np.testing.assert_array_equal(data["sample_stats"]["acceptance_rate"].values, chains.acceptance.numpy())
    assert data["sample_stats"]["diverging"].dtype == bool


def test_what_was_not_recorded_is_nan():
    table = summary(to_inference_data(autoregressive(0.0, seed=6, draws=50)))
    assert table[["acceptance_rate", "divergences", "gradients_per_effective_sample"]].isna().all(axis=None)


def test_the_file_holds_what_was_given(tmp_path: Path):
    import arviz

    draws = autoregressive(0.0, seed=7, draws=20)
    lp = draws.sum(-1)
    path = tmp_path / "chains.nc"
    save_inference_data(to_inference_data(draws, lp=lp, attrs={"step_size": 0.1}), path)
    back = arviz.from_netcdf(path)
    np.testing.assert_array_equal(back.posterior["z"].values, draws)
    np.testing.assert_array_equal(back.sample_stats["lp"].values, lp)
    assert back.posterior["z"].dims == ("chain", "draw", "latent_dim")
    assert back.posterior.attrs["step_size"] == 0.1
    assert [entry.name for entry in tmp_path.iterdir()] == ["chains.nc"]


@pytest.mark.parametrize(
    ("draws", "stats", "message"),
    [
        (np.zeros((2, 3, 1)), {}, "at least 4 draws"),
        (np.zeros((2, 10)), {}, "shape"),
        (np.full((1, 10, 1), np.nan), {}, "smaller step size"),
        (np.zeros((2, 10, 1)), {"lp": np.zeros(10)}, "lp has shape"),
    ],
)
def test_bad_chains_are_named(draws, stats, message):
    with pytest.raises(MedlangevinError, match=message):
        to_inference_data(draws, **stats)


@pytest.mark.slow
def test_importing_is_quick_and_says_nothing(tmp_path: Path):
    code = (
        "import sys, medlangevin.samplers.diagnostics as d; assert 'arviz' not in sys.modules;"
        "import numpy; d.summary(d.to_inference_data(numpy.random.default_rng(0).standard_normal((2, 10, 1))))"
    )
    # An empty cache folder makes ArviZ give its notice, which it otherwise gives once a day.
    environment = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("", "")
