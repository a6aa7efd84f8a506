import dataclasses
from pathlib import Path

import numpy as np
import pytest

from medlangevin.shape import compare_sets as shape_compare_sets
from medlangevin.shape.compare_sets import FEATURES, compare_sets, write_set_comparison
from medlangevin.shape.diversity import Similarity
from medlangevin.shape.measure import Measures
from medlangevin.shape.modes import model_curves
from medlangevin.shape.population import MeasuredEar, Population
from medlangevin.shape.two_sample import classifier_test, discrepancy, manifold_scores
from medlangevin.system.files import read_json


def _population(name, seed, *, count=40, shift=0.0, missing=(), maps=True):
    rng = np.random.default_rng(seed)
    ears = []
    for index in range(count):
        values = dict(zip(FEATURES, rng.standard_normal(len(FEATURES)) + shift, strict=True))
        values |= dict.fromkeys(missing, float("nan"))
        distance = (np.linspace(-0.5, 0.5, 100) + 0.1 * rng.standard_normal(100)).astype(np.float32) if maps else None
        ears.append(MeasuredEar(str(index), Measures(**values), str(index), Path("gone.nii"), None, distance))
    return Population(name, tuple(ears))


def _values(found):
    return {row.statistic: row for row in found.statistics}


def test_equal_sets_are_told_from_shifted_ones():
    real = _population("real", 0)
    alike, apart = (
        _values(compare_sets(_population("a", 1), real)),
        _values(compare_sets(_population("b", 2, shift=2), real)),
    )
    # p is uniform where sets are equal: below 0.001 with probability 0.001, for a fixed seed.
    assert alike["mmd2"].p > 0.001
    assert alike["classifier_accuracy"].p > 0.001
    assert apart["mmd2"].p == pytest.approx(0.001)
    assert apart["classifier_accuracy"].value > 0.95
    assert apart["mmd2"].value > 10 * abs(alike["mmd2"].value)
    assert alike["coverage"].value > 0.8 > 0.2 > apart["coverage"].value
    assert alike["precision"].value > apart["precision"].value


def test_the_units_of_a_measure_do_not_matter():
    sets = _population("a", 1), _population("b", 2)
    in_microns = [
        Population(
            population.name,
            tuple(
                ear._replace(measures=dataclasses.replace(ear.measures, a_mm=1000 * ear.measures.a_mm))
                for ear in population.ears
            ),
        )
        for population in sets
    ]
    assert _values(compare_sets(*in_microns))["mmd2"].value == pytest.approx(_values(compare_sets(*sets))["mmd2"].value)


def test_a_measure_that_is_mostly_missing_is_left_out_and_named(tmp_path):
    found = compare_sets(_population("a", 1, missing=("turns", "lateral_wall_mm")), _population("b", 2))
    assert found.features == tuple(name for name in FEATURES if name not in ("turns", "lateral_wall_mm"))
    assert _values(found)["mmd2"].first_count == 40
    table = write_set_comparison(found, tmp_path, first="a", second="b")
    described = read_json(tmp_path / "comparison_sets.json")
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert described["features"] == list(found.features)
    assert set(described["columns"]) == set(rows[0])
    assert [row[0] for row in rows[1:]] == list(described["statistics"])


def test_too_few_ears_give_empty_cells_not_guesses():
    found = compare_sets(_population("a", 1, count=9), _population("b", 2, maps=False))
    values = _values(found)
    assert found.first_curves is None
    assert found.second_curves is None
    assert all(np.isnan(row.value) for row in values.values())
    assert (values["mmd2"].first_count, values["mmd2"].second_count) == (9, 40)


def test_measures_are_scaled_by_the_second_set():
    first, second = _population("a", 1, shift=3), _population("b", 2)
    found = compare_sets(first, second)
    centre = np.array([second.column(name).mean() for name in FEATURES])
    spread = np.array([second.column(name).std(ddof=1) for name in FEATURES])
    for population, points in ((first, found.first_points), (second, found.second_points)):
        table = np.stack([population.column(name) for name in FEATURES], axis=1)
        assert points == pytest.approx((table - centre) / spread)


def _with_gaps(population, name, rows):
    """The population, two ears a person, with the measure ``name`` missing in ``rows``."""
    ears = [
        ear._replace(
            subject=str(index // 2),
            measures=dataclasses.replace(ear.measures, **({name: float("nan")} if index in rows else {})),
        )
        for index, ear in enumerate(population.ears)
    ]
    return dataclasses.replace(population, ears=tuple(ears))


def test_every_statistic_is_of_the_sets_that_it_names(monkeypatch):
    """Two sets that differ in size, people and missing ears. A fifth of one measure is missing: allowed."""
    monkeypatch.setattr(
        shape_compare_sets, "pair_similarity", lambda read, subjects: Similarity(len(subjects), len(set(subjects)), 1)
    )
    first = _with_gaps(_population("a", 1, count=25, shift=0.5), "a_mm", {0, 7, 14, 22})
    second = _with_gaps(_population("b", 2), "b_mm", set(range(1, 16, 2)))
    found = compare_sets(first, second)
    assert found.features == FEATURES
    subjects = [
        [ear.subject for ear in item.ears if not np.isnan([ear.measures.a_mm, ear.measures.b_mm]).any()]
        for item in (first, second)
    ]
    points = found.first_points, found.second_points
    assert [len(item) for item in points] == [len(item) for item in subjects] == [21, 32]
    mmd, told = discrepancy(*points, *subjects), classifier_test(*points, *subjects)
    scores = manifold_scores(*points)
    curves = [
        model_curves(np.stack([ear.distance for ear in item.ears]), item.subjects, most=10) for item in (first, second)
    ]
    expected = {
        "mmd2": (mmd.squared, np.nan, mmd.p, 21, 32),
        **{name: (value, np.nan, np.nan, 21, 32) for name, value in scores._asdict().items()},
        "classifier_accuracy": (told.accuracy, np.nan, told.p, 21, 21),
        "ms_ssim_first": (25, 13, np.nan, 25, 40),
        "ms_ssim_second": (40, 20, np.nan, 25, 40),
    }
    labels = {"compactness": "compactness5", "generality_mm": "generality5_mm", "specificity_mm": "specificity5_mm"}
    for name, label in labels.items():
        for place, curve in zip(("first", "second"), curves, strict=True):
            expected[f"{label}_{place}"] = (getattr(curve, name)[4], np.nan, np.nan, 25, 40)
    assert [row.statistic for row in found.statistics] == list(expected)
    for row in found.statistics:
        assert row[1:] == pytest.approx(expected[row.statistic], nan_ok=True), row.statistic


@pytest.mark.parametrize(("constant", "left_out"), [(0, False), (1, True)])
def test_a_measure_that_does_not_vary_in_the_second_set_is_left_out(constant, left_out):
    sets = [_population("a", 1), _population("b", 2)]
    ears = [ear._replace(measures=dataclasses.replace(ear.measures, turns=2.5)) for ear in sets[constant].ears]
    sets[constant] = dataclasses.replace(sets[constant], ears=tuple(ears))
    assert ("turns" not in compare_sets(*sets).features) == left_out
