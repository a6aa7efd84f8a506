"""The example of a kernel of one's own: it leaves densities invariant, adapts, and is diagnosed like the others."""

import runpy
from functools import partial
from pathlib import Path

import pytest
import torch

from medlangevin.samplers import sample

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "own_kernel.py"))
CHAINS = 1000


@pytest.mark.parametrize(("target_name", "step_size"), [("correlated", 0.5), ("two_modes", 0.6)])
def test_chains_that_start_in_the_target_stay_there(
    target_name: str, step_size: float, request: pytest.FixtureRequest
) -> None:
    """Six correlated statistics at 3 standard errors: over 100 other seeds a case, no false alarm."""
    target, generator = request.getfixturevalue(target_name), torch.Generator().manual_seed(1)
    state = EXAMPLE["barker"].init(target.draw(CHAINS, generator), target.potential)
    step = partial(EXAMPLE["barker"].step, step_size=step_size)
    chains = sample(step, state, target.potential, generator, num_samples=100, thinning=2)
    assert target.errors(chains.positions).abs().max() < 3
    assert chains.acceptance is not None
    assert 0.3 < chains.acceptance.mean() < 0.9


@pytest.mark.slow
def test_the_example_finds_the_moments_and_the_acceptance() -> None:
    """Four chains; means and deviations at 5 standard errors: a false alarm in 4e5 seeds. The rest: 30 other seeds."""
    table = EXAMPLE["diagnose"]()
    for row, mean, deviation in zip(table.itertuples(), (1, -2), (1, 10), strict=True):
        assert row.ess_bulk > 3000  # 5,000 at least
        assert abs(row.mean - mean) < 5 * row.mcse_mean
        assert abs(row.sd - deviation) < 5 * row.mcse_sd
        assert row.r_hat < 1.01  # 1.0016 at most
    # Where it was adapted to: 0.574 +- 0.016, five deviations.
    assert table["acceptance_rate"][0] == pytest.approx(0.574, abs=0.08)
    assert table["divergences"][0] == 0
