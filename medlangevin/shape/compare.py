"""Two populations, measure by measure: how far apart, how well that is known, and whether it can be chance."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from medlangevin.shape.columns import COLUMNS
from medlangevin.shape.coordinates import Array
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population
from medlangevin.shape.resampling import bootstrap_interval, permutation_test
from medlangevin.shape.tables import write_table

TABLE, ABOUT = "comparison.tsv", "comparison.json"

_MIN_COUNT = 2
_PERMUTATIONS = 2000


class Comparison(NamedTuple):
    """One measure in two populations, in its units; statistics are NaN where a population has fewer than two values.

    ``comparison.json`` defines every field.
    """

    measure: str
    first_count: int
    first_mean: float
    first_sd: float
    second_count: int
    second_mean: float
    second_sd: float
    wasserstein: float
    wasserstein_low: float
    wasserstein_high: float
    ks_statistic: float
    ks_low: float
    ks_high: float
    ks_p: float


def compare(first: Population, second: Population) -> list[Comparison]:
    """Compare two populations in every measure.

    Args:
        first: One population.
        second: The other.

    Returns:
        A comparison for each measure, missing values left out.
    """
    return [
        compare_samples(item.name, first.column(item.name), second.column(item.name), first.subjects, second.subjects)
        for item in measure_fields()
    ]


def compare_samples(
    name: str,
    first: Array,
    second: Array,
    first_subjects: Sequence[str] | None = None,
    second_subjects: Sequence[str] | None = None,
) -> Comparison:
    """Compare two samples of one measure.

    Args:
        name: The measure.
        first: Values (n,); NaN entries are left out.
        second: Values (m,), likewise.
        first_subjects: The subject of each value; None where every value is a subject's only one.
        second_subjects: The same for the second sample.

    Returns:
        Means, distances with their intervals, and the p value of the Kolmogorov-Smirnov test.
    """
    first, first_subjects = _finite(first, first_subjects)
    second, second_subjects = _finite(second, second_subjects)
    statistics = (float("nan"),) * 7
    if min(first.size, second.size) >= _MIN_COUNT:
        sets = first, second, first_subjects, second_subjects
        statistics = (
            float(stats.wasserstein_distance(first, second)),
            *bootstrap_interval(stats.wasserstein_distance, *sets),
            ks_statistic(first, second),
            *bootstrap_interval(ks_statistic, *sets),
            ks_p_value(*sets),
        )
    return Comparison(name, *_summary(first), *_summary(second), *statistics)


def ks_statistic(first: Array, second: Array) -> float:
    """Kolmogorov-Smirnov statistic: the largest difference between the distribution functions of two samples.

    It is scipy's, which works out a p value as well and so takes too long for every bootstrap sample.

    Args:
        first: Values (n,).
        second: Values (m,).

    Returns:
        The difference, from 0 to 1.
    """
    both = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(item), both, side="right") / item.size for item in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def ks_p_value(first: Array, second: Array, first_subjects: Sequence[str], second_subjects: Sequence[str]) -> float:
    """p value of the two-sided Kolmogorov-Smirnov test.

    It is scipy's where every subject has one value. A person's two ears are alike, and taken as independent they would
    call equal populations different; so elsewhere whole subjects are permuted between the sets.

    Args:
        first: Values (n,).
        second: Values (m,).
        first_subjects: The subject of each value of the first sample.
        second_subjects: The subject of each value of the second sample.

    Returns:
        The p value.
    """
    if len(set(first_subjects)) == first.size and len(set(second_subjects)) == second.size:
        return float(stats.ks_2samp(first, second).pvalue)
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    # Distribution functions jump at the last of equal values.
    jumps = np.append(np.diff(values[order]) > 0, True)

    def statistic(labels: Array) -> Array:
        ranked = labels[order]
        shares = [np.cumsum(chosen, axis=0)[jumps] / chosen.sum(0) for chosen in (ranked, 1 - ranked)]
        return np.asarray(np.abs(shares[0] - shares[1]).max(0))

    return permutation_test(statistic, first_subjects, second_subjects, permutations=_PERMUTATIONS)[1]


def _finite(values: Array, subjects: Sequence[str] | None) -> tuple[Array, list[str]]:
    names = [str(index) for index in range(values.size)] if subjects is None else subjects
    on = np.isfinite(values)
    return values[on], [name for name, kept in zip(names, on, strict=True) if kept]


def _summary(values: Array) -> tuple[int, float, float]:
    mean = float(values.mean()) if values.size else float("nan")
    deviation = float(values.std(ddof=1)) if values.size >= _MIN_COUNT else float("nan")
    return int(values.size), mean, deviation


def write_comparison(
    comparisons: list[Comparison], folder: Path, *, first: str, second: str, first_origin: str | None = None
) -> Path:
    """Write ``comparison.tsv`` and ``comparison.json``, which defines its columns.

    Args:
        comparisons: The rows.
        folder: Where to write.
        first: Name of the first population.
        second: Name of the second population.
        first_origin: What tells later whether the first population's volumes have been replaced.

    Returns:
        The table.

    Raises:
        MedlangevinError: The folder cannot be written.
    """
    described = {"first": first, "second": second, "first_origin": first_origin, "columns": COLUMNS["comparison"]}
    return write_table(folder / TABLE, Comparison._fields, comparisons, described, number=".6g")
