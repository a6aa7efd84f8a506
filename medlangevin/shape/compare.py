"""Two populations, measure by measure: how far apart, how well that is known, and whether it can be chance."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population
from medlangevin.shape.resampling import bootstrap_interval, permutation_p, permuted_labels
from medlangevin.system.files import write_json, write_tsv

TABLE, ABOUT = "comparison.tsv", "comparison.json"
Array = NDArray[np.float64]

_MIN_COUNT = 2
_PERMUTATIONS = 2000


class Comparison(NamedTuple):
    """One measure in two populations; statistics are NaN where a population has fewer than two values."""

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


_INTERVAL = "of its 95 % interval (percentiles of 500 bootstrap samples of subjects)"
_DEFINITIONS = {
    "measure": "Column of the population tables",
    "first_count": "Values in the first population (missing ones left out)",
    "first_mean": "Mean in the first population",
    "first_sd": "Standard deviation in the first population (n - 1)",
    "second_count": "Values in the second population (missing ones left out)",
    "second_mean": "Mean in the second population",
    "second_sd": "Standard deviation in the second population (n - 1)",
    "wasserstein": "Wasserstein-1 distance between the two samples, in the measure's units",
    "wasserstein_low": f"Lower end {_INTERVAL}. A distance is never below 0, so this is not a test of 0",
    "wasserstein_high": f"Upper end {_INTERVAL}",
    "ks_statistic": "Two-sample Kolmogorov-Smirnov statistic",
    "ks_low": f"Lower end {_INTERVAL}",
    "ks_high": f"Upper end {_INTERVAL}",
    "ks_p": "Its two-sided p value; where a subject has several volumes, by 2000 permutations of whole subjects. Not "
    "corrected for the number of measures",
}


def compare(first: Population, second: Population) -> list[Comparison]:
    """Compare two populations in every measure; missing values are left out."""
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
    """Compare two samples (n,) and (m,) of one measure; NaN entries are left out.

    Without subjects every value is a subject's only one.
    """
    first, first_subjects = _found(first, first_subjects)
    second, second_subjects = _found(second, second_subjects)
    nan = float("nan")
    statistics = (nan,) * 7
    if min(first.size, second.size) >= _MIN_COUNT:
        sets = first, second, first_subjects, second_subjects
        statistics = (
            wasserstein(first, second),
            *bootstrap_interval(wasserstein, *sets),
            ks_statistic(first, second),
            *bootstrap_interval(ks_statistic, *sets),
            ks_p_value(*sets),
        )
    return Comparison(name, *_summary(first), *_summary(second), *statistics)


def wasserstein(first: Array, second: Array) -> float:
    """Wasserstein-1 distance between two samples (n,) and (m,), in their units."""
    return float(stats.wasserstein_distance(first, second))


def ks_statistic(first: Array, second: Array) -> float:
    """Largest difference between the distribution functions of two samples (n,) and (m,)."""
    both = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(item), both, side="right") / item.size for item in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def ks_p_value(first: Array, second: Array, first_subjects: Sequence[str], second_subjects: Sequence[str]) -> float:
    """P of the two-sided Kolmogorov-Smirnov test of two samples (n,) and (m,).

    scipy's where every subject has one value. A person's two ears are alike, and taken as independent they would call
    equal populations different; so elsewhere whole subjects are permuted between the sets.
    """
    if len(set(first_subjects)) == first.size and len(set(second_subjects)) == second.size:
        return float(stats.ks_2samp(first, second).pvalue)
    values = np.concatenate([first, second])
    is_first = np.arange(values.size) < first.size
    labels = permuted_labels(is_first, [*first_subjects, *second_subjects], _PERMUTATIONS)
    order = np.argsort(values, kind="stable")
    # Distribution functions jump at the last of equal values.
    jumps = np.append(np.diff(values[order]) > 0, True)
    ranked = labels[order]
    shares = [np.cumsum(chosen, axis=0)[jumps] / chosen.sum(0) for chosen in (ranked, 1 - ranked)]
    return permutation_p(ks_statistic(first, second), np.abs(shares[0] - shares[1]).max(0))


def _found(values: Array, subjects: Sequence[str] | None) -> tuple[Array, list[str]]:
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
    """Write ``comparison.tsv`` and ``comparison.json``: columns, names of the two populations, origin of the first."""
    table = folder / TABLE
    columns: dict[str, object] = {key: {"Description": text} for key, text in _DEFINITIONS.items()}
    write_json(folder / ABOUT, {"first": first, "second": second, "first_origin": first_origin, "columns": columns})
    write_rows(table, Comparison._fields, comparisons)
    return table


def write_rows(table: Path, header: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> None:
    """Write a table of tab-separated values; NaN becomes an empty cell."""
    write_tsv(table, [header, *(map(_cell, row) for row in rows)])


def _cell(value: str | int | float) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
