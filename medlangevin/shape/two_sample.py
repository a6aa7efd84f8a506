"""Are two sets of ears samples of one population? Three answers from all measures at once, each ear a point.

A distance between the distributions: maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012, JMLR
13:723). How much of each set lies among the other: precision, recall, density and coverage (Kynkäänniemi et al. 2019;
Naeem et al. 2020). How well a classifier tells them apart: the classifier two-sample test with nearest neighbours
(Lopez-Paz and Oquab 2017). Distances between points are Euclidean, so the measures have to be scaled before.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist, pdist

from medlangevin.shape.resampling import Array, Indices, permutation_test, rows_of_subjects


class Discrepancy(NamedTuple):
    """Maximum mean discrepancy of two sets.

    Attributes:
        squared: Unbiased estimate of MMD^2 (below 0 by chance where the sets are alike).
        p: p value, by permutation of subjects.
    """

    squared: float
    p: float


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
    """Unbiased MMD^2 between two sets, with the kernel exp(-|x - y|^2 / (2 bandwidth^2)).

    Args:
        first: The first set (n, d), n at least 2.
        second: The second set (m, d), m at least 2.
        first_subjects: The subject of each row of the first set.
        second_subjects: The subject of each row of the second set.
        bandwidth: Of the kernel; by the median heuristic on both sets when None.
        permutations: Number of permutations of subjects.
        seed: Of the permutations.

    Returns:
        The estimate (Gretton et al. 2012, eq. 3) and its p value.
    """
    points = np.concatenate([first, second])
    width = median_distance(points) if bandwidth is None else bandwidth
    kernel = np.exp(-cdist(points, points, "sqeuclidean") / (2 * width**2))
    np.fill_diagonal(kernel, 0.0)
    test = partial(permutation_test, permutations=permutations, seed=seed)
    return Discrepancy(*test(partial(_unbiased, kernel), first_subjects, second_subjects))


def median_distance(points: Array) -> float:
    """The median heuristic for a kernel's bandwidth.

    Args:
        points: Rows (n, d).

    Returns:
        Median distance between different rows; 1 where all are one point.
    """
    return float(np.median(pdist(points))) or 1.0


def _unbiased(kernel: Array, in_first: Array) -> Array:
    """MMD^2 (c,) for each column of labels ``in_first`` (n, c), from a kernel matrix with an empty diagonal."""
    in_second = 1.0 - in_first
    n, m = in_first.sum(axis=0), in_second.sum(axis=0)
    towards_first, towards_second = kernel @ in_first, kernel @ in_second
    within_first = (in_first * towards_first).sum(axis=0) / (n * (n - 1))
    within_second = (in_second * towards_second).sum(axis=0) / (m * (m - 1))
    return np.asarray(within_first + within_second - 2 * (in_first * towards_second).sum(axis=0) / (n * m))


class ManifoldScores(NamedTuple):
    """How much of two sets lies in each other's balls.

    Attributes:
        precision: Share of synthetic ears inside a real ear's ball.
        recall: Share of real ears inside a synthetic ear's ball.
        density: Mean number of real balls that hold a synthetic ear, divided by the number of neighbours.
        coverage: Share of real balls that hold a synthetic ear.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(synthetic: Array, real: Array, *, neighbours: int = 5) -> ManifoldScores:
    """Scores of one set against another, with a ball about each ear out to one of its neighbours.

    Args:
        synthetic: The set that is judged (n, d), n more than ``neighbours``.
        real: The set that it is judged by (m, d), m more than ``neighbours``.
        neighbours: Balls reach to the neighbour of this number in the ear's own set.

    Returns:
        Precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2), density and coverage (Naeem et al. 2020, eq. 3
        and 4).
    """
    apart = cdist(real, synthetic)
    in_real_ball = apart <= _radii(real, neighbours)[:, None]
    in_synthetic_ball = apart <= _radii(synthetic, neighbours)[None, :]
    return ManifoldScores(
        precision=float(in_real_ball.any(axis=0).mean()),
        recall=float(in_synthetic_ball.any(axis=1).mean()),
        density=float(in_real_ball.sum(axis=0).mean() / neighbours),
        coverage=float(in_real_ball.any(axis=1).mean()),
    )


def _radii(points: Array, neighbours: int) -> Array:
    # The nearest of all is the point itself.
    return np.asarray(np.sort(cdist(points, points), axis=1)[:, neighbours])


class ClassifierTest(NamedTuple):
    """How well nearest neighbours tell two sets apart.

    Attributes:
        accuracy: Share of ears told right; 0.5 where the sets cannot be told apart.
        p: p value, by permutation of subjects.
        ears: Number of ears in each set, the larger one cut down to the smaller one's.
    """

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

    Subjects are whole in a fold, and whole in the permutations that give p. With few ears, accuracy in cross-validation
    lies a little below a half by itself; the permutations share this.

    Args:
        first: The first set (n, d).
        second: The second set (m, d).
        first_subjects: The subject of each row of the first set.
        second_subjects: The subject of each row of the second set.
        folds: Number of folds of subjects.
        permutations: Number of permutations of subjects.
        seed: Of the choice of ears, of the folds and of the permutations.

    Returns:
        Accuracy, its p value and the number of ears (Lopez-Paz and Oquab 2017).
    """
    rng = np.random.default_rng(seed)
    count = min(len(first), len(second))
    rows = [np.sort(rng.permutation(len(item))[:count]) for item in (first, second)]
    points = np.concatenate([first[rows[0]], second[rows[1]]])
    subjects = [f"1 {first_subjects[row]}" for row in rows[0]], [f"2 {second_subjects[row]}" for row in rows[1]]
    near = _training_neighbours(points, [*subjects[0], *subjects[1]], folds, rng)
    accuracy, p = permutation_test(partial(_accuracy, near), *subjects, permutations=permutations, seed=seed)
    return ClassifierTest(accuracy, p, count)


def _training_neighbours(points: Array, subjects: Sequence[str], folds: int, rng: np.random.Generator) -> Indices:
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


def _accuracy(near: Indices, labels: Array) -> Array:
    """Share of rows told right, for each column of ``labels`` (n, c)."""
    told = labels[near].mean(axis=1) > 0.5
    return np.asarray((told == (labels > 0.5)).mean(axis=0))
