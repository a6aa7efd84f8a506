"""What a toy experiment yields: samples of each method, and a row of numbers for each method and data point."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.linalg import norm
from torch import Tensor

from medlangevin.papers.toy.chains import kernel_condition, run_ald
from medlangevin.samplers.diagnostics import summary, to_inference_data
from medlangevin.samplers.potential import Potential

# What the common columns of the metrics mean; each experiment adds its own distances.
COLUMNS = {
    "method": "how the samples were made; 'truth' stands for independent draws from it, the floor of every distance",
    "num_features": "features of the encoder's last layer; empty for methods without an encoder",
    "data_point": "1, 2 or 3: the observation whose posterior was sampled",
    "step_size": "eta of the kept steps",
    "acceptance_rate": "mean acceptance probability of the kept steps; ALD decides for all data points at once",
    "condition_number": "of the kernel K = G G^T of the data points' features; inf with fewer features than points",
    "mean_error": "distance of the sample mean from the true mean; each chain alone, then averaged over the chains",
    "covariance_error": "Frobenius norm of the sample covariance minus the true one, relative to the norm of the true "
    "one; each chain alone, then averaged over the chains",
    "ess_bulk": "bulk effective sample size of all chains together, the worse of the two dimensions",
    "r_hat": "rank-normalised split R-hat of all chains, the worse of the two dimensions",
    "gradients_per_effective_sample": "gradients of this data point's potential in the kept steps of all chains, "
    "divided by ess_bulk",
}


class Panel(NamedTuple):
    """Samples of one method. What a method does not have is None.

    Attributes:
        method: The method, as in COLUMNS.
        label: The method's name for people.
        positions: The samples (chains, draws, n, 2), float64.
        num_features: As in COLUMNS.
        condition_number: As in COLUMNS.
        step_size: As in COLUMNS.
        acceptance: The acceptance of each data point (n,).
    """

    method: str
    label: str
    positions: np.ndarray
    num_features: int | None = None
    condition_number: float | None = None
    step_size: float | None = None
    acceptance: np.ndarray | None = None


class ToyResult(NamedTuple):
    """All that a toy experiment yields.

    Attributes:
        name: gaussian or neural.
        panels: The samples of each method.
        truth: Log of the true posteriors' shares on the cells of ``grid``, (n, cells, cells).
        metrics: One row for each panel and data point, in their order.
        columns: What each column of the metrics means.
        settings: What the numbers were made with.
    """

    name: str
    panels: tuple[Panel, ...]
    truth: np.ndarray
    metrics: pd.DataFrame
    columns: dict[str, str]
    settings: dict[str, Any]


def sample_ald(method: str, label: str, potential: Potential, features: Tensor, **named: Any) -> Panel:
    """Run amortized Langevin dynamics for one panel.

    Args:
        method: The method's name; ``kernel_ald`` is preconditioned.
        label: Its name for people.
        potential: The potential of the latents, (..., n, 2) -> (..., n).
        features: Features (n, d_features) of the encoder's layers below the last.
        named: The other arguments of ``run_ald``.

    Returns:
        The panel.
    """
    draws = run_ald(potential, features, preconditioned=method == "kernel_ald", **named)._asdict()
    return Panel(method, label, num_features=features.shape[-1], condition_number=kernel_condition(features), **draws)


def measure(
    panels: tuple[Panel, ...],
    means: np.ndarray,
    covariances: np.ndarray,
    columns: dict[str, str],
    distances: Callable[[Panel, int], dict[str, float]],
) -> pd.DataFrame:
    """Compare all samples with the truth.

    Args:
        panels: The samples.
        means: The true means (n, 2).
        covariances: The true covariances (n, 2, 2).
        columns: The columns of the result, COLUMNS and those of ``distances``.
        distances: The further columns of a panel and a data point (from 0).

    Returns:
        A row for each panel and data point; what a row lacks is empty.
    """
    rows = [
        _common_row(panel, point, means[point], covariances[point]) | distances(panel, point)
        for panel in panels
        for point in range(len(means))
    ]
    return pd.DataFrame(rows, columns=list(columns)).astype({"num_features": "Int64"})


def _common_row(panel: Panel, point: int, mean: np.ndarray, covariance: np.ndarray) -> dict[str, Any]:
    """The COLUMNS of one panel and data ``point`` (from 0), whose true ``mean`` (2,) and ``covariance`` are given."""
    positions = panel.positions[:, :, point]
    is_chain = panel.step_size is not None
    table = summary(to_inference_data(positions), num_gradients=positions.shape[0] * positions.shape[1])
    return {
        "method": panel.method,
        "num_features": panel.num_features,
        "data_point": point + 1,
        "step_size": panel.step_size,
        "acceptance_rate": None if panel.acceptance is None else float(panel.acceptance[point]),
        "condition_number": panel.condition_number,
        "mean_error": over_chains(positions, lambda draws: norm(draws.mean(0) - mean)),
        "covariance_error": over_chains(positions, lambda draws: norm(np.cov(draws.T) - covariance) / norm(covariance)),
        "ess_bulk": float(table["ess_bulk"].min(skipna=False)),
        "r_hat": float(table["r_hat"].max(skipna=False)),
        "gradients_per_effective_sample": float(table["gradients_per_effective_sample"][0]) if is_chain else None,
    }


def rows_of(result: ToyResult, number: int) -> pd.DataFrame:
    """Choose the metrics of one panel.

    Args:
        result: The result of a toy experiment.
        number: The panel, from 0.

    Returns:
        A row for each data point.
    """
    points = len(result.truth)
    return result.metrics.iloc[number * points : (number + 1) * points]


def over_chains(positions: np.ndarray, measure: Callable[[np.ndarray], Any]) -> float:
    """Measure each chain alone and average.

    Args:
        positions: The chains (chains, draws, 2).
        measure: What is measured of the draws (draws, 2) of a chain.

    Returns:
        The mean over the chains.
    """
    return float(np.mean([measure(chain) for chain in positions]))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: a toy's matrices are so small that threads only wait for each other.

    Yields:
        Nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
