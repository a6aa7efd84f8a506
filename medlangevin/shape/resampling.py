"""Bootstrap and permutation by subject: the two ears of one person, or two crops of one ear, count as one draw."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def rows_of_subjects(subjects: Sequence[str]) -> list[Indices]:
    """The rows of each subject, in the order in which subjects first appear."""
    rows: dict[str, list[int]] = {}
    for index, subject in enumerate(subjects):
        rows.setdefault(subject, []).append(index)
    return [np.array(value) for value in rows.values()]


def bootstrap_interval(
    statistic: Callable[[Array, Array], float],
    first: Array,
    second: Array,
    first_subjects: Sequence[str],
    second_subjects: Sequence[str],
    *,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval (low, high) of ``statistic(first, second)``, subjects drawn with replacement in both sets.

    ``first`` (n, ...) and ``second`` (m, ...) have one row an ear. A distance is never below 0 and grows a little with
    resampling, so its interval says how well it is known, and not whether it is 0 (Efron and Tibshirani 1993, ch. 13).
    """
    rng = np.random.default_rng(seed)
    groups = rows_of_subjects(first_subjects), rows_of_subjects(second_subjects)
    values = []
    for _ in range(draws):
        chosen = [
            np.concatenate([group[index] for index in rng.integers(len(group), size=len(group))]) for group in groups
        ]
        values.append(statistic(first[chosen[0]], second[chosen[1]]))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permuted_labels(labels: NDArray[np.bool_], subjects: Sequence[str], count: int, *, seed: int = 0) -> Array:
    """Random relabellings (n, count), 1.0 for the first set: as many subjects are in it as in ``labels`` (n,).

    A subject in both sets counts as two, as its ears were made in two ways.
    """
    rng = np.random.default_rng(seed)
    keys = [f"{int(label)} {subject}" for label, subject in zip(labels, subjects, strict=True)]
    groups = rows_of_subjects(keys)
    in_first = np.array([bool(labels[group[0]]) for group in groups])
    group_of = np.empty(labels.size, dtype=np.int64)
    for number, group in enumerate(groups):
        group_of[group] = number
    return np.stack([rng.permutation(in_first)[group_of] for _ in range(count)], axis=1).astype(np.float64)


def permutation_p(observed: float, permuted: Array) -> float:
    """Share of permutations at least as extreme, the observed one counted in (Phipson and Smyth 2010, eq. 2)."""
    return float((1 + (permuted >= observed - 1e-12).sum()) / (1 + permuted.size))
