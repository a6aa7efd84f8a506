import dataclasses
from pathlib import Path

import numpy as np
import pytest

from medlangevin.shape.compare_sets import FEATURES, compare_sets, write_set_comparison
from medlangevin.shape.measure import Measures
from medlangevin.shape.population import MeasuredEar, Population
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
