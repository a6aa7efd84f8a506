"""Two populations as whole sets: all measures at once, whole volumes, and shapes as distance maps."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.shape.columns import COLUMNS
from medlangevin.shape.diversity import pair_similarity
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.modes import Curves, Maps, model_curves
from medlangevin.shape.population import Population
from medlangevin.shape.tables import write_table
from medlangevin.shape.two_sample import ManifoldScores, classifier_test, discrepancy, manifold_scores
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import read_volume

Array = NDArray[np.float64]

TABLE = "comparison_sets.tsv"
# Measures that are not worked out from the others, so that none counts twice.
_WORKED_OUT = {"b_over_a", "cdl_corti_a_mm", "cdl_insertion_a_mm", "cdl_wall_ab_mm"}
FEATURES = tuple(item.name for item in measure_fields() if item.name not in _WORKED_OUT)
_MIN_FOUND = 0.8  # a measure missing more often than this in either set would cost too many ears
_NEIGHBOURS = 5
_MIN_EARS = 2 * _NEIGHBOURS
_MODES = 10


class SetStatistic(NamedTuple):
    """One number about two sets.

    Attributes:
        statistic: Which number.
        value: The number; NaN where there are too few ears.
        standard_error: NaN where it has none.
        p: p value; NaN where it has none.
        first_count: Ears of the first set that went into it.
        second_count: Ears of the second set that went into it.
    """

    statistic: str
    value: float = math.nan
    standard_error: float = math.nan
    p: float = math.nan
    first_count: int = 0
    second_count: int = 0


class SetComparison(NamedTuple):
    """All that is known of two sets.

    Attributes:
        statistics: All set-level statistics.
        features: The measures that served as features.
        first_points: Their standardised values in the first set (n, d).
        second_points: The same in the second set (m, d).
        first_curves: The shape model's curves; None where there are too few ears.
        second_curves: The same for the second set.
    """

    statistics: tuple[SetStatistic, ...]
    features: tuple[str, ...]
    first_points: Array
    second_points: Array
    first_curves: Curves | None
    second_curves: Curves | None


def compare_sets(first: Population, second: Population) -> SetComparison:
    """All set-level statistics of two populations.

    Args:
        first: The population that is judged.
        second: The one that it is judged by; it also scales the measures.

    Returns:
        The statistics, and the points and curves behind them.
    """
    names, points, subjects = _features(first, second)
    curves = _curves(first), _curves(second)
    alike = _similarity(first, "ms_ssim_first"), _similarity(second, "ms_ssim_second")
    statistics = (
        *_point_statistics(points, subjects),
        *(row._replace(first_count=len(first.ears), second_count=len(second.ears)) for row in alike),
        *_shape_statistics(curves, first_count=len(_mapped(first)), second_count=len(_mapped(second))),
    )
    return SetComparison(statistics, names, *points, *curves)


def _features(
    first: Population, second: Population
) -> tuple[tuple[str, ...], tuple[Array, Array], tuple[list[str], list[str]]]:
    """Measures found often enough in both sets; of the ears that have all of them, their values and the subjects.

    Values (n, d) and (m, d) are scaled by the second set's mean and SD.
    """
    sets = first, second
    tables = [np.stack([item.column(name) for name in FEATURES], axis=1) for item in sets]
    kept = np.all([np.isfinite(table).mean(axis=0) >= _MIN_FOUND for table in tables], axis=0)
    kept &= [len(np.unique(column[np.isfinite(column)])) > 1 for column in tables[1].T]
    rows = [np.flatnonzero(np.isfinite(table[:, kept]).all(axis=1)) for table in tables]
    whole = [table[:, kept][row] for table, row in zip(tables, rows, strict=True)]
    if kept.any() and len(whole[1]) > 1:
        centre, spread = whole[1].mean(axis=0), whole[1].std(axis=0, ddof=1)
        whole = [(table - centre) / np.where(spread > 0, spread, 1.0) for table in whole]
    subjects = [[item.subjects[number] for number in row] for item, row in zip(sets, rows, strict=True)]
    names = tuple(name for name, use in zip(FEATURES, kept, strict=True) if use)
    return names, (whole[0], whole[1]), (subjects[0], subjects[1])


def _point_statistics(points: tuple[Array, Array], subjects: tuple[list[str], list[str]]) -> list[SetStatistic]:
    counts = {"first_count": len(points[0]), "second_count": len(points[1])}
    if min(counts.values()) < _MIN_EARS or points[0].shape[1] == 0:
        names = "mmd2", *ManifoldScores._fields, "classifier_accuracy"
        return [SetStatistic(name, **counts) for name in names]
    mmd = discrepancy(*points, *subjects)
    scores = manifold_scores(*points, neighbours=_NEIGHBOURS)
    told = classifier_test(*points, *subjects)
    return [
        SetStatistic("mmd2", mmd.squared, p=mmd.p, **counts),
        *(SetStatistic(name, value, **counts) for name, value in scores._asdict().items()),
        SetStatistic("classifier_accuracy", told.accuracy, p=told.p, first_count=told.ears, second_count=told.ears),
    ]


def _similarity(population: Population, name: str) -> SetStatistic:
    def read(row: int) -> NDArray[np.float32]:
        return read_volume(population.ears[row].path)[0]

    try:
        found = pair_similarity(read, population.subjects)
    except (MedlangevinError, ValueError):  # a file that has gone since, or a volume too small for three scales
        return SetStatistic(name)
    return SetStatistic(name, found.mean, found.standard_error)


def _mapped(population: Population) -> list[tuple[str, Maps]]:
    return [(ear.subject, ear.distance) for ear in population.ears if ear.distance is not None]


def _curves(population: Population) -> Curves | None:
    mapped = _mapped(population)
    if len(mapped) < _MIN_EARS:
        return None
    return model_curves(np.stack([item for _, item in mapped]), [subject for subject, _ in mapped], most=_MODES)


def _shape_statistics(curves: tuple[Curves | None, Curves | None], **counts: int) -> list[SetStatistic]:
    # Each curve at five modes.
    labels = {"compactness": "compactness5", "generality_mm": "generality5_mm", "specificity_mm": "specificity5_mm"}
    return [
        SetStatistic(f"{label}_{place}", math.nan if curve is None else float(getattr(curve, name)[4]), **counts)
        for name, label in labels.items()
        for place, curve in zip(("first", "second"), curves, strict=True)
    ]


def write_set_comparison(found: SetComparison, folder: Path, *, first: str, second: str) -> Path:
    """Write ``comparison_sets.tsv`` and ``comparison_sets.json`` (what each row and column is, features, names).

    Args:
        found: The statistics.
        folder: Where to write.
        first: Name of the first population.
        second: Name of the second population.

    Returns:
        The table's file.

    Raises:
        MedlangevinError: The folder cannot be written.
    """
    described = {
        "first": first,
        "second": second,
        "features": list(found.features),
        "feature_scaling": "mean 0 and standard deviation 1 in the second set; ears with a missing feature left out",
        "columns": COLUMNS["comparison_sets"],
        "statistics": COLUMNS["set_statistics"],
    }
    return write_table(folder / TABLE, SetStatistic._fields, found.statistics, described, number=".6g")
