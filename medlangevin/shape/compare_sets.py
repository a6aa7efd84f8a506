"""Two populations as whole sets: all measures at once, whole volumes, and shapes as distance maps."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.shape.compare import write_rows
from medlangevin.shape.diversity import pair_similarity
from medlangevin.shape.modes import Curves, Maps, model_curves
from medlangevin.shape.population import Population
from medlangevin.shape.two_sample import classifier_test, discrepancy, manifold_scores
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import write_json
from medlangevin.system.nifti import read_volume

Array = NDArray[np.float64]

# Measures that are not worked out from the others, so that none counts twice.
TABLE = "comparison_sets.tsv"
FEATURES = (
    "volume_mm3",
    "surface_mm2",
    "extent_1_mm",
    "extent_2_mm",
    "extent_3_mm",
    "a_mm",
    "b_mm",
    "height_mm",
    "turns",
    "lateral_wall_mm",
    "mean_area_mm2",
)
_MIN_FOUND = 0.8  # a measure missing more often than this in either set would cost too many ears
_NEIGHBOURS = 5
_MIN_EARS = 2 * _NEIGHBOURS
_MODES = 10


class SetStatistic(NamedTuple):
    """One number about two sets, NaN where there are too few ears; ``p`` and ``standard_error`` NaN where it has none;
    the ears that went into it."""

    statistic: str
    value: float
    standard_error: float
    p: float
    first_count: int
    second_count: int


class SetComparison(NamedTuple):
    """All set-level statistics, the measures that served as ``features``, their standardised values in both sets
    (n, d) and (m, d), and the shape models' curves where there are enough ears."""

    statistics: tuple[SetStatistic, ...]
    features: tuple[str, ...]
    first_points: Array
    second_points: Array
    first_curves: Curves | None
    second_curves: Curves | None


_DEFINITIONS = {
    "mmd2": "Unbiased squared maximum mean discrepancy of the features, Gaussian kernel with the median distance as "
    "bandwidth; p by permutation of subjects (Gretton et al. 2012)",
    "precision": "Share of the first set inside the manifold of the second, balls to the 5th neighbour "
    "(Kynkäänniemi et al. 2019)",
    "recall": "Share of the second set inside the manifold of the first (Kynkäänniemi et al. 2019)",
    "density": "Mean number of the second set's balls that hold an ear of the first, over 5; 1 for equal distributions "
    "(Naeem et al. 2020)",
    "coverage": "Share of the second set's balls that hold an ear of the first; about 0.97 for equal distributions and "
    "sizes (Naeem et al. 2020)",
    "classifier_accuracy": "Share of ears whose set k nearest neighbours tell right in 5-fold cross-validation with "
    "subjects kept whole, sets cut to one size; 0.5 where they are not to be told apart; p by permutation of subjects "
    "(Lopez-Paz and Oquab 2017)",
    "ms_ssim_first": "Mean multi-scale structural similarity over 50 random pairs of different subjects of the first "
    "set, grey values between -1000 and 2500 HU, 3 scales; lower is more varied (Wang et al. 2003)",
    "ms_ssim_second": "The same in the second set",
    "compactness5_first": "Share of the variance of the first set's signed distance maps in 5 principal components "
    "(Davies et al. 2008)",
    "compactness5_second": "The same in the second set",
    "generality5_mm_first": "Error in mm at the wall of ears of the first set described by 5 modes of the others, "
    "subjects left out in 10 folds (Davies et al. 2008)",
    "generality5_mm_second": "The same in the second set",
    "specificity5_mm_first": "Distance in mm at the wall from shapes drawn from a Gaussian model of 5 modes to the "
    "nearest ear of the first set (Davies et al. 2008)",
    "specificity5_mm_second": "The same in the second set",
}


def compare_sets(first: Population, second: Population) -> SetComparison:
    """All set-level statistics of two populations; the second is the one that the first is judged by."""
    names, points, rows = _features(first, second)
    curves = _curves(first), _curves(second)
    return SetComparison(
        statistics=(
            *_point_statistics(first, second, points, rows),
            *(
                _similarity(population, place, len(first.ears), len(second.ears))
                for population, place in ((first, "first"), (second, "second"))
            ),
            *_shape_statistics(curves, first, second),
        ),
        features=names,
        first_points=points[0],
        second_points=points[1],
        first_curves=curves[0],
        second_curves=curves[1],
    )


