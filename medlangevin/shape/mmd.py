"""Maximum mean discrepancy with a Gaussian kernel: one number for how far two sets of ears are apart in all measures.

Gretton et al. 2012, JMLR 13:723.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from medlangevin.shape.resampling import permutation_p, permuted_labels

Array = NDArray[np.float64]


class Discrepancy(NamedTuple):
    """``squared``: unbiased estimate of MMD^2 (below 0 by chance where the sets are alike); ``p``: by permutation."""

    squared: float
    p: float


def median_distance(points: Array) -> float:
    """The median heuristic: median distance between different rows of ``points`` (n, d); 1 where all are one point."""
    distance = cdist(points, points)[np.triu_indices(len(points), 1)]
    return float(np.median(distance)) or 1.0


def discrepancy(
    first: Array,
    second: Array,
    first_subjects: Sequence[str],
    second_subjects: Sequence[str],
    *,
    bandwidth: float | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Discrepancy:
    """Unbiased MMD^2 (Gretton et al. 2012, eq. 3) between rows of ``first`` (n, d) and ``second`` (m, d).

    Kernel exp(-|x - y|^2 / (2 bandwidth^2)); ``bandwidth`` by the median heuristic on both sets when None. The p value
    is by permutation of subjects. Needs at least two rows in each set.
    """
    points = np.concatenate([first, second])
    width = median_distance(points) if bandwidth is None else bandwidth
    kernel = np.exp(-cdist(points, points, "sqeuclidean") / (2 * width**2))
    np.fill_diagonal(kernel, 0.0)
    labels = np.arange(len(points)) < len(first)
    observed = float(_unbiased(kernel, labels[:, None].astype(np.float64))[0])
    subjects = [*first_subjects, *second_subjects]
    permuted = _unbiased(kernel, permuted_labels(labels, subjects, permutations, seed=seed))
    return Discrepancy(observed, permutation_p(observed, permuted))


def _unbiased(kernel: Array, in_first: Array) -> Array:
    """MMD^2 (c,) for each column of labels ``in_first`` (n, c), from a kernel matrix with an empty diagonal."""
    in_second = 1.0 - in_first
    n, m = in_first.sum(axis=0), in_second.sum(axis=0)
    towards_first, towards_second = kernel @ in_first, kernel @ in_second
    within_first = (in_first * towards_first).sum(axis=0) / (n * (n - 1))
    within_second = (in_second * towards_second).sum(axis=0) / (m * (m - 1))
    return np.asarray(within_first + within_second - 2 * (in_first * towards_second).sum(axis=0) / (n * m))
