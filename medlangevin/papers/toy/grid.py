"""Densities in the plane on a fine grid: the truth of the neural toy."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

HALF_WIDTH = 6.0
CELLS = 600
# Along either axis: the borders of the cells (cells + 1,), and their midpoints (cells,).
EDGES = np.linspace(-HALF_WIDTH, HALF_WIDTH, CELLS + 1)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2


class GridDensity(NamedTuple):
    """Posteriors of n data points on ``CELLS`` x ``CELLS`` square cells that cover [-6, 6]^2.

    Attributes:
        log_mass: Log of each cell's share, (n, cells, cells), first axis z1, second z2. The shares of a data point sum
            to one.
        log_evidence: log p(x) by the midpoint rule (n,).
        outside: An upper bound of the mass outside (n,).
    """

    log_mass: np.ndarray
    log_evidence: np.ndarray
    outside: np.ndarray


def grid_density(log_joint: Callable[[Tensor], Tensor], log_likelihood_bound: float) -> GridDensity:
    """Normalise a density on the grid.

    The prior is N(0, I). So the mass outside the grid is at most the prior's mass there times the likelihood's bound
    over p(x), whatever the network does out there.

    Args:
        log_joint: log p(x, z), (cells, 1, 2) -> (cells, n).
        log_likelihood_bound: An upper bound of log p(x | z).

    Returns:
        The posteriors.
    """
    axis = torch.from_numpy(CENTRES)
    rows = []
    with torch.no_grad():
        for first in axis:
            z = torch.stack([first.expand(CELLS), axis], dim=-1).unsqueeze(1)
            rows.append(log_joint(z))
    log_density = torch.stack(rows).permute(2, 0, 1).numpy()
    area = (2 * HALF_WIDTH / CELLS) ** 2
    log_evidence = np.logaddexp.reduce(log_density, axis=(1, 2)) + math.log(area)
    prior_outside = 1 - math.erf(HALF_WIDTH / math.sqrt(2)) ** 2
    outside = prior_outside * np.exp(log_likelihood_bound - log_evidence)
    return GridDensity(log_density + math.log(area) - log_evidence[:, None, None], log_evidence, outside)


def draw(density: GridDensity, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw from each posterior: a cell by its mass, a place in it uniformly.

    Args:
        density: The posteriors.
        count: Draws for each data point.
        random: The noise.

    Returns:
        Independent draws (count, n, 2).
    """
    spacing = 2 * HALF_WIDTH / CELLS
    draws = []
    for log_mass in density.log_mass:
        mass = np.exp(log_mass).ravel()
        cell = np.unravel_index(random.choice(mass.size, size=count, p=mass / mass.sum()), log_mass.shape)
        draws.append(np.stack([CENTRES[index] for index in cell], axis=-1))
    return np.stack(draws, axis=1) + spacing * (random.random((count, len(draws), 2)) - 0.5)


def moments(density: GridDensity) -> tuple[np.ndarray, np.ndarray]:
    """Moments of the posteriors.

    Args:
        density: The posteriors.

    Returns:
        Means (n, 2) and covariances (n, 2, 2).
    """
    mass = np.exp(density.log_mass)
    z = np.stack(np.meshgrid(CENTRES, CENTRES, indexing="ij"), axis=-1)
    means = np.einsum("nij,ijd->nd", mass, z)
    second = np.einsum("nij,ijd,ije->nde", mass, z, z)
    return means, second - means[:, :, None] * means[:, None, :]
