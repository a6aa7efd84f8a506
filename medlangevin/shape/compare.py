"""Two populations, measure by measure: how far apart, and whether the difference can be chance."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medlangevin.io import write_json, write_text
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population

_MIN_COUNT = 2


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
    ks_statistic: float
    ks_p: float


_DEFINITIONS = {
    "measure": "Column of the population tables",
    "first_count": "Values in the first population (missing ones left out)",
    "first_mean": "Mean in the first population",
    "first_sd": "Standard deviation in the first population (n - 1)",
    "second_count": "Values in the second population (missing ones left out)",
    "second_mean": "Mean in the second population",
    "second_sd": "Standard deviation in the second population (n - 1)",
    "wasserstein": "Wasserstein-1 distance between the two samples, in the measure's units",
    "ks_statistic": "Two-sample Kolmogorov-Smirnov statistic",
    "ks_p": "Its two-sided p value",
}


def compare(first: Population, second: Population) -> list[Comparison]:
    """Compare two populations in every measure; missing values are left out."""
    return [compare_samples(item.name, first.column(item.name), second.column(item.name)) for item in measure_fields()]


def compare_samples(name: str, first: NDArray[np.float64], second: NDArray[np.float64]) -> Comparison:
    """Compare two samples (n,) and (m,) of one measure; NaN entries are left out."""
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    distance = statistic = p_value = float("nan")
    if min(first.size, second.size) >= _MIN_COUNT:
        distance = float(stats.wasserstein_distance(first, second))
        test = stats.ks_2samp(first, second)
        statistic, p_value = float(test.statistic), float(test.pvalue)
    return Comparison(name, *_summary(first), *_summary(second), distance, statistic, p_value)


def _summary(values: NDArray[np.float64]) -> tuple[int, float, float]:
    mean = float(values.mean()) if values.size else float("nan")
    deviation = float(values.std(ddof=1)) if values.size >= _MIN_COUNT else float("nan")
    return int(values.size), mean, deviation


def write_comparison(comparisons: list[Comparison], folder: Path, *, first: str, second: str) -> Path:
    """Write ``comparison.tsv`` and ``comparison.json`` (columns, and the names of the two populations)."""
    table = folder / "comparison.tsv"
    columns: dict[str, object] = {key: {"Description": text} for key, text in _DEFINITIONS.items()}
    write_json(folder / "comparison.json", {"first": first, "second": second, "columns": columns})
    rows = [list(Comparison._fields), *([_cell(value) for value in row] for row in comparisons)]
    write_text(table, "".join("\t".join(row) + "\n" for row in rows))
    return table


def _cell(value: str | int | float) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