def _features(
    first: Population, second: Population
) -> tuple[tuple[str, ...], tuple[Array, Array], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Measures found often enough in both sets, their values scaled by the second's mean and SD, and the rows used."""
    tables = [np.stack([item.column(name) for name in FEATURES], axis=1) for item in (first, second)]
    kept = np.all([np.isfinite(table).mean(axis=0) >= _MIN_FOUND for table in tables], axis=0)
    kept &= [len(np.unique(column[np.isfinite(column)])) > 1 for column in tables[1].T]
    rows = [np.flatnonzero(np.isfinite(table[:, kept]).all(axis=1)) for table in tables]
    whole = [table[:, kept][row] for table, row in zip(tables, rows, strict=True)]
    if kept.any() and len(whole[1]) > 1:
        centre, spread = whole[1].mean(axis=0), whole[1].std(axis=0, ddof=1)
        whole = [(table - centre) / np.where(spread > 0, spread, 1.0) for table in whole]
    names = tuple(name for name, use in zip(FEATURES, kept, strict=True) if use)
    return names, (whole[0], whole[1]), (rows[0], rows[1])


def _point_statistics(
    first: Population,
    second: Population,
    points: tuple[Array, Array],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> list[SetStatistic]:
    nan = float("nan")
    counts = len(points[0]), len(points[1])
    names = ("mmd2", "precision", "recall", "density", "coverage", "classifier_accuracy")
    if min(counts) < _MIN_EARS or points[0].shape[1] == 0:
        return [SetStatistic(name, nan, nan, nan, *counts) for name in names]
    subjects = [first.subjects[row] for row in rows[0]], [second.subjects[row] for row in rows[1]]
    mmd = discrepancy(*points, *subjects)
    scores = manifold_scores(*points, neighbours=_NEIGHBOURS)
    told = classifier_test(*points, *subjects)
    return [
        SetStatistic("mmd2", mmd.squared, nan, mmd.p, *counts),
        *(SetStatistic(name, value, nan, nan, *counts) for name, value in scores._asdict().items()),
        SetStatistic("classifier_accuracy", told.accuracy, nan, told.p, told.ears, told.ears),
    ]


def _similarity(population: Population, place: str, first_count: int, second_count: int) -> SetStatistic:
    def read(row: int) -> NDArray[np.float32]:
        return read_volume(population.ears[row].path)[0]

    name, nan = f"ms_ssim_{place}", float("nan")
    try:
        found = pair_similarity(read, population.subjects)
    except (MedlangevinError, ValueError):  # a file that has gone since, or a volume too small for three scales
        return SetStatistic(name, nan, nan, nan, first_count, second_count)
    return SetStatistic(name, found.mean, found.standard_error, nan, first_count, second_count)


def _mapped(population: Population) -> list[tuple[str, Maps]]:
    return [(ear.subject, ear.distance) for ear in population.ears if ear.distance is not None]


def _curves(population: Population) -> Curves | None:
    mapped = _mapped(population)
    if len(mapped) < _MIN_EARS:
        return None
    return model_curves(np.stack([item for _, item in mapped]), [subject for subject, _ in mapped], most=_MODES)


def _shape_statistics(
    curves: tuple[Curves | None, Curves | None], first: Population, second: Population
) -> list[SetStatistic]:
    nan, counts = float("nan"), (len(_mapped(first)), len(_mapped(second)))
    rows = []
    # Each curve at five modes.
    labels = {"compactness": "compactness5", "generality_mm": "generality5_mm", "specificity_mm": "specificity5_mm"}
    for name, label in labels.items():
        for place, curve in zip(("first", "second"), curves, strict=True):
            value = nan if curve is None else float(getattr(curve, name)[4])
            rows.append(SetStatistic(f"{label}_{place}", value, nan, nan, *counts))
    return rows


def write_set_comparison(found: SetComparison, folder: Path, *, first: str, second: str) -> Path:
    """Write ``comparison_sets.tsv`` and ``comparison_sets.json`` (what each row and column is, features, names)."""
    table = folder / TABLE
    columns = {
        "statistic": "Which number about the two sets; defined under statistics",
        "value": "The number; empty where there are too few ears (fewer than 10 in a set)",
        "standard_error": "Its standard error, pairs taken as independent; empty where none is worked out",
        "p": "p value where there is a test",
        "first_count": "Ears of the first set that went into it",
        "second_count": "Ears of the second set that went into it",
    }
    described = {
        "first": first,
        "second": second,
        "features": list(found.features),
        "feature_scaling": "mean 0 and standard deviation 1 in the second set; ears with a missing feature left out",
        "columns": {key: {"Description": text} for key, text in columns.items()},
        "statistics": {key: {"Description": text} for key, text in _DEFINITIONS.items()},
    }
    write_json(table.with_suffix(".json"), described)
    write_rows(table, SetStatistic._fields, found.statistics)
    return table
