"""Precision, recall, density and coverage: are made ears among real ones, and are all kinds of real ears made?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]


class ManifoldScores(NamedTuple):
    """``precision``: share of made ears inside a real ear's ball; ``recall``: share of real ears inside a made one's;
    ``density``: how many real balls hold a made ear, over k; ``coverage``: share of real balls that hold a made ear."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(made: Array, real: Array, *, neighbours: int = 5) -> ManifoldScores:
    """Scores of ``made`` (n, d) against ``real`` (m, d), with balls out to each ear's ``neighbours``-th neighbour.

    Precision and recall: Kynkäänniemi et al. 2019, eq. 1 and 2; density and coverage: Naeem et al. 2020, eq. 3 and 4.
    Needs more than ``neighbours`` rows in each set.
    """
    made_radius, real_radius = _radii(made, neighbours), _radii(real, neighbours)
    apart = cdist(real, made)
    in_real_ball = apart <= real_radius[:, None]
    in_made_ball = apart <= made_radius[None, :]
    return ManifoldScores(
        precision=float(in_real_ball.any(axis=0).mean()),
        recall=float(in_made_ball.any(axis=1).mean()),
        density=float(in_real_ball.sum(axis=0).mean() / neighbours),
        coverage=float(in_real_ball.any(axis=1).mean()),
    )


def _radii(points: Array, neighbours: int) -> Array:
    # The nearest of all is the point itself.
    return np.asarray(np.sort(cdist(points, points), axis=1)[:, neighbours])
