"""Classifier two-sample test: can a classifier that has seen other ears tell from which set an ear is?

Lopez-Paz and Oquab 2017 (ICLR), with their nearest-neighbour classifier.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from medlangevin.shape.resampling import permutation_p, permuted_labels, rows_of_subjects

Array = NDArray[np.float64]


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
