"""Diagnostics of Markov chains by ArviZ: effective sample size, R-hat, Monte-Carlo standard errors, gradients spent."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path

if TYPE_CHECKING:
    from arviz import InferenceData

    from medlangevin.samplers.chain import Chains
    from medlangevin.samplers.kernel import State

# R-hat and ESS split every chain in two and need variances of the halves.
MIN_DRAWS = 4


def to_inference_data(
    draws: ArrayLike,
    *,
    acceptance_rate: ArrayLike | None = None,
    diverging: ArrayLike | None = None,
    lp: ArrayLike | None = None,
    attrs: dict[str, Any] | None = None,
) -> "InferenceData":
    """ArviZ InferenceData of chains.

    Args:
        draws: (chains, draws, d), burn-in removed.
        acceptance_rate: The acceptance probability of every proposal, (chains, draws).
        diverging: Which steps were divergent, bool (chains, draws).
        lp: The log density in nats, (chains, draws).
        attrs: Numbers and strings to keep with the posterior.

    Returns:
        Group ``posterior`` with the variable ``z`` (chain, draw, latent_dim), and group ``sample_stats`` with what was
        given.

    Raises:
        MedlangevinError: For wrong shapes, fewer than 4 draws, or draws that are NaN or infinity.
    """
    posterior = np.asarray(draws, dtype=np.float64)
    if posterior.ndim != 3 or posterior.shape[0] < 1 or posterior.shape[1] < MIN_DRAWS or posterior.shape[2] < 1:
        raise MedlangevinError(
            f"diagnostics need draws of shape (chains, at least {MIN_DRAWS} draws, dimensions), not {posterior.shape}"
        )
    if not np.isfinite(posterior).all():
        raise MedlangevinError("the chains hold NaN or infinite draws; take a smaller step size")
    given = {"acceptance_rate": acceptance_rate, "diverging": diverging, "lp": lp}
    stats = {name: np.asarray(value) for name, value in given.items() if value is not None}
    for name, value in stats.items():
        if value.shape != posterior.shape[:2]:
            raise MedlangevinError(f"{name} has shape {value.shape}; the chains have {posterior.shape[:2]} draws")
    arviz = _arviz()
    return arviz.from_dict(
        posterior={"z": posterior},
        sample_stats=stats or None,
        coords={"latent_dim": np.arange(posterior.shape[2])},
        dims={"z": ["latent_dim"]},
        posterior_attrs=attrs or {},
    )


def from_chains(chains: "Chains[State]", *, attrs: dict[str, Any] | None = None) -> "InferenceData":
    """ArviZ InferenceData of what ``sample`` returned: its draws, acceptance, divergences and potential.

    Args:
        chains: Chains of any kernel, with positions (chains, draws, d).
        attrs: Numbers and strings to keep with the posterior.

    Returns:
        As ``to_inference_data``; ``lp`` is minus the potential.

    Raises:
        MedlangevinError: As ``to_inference_data``.
    """
    acceptance = None if chains.acceptance is None else chains.acceptance.cpu()
    lp = None if chains.potential is None else -chains.potential.cpu()
    return to_inference_data(
        chains.positions.cpu(), acceptance_rate=acceptance, diverging=chains.divergences.cpu(), lp=lp, attrs=attrs
    )


def save_inference_data(data: "InferenceData", path: Path | str) -> None:
    """Write netCDF, which ``arviz.from_netcdf`` reads; the file appears whole or not at all.

    Args:
        data: What ``to_inference_data`` or ``from_chains`` returned.
        path: The file to write.
    """
    with atomic_path(path) as temporary:
        data.to_netcdf(str(temporary))


def load_positions(path: Path | str) -> np.ndarray:
    """Read the draws of a file that ``save_inference_data`` wrote.

    Args:
        path: The file.

    Returns:
        The draws, (chains, draws, d).
    """
    data = _arviz().from_netcdf(str(path))
    return np.asarray(data["posterior"]["z"].values)


def summary(data: "InferenceData", *, num_gradients: int | None = None) -> pd.DataFrame:
    """Tabulate the diagnostics: one row for each latent dimension.

    ESS counts all chains together; R-hat is rank-normalised and split (Vehtari et al. 2021, Rank-normalization,
    folding, and localization: an improved R-hat).

    Args:
        data: What ``to_inference_data`` or ``from_chains`` returned.
        num_gradients: Gradients that all chains together took for the retained draws.

    Returns:
        Columns mean, sd, mcse_mean, mcse_sd, ess_bulk, ess_tail and r_hat of each dimension. The same in every row, as
        they belong to the whole run: acceptance_rate, divergences, and gradients_per_effective_sample,
        ``num_gradients`` over the smallest bulk ESS. NaN stands for what was not recorded, for the R-hat of a single
        chain, and for the ESS of chains that never moved.
    """
    arviz = _arviz()
    z = data["posterior"]["z"]
    moved = (z.std(("chain", "draw")) > 0).values
    table = pd.DataFrame({"latent_dim": z["latent_dim"].values})
    table["mean"] = z.mean(("chain", "draw")).values
    table["sd"] = z.std(("chain", "draw"), ddof=1).values
    measures: dict[str, Callable[[], Any]] = {
        "mcse_mean": lambda: arviz.mcse(z, method="mean"),
        "mcse_sd": lambda: arviz.mcse(z, method="sd"),
        "ess_bulk": lambda: arviz.ess(z, method="bulk"),
        "ess_tail": lambda: arviz.ess(z, method="tail"),
    }
    if z.sizes["chain"] > 1:
        measures["r_hat"] = lambda: arviz.rhat(z)
    # ArviZ gives a chain that never moved as many effective samples as draws, and divides by its variance, 0.
    with np.errstate(invalid="ignore", divide="ignore"):
        for column, measure in measures.items():
            table[column] = np.where(moved, measure()["z"].values, np.nan)
    table["r_hat"] = table.get("r_hat", np.nan)
    stats = data["sample_stats"] if "sample_stats" in data.groups() else {}
    table["acceptance_rate"] = float(stats["acceptance_rate"].mean()) if "acceptance_rate" in stats else np.nan
    table["divergences"] = int(stats["diverging"].sum()) if "diverging" in stats else np.nan
    effective = float(table["ess_bulk"].min(skipna=False))
    table["gradients_per_effective_sample"] = np.nan if num_gradients is None else num_gradients / effective
    return table


def _arviz() -> ModuleType:
    """ArviZ, imported on first use (2 s), without its once-a-day notice about the next major version."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing a major refactor", category=FutureWarning)
        import arviz

    return arviz
