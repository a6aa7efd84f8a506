"""Bootstrap and permutation by subject: the two ears of one person, or two crops of one ear, count as one draw."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LEVEL = 0.95  # of intervals: the share of the bootstrap samples inside


def rows_of_subjects(subjects: Sequence[str]) -> list[Indices]:
    """Gather the rows of each subject.

    Args:
        subjects: The subject of each row.

    Returns:
        The rows of each subject, in the order in which subjects first appear.
    """
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
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of two sets, subjects drawn with replacement in both.

    A distance is never below 0 and grows a little with resampling. So its interval says how well it is known, and not
    whether it is 0.

    Args:
        statistic: Function of both sets.
        first: The first set (n, ...), one row an ear.
        second: The second set (m, ...).
        first_subjects: The subject of each row of the first set.
        second_subjects: The subject of each row of the second set.
        draws: Number of bootstrap samples.

    Returns:
        The interval's low and high end (Efron and Tibshirani 1993, ch. 13).
    """
    rng = np.random.default_rng(0)
    groups = rows_of_subjects(first_subjects), rows_of_subjects(second_subjects)
    values = []
    for _ in range(draws):
        chosen = [
            np.concatenate([group[index] for index in rng.integers(len(group), size=len(group))]) for group in groups
        ]
        values.append(statistic(first[chosen[0]], second[chosen[1]]))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def permutation_test(
    statistic: Callable[[Array], Array],
    first_subjects: Sequence[str],
    second_subjects: Sequence[str],
    *,
    permutations: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Test two sets of ears by permuting whole subjects between them.

    Args:
        statistic: Function of labels (n + m, c), 1.0 for the first set and 0.0 for the second; a number (c,) for each
            column, the larger the further apart the sets are.
        first_subjects: The subjects (n,) of the first set's ears.
        second_subjects: The subjects (m,) of the second set's ears, which follow them.
        permutations: Number of permutations.
        seed: Of the permutations.

    Returns:
        The statistic of the sets as they are, and its p value.
    """
    subjects = [*first_subjects, *second_subjects]
    labels = np.arange(len(subjects)) < len(first_subjects)
    observed = float(statistic(labels[:, None].astype(np.float64))[0])
    return observed, permutation_p(observed, statistic(permuted_labels(labels, subjects, permutations, seed=seed)))


def permuted_labels(labels: NDArray[np.bool_], subjects: Sequence[str], count: int, *, seed: int = 0) -> Array:
    """Relabel subjects at random, as many of them in the first set as before.

    Args:
        labels: Whether each row (n,) is in the first set.
        subjects: The subject of each row. One in both sets counts as two, as its ears in the two sets are of different
            origin.
        count: Number of relabellings.
        seed: Of the relabellings.

    Returns:
        Labels (n, count), 1.0 for the first set.
    """
    rng = np.random.default_rng(seed)
    keys = [f"{int(label)} {subject}" for label, subject in zip(labels, subjects, strict=True)]
    numbers: dict[str, int] = {}
    group_of = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    in_first = np.array([key.startswith("1 ") for key in numbers])
    return np.stack([rng.permutation(in_first)[group_of] for _ in range(count)], axis=1).astype(np.float64)


def permutation_p(observed: float, permuted: Array) -> float:
    """p value of a permutation test.

    Args:
        observed: The statistic of the sets as they are.
        permuted: The statistics (c,) of the permuted sets.

    Returns:
        Share of permutations at least as extreme, the observed one counted in (Phipson and Smyth 2010, eq. 2).
    """
    return float((1 + (permuted >= observed - 1e-12).sum()) / (1 + permuted.size))
