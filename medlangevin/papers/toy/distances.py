"""How far samples are from a known distribution in the plane: Wasserstein-2 and Kullback-Leibler, and their meaning."""

import numpy as np
import scipy.linalg
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from medlangevin.papers.toy.grid import CENTRES, EDGES, HALF_WIDTH, GridDensity

# 10 x 10 cells of the truth's grid make a bin of 0.2 x 0.2: a posterior covers some tens of bins.
CELLS_PER_BIN = 10


def gaussian_wasserstein2(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Wasserstein-2 distance of two Gaussians.

    Args:
        mean_a: Mean (d,) of the first.
        covariance_a: Its covariance A (d, d), which may be singular.
        mean_b: Mean (d,) of the second.
        covariance_b: Its covariance B (d, d), which may be singular.

    Returns:
        The distance in units of z: W2^2 = |m_a - m_b|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)). The second part is
        Bures' distance (Dowson & Landau 1982).
    """
    root = _square_root(covariance_a)
    cross = _square_root(root @ covariance_b @ root)
    squared = np.sum((mean_a - mean_b) ** 2) + np.trace(covariance_a + covariance_b - 2 * cross)
    return float(np.sqrt(max(squared, 0.0)))


def sample_wasserstein2(first: np.ndarray, second: np.ndarray) -> float:
    """Exact Wasserstein-2 distance of two equally large samples, by optimal assignment; O(count^3).

    Args:
        first: A sample (count, d).
        second: Another one (count, d).

    Returns:
        The distance. Two samples of the same distribution are not at distance 0: compare with that floor.
    """
    cost = cdist(first, second, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def binned_kl(sample: np.ndarray, density: GridDensity, point: int) -> float:
    """KL(sample || truth) over bins of 0.2 x 0.2, the plug-in estimate.

    It compares the sample's frequencies with the truth's exact bin masses. It is finite, never negative, blind to
    differences within a bin, and too large: independent draws of the truth have, on average, at least about
    (occupied bins - 1) / (2 count), so compare with them.

    Args:
        sample: The sample (count, 2). What lies outside the grid counts for the outermost bins.
        density: The truth.
        point: The data point, from 0.

    Returns:
        The divergence in nats.
    """
    borders = EDGES[::CELLS_PER_BIN]
    bins = len(borders) - 1
    inside = np.clip(sample, -HALF_WIDTH, HALF_WIDTH)
    counts, *_ = np.histogram2d(inside[:, 0], inside[:, 1], bins=(borders, borders))
    blocks = density.log_mass[point].reshape(bins, CELLS_PER_BIN, bins, CELLS_PER_BIN)
    log_truth = np.logaddexp.reduce(blocks, axis=(1, 3))
    occupied = counts > 0
    share = counts[occupied] / counts.sum()
    return float(np.sum(share * (np.log(share) - log_truth[occupied])))


def gaussian_kl(mean: np.ndarray, covariance: np.ndarray, density: GridDensity, point: int) -> float:
    """KL(Gaussian || truth) by quadrature on the truth's cells.

    Args:
        mean: Mean (2,) of the Gaussian.
        covariance: Its covariance (2, 2).
        density: The truth.
        point: The data point, from 0.

    Returns:
        The divergence in nats, exact for practical purposes.
    """
    z = np.stack(np.meshgrid(CENTRES, CENTRES, indexing="ij"), axis=-1) - mean
    log_weight = -0.5 * np.einsum("ijd,de,ije->ij", z, np.linalg.inv(covariance), z)
    log_weight -= np.logaddexp.reduce(log_weight, axis=None)
    return float(np.sum(np.exp(log_weight) * (log_weight - density.log_mass[point])))


def _square_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = scipy.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
