"""Are two sets of ears samples of one population? Distances, manifolds and a classifier over all measures at once.

Maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012, JMLR 13:723); precision, recall, density and
coverage (Kynkäänniemi et al. 2019; Naeem et al. 2020); the classifier two-sample test with nearest neighbours
(Lopez-Paz and Oquab 2017).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from medlangevin.shape.resampling import permutation_p, permuted_labels, rows_of_subjects

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


class ClassifierTest(NamedTuple):
    """``accuracy``: share told right (0.5: not to be told apart); ``p``: permutation p value; ``ears``: how many in
    each set, the larger cut down to the smaller."""

    accuracy: float
    p: float
    ears: int


def classifier_test(
    first: Array,
    second: Array,
    first_subjects: Sequence[str],
    second_subjects: Sequence[str],
    *,
    folds: int = 5,
    permutations: int = 499,
    seed: int = 0,
) -> ClassifierTest:
    """Cross-validated accuracy of k nearest neighbours, k the root of the number of training ears, made odd.

    Rows of ``first`` (n, d) and ``second`` (m, d). Subjects are whole in a fold, and whole in the permutations that
    give p: with few ears, accuracy in cross-validation lies a little below a half by itself, which these share.
    """
    rng = np.random.default_rng(seed)
    count = min(len(first), len(second))
    rows = [np.sort(rng.permutation(len(item))[:count]) for item in (first, second)]
    points = np.concatenate([first[rows[0]], second[rows[1]]])
    subjects = [*(f"1 {first_subjects[row]}" for row in rows[0]), *(f"2 {second_subjects[row]}" for row in rows[1])]
    near = _training_neighbours(points, subjects, folds, rng)
    labels = np.arange(2 * count) < count
    observed = float(_accuracy(near, labels[:, None].astype(np.float64))[0])
    permuted = _accuracy(near, permuted_labels(labels, subjects, permutations, seed=seed))
    return ClassifierTest(observed, permutation_p(observed, permuted), count)


def _training_neighbours(
    points: Array, subjects: Sequence[str], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The neighbours (n, k) of each row that are outside its fold."""
    groups = rows_of_subjects(subjects)
    fold = np.empty(len(points), dtype=np.int64)
    for number, group in enumerate(rng.permutation(len(groups))):
        fold[groups[group]] = number % folds
    distance = cdist(points, points)
    distance[fold[:, None] == fold[None, :]] = np.inf
    smallest = min(int((fold != number).sum()) for number in range(folds))
    neighbours = math.isqrt(smallest) | 1  # odd: no ties
    return np.argsort(distance, axis=1, kind="stable")[:, : min(neighbours, smallest)]


def _accuracy(near: NDArray[np.int64], labels: Array) -> Array:
    """Share of rows told right, for each column of ``labels`` (n, c)."""
    told = labels[near].mean(axis=1) > 0.5
    return np.asarray((told == (labels > 0.5)).mean(axis=0))
