import numpy as np
import pytest

from medlangevin.io import read_json
from medlangevin.shape.compare import compare, compare_samples, write_comparison
from medlangevin.shape.measure import Measures
from medlangevin.shape.population import Population


def test_wasserstein_and_ks_of_samples_with_known_answers():
    # Sorted pairs differ by 5, 5, 5; the samples do not overlap, and of the C(6,3) = 20 orders two are as extreme.
    row = compare_samples("a_mm", np.array([0.0, 1.0, 3.0]), np.array([8.0, 5.0, 6.0]))
    assert row.wasserstein == pytest.approx(5.0)
    assert row.ks_statistic == 1.0
    assert row.ks_p == pytest.approx(0.1)
    assert (row.first_count, row.second_count) == (3, 3)
    assert row.first_mean == pytest.approx(4 / 3)
    assert row.second_sd == pytest.approx(np.sqrt(7 / 3))


def test_equal_samples_are_no_distance_apart():
    values = np.array([1.0, 2.0, 4.0])
    row = compare_samples("a_mm", values, values)
    assert (row.wasserstein, row.ks_statistic, row.ks_p) == (0.0, 0.0, 1.0)


def test_missing_values_are_left_out_and_too_few_give_no_statistics():
    nan = float("nan")
    with_gaps = compare_samples("a_mm", np.array([nan, 0.0, 1.0, 3.0]), np.array([8.0, nan, 5.0, 6.0]))
    assert with_gaps == compare_samples("a_mm", np.array([0.0, 1.0, 3.0]), np.array([8.0, 5.0, 6.0]))
    single = compare_samples("a_mm", np.array([1.0, nan]), np.array([1.0, 2.0]))
    assert (single.first_count, single.first_mean) == (1, 1.0)
    assert np.isnan([single.first_sd, single.wasserstein, single.ks_statistic, single.ks_p]).all()
    empty = compare_samples("a_mm", np.array([nan]), np.array([nan]))
    assert empty.first_count == 0
    assert np.isnan(empty.first_mean)


def test_comparison_table_leaves_what_is_missing_empty(tmp_path):
    first = Population("one", ("x", "y"), (Measures(volume_mm3=70.0), Measures(volume_mm3=72.0)))
    second = Population("two", ("z", "w"), (Measures(volume_mm3=71.0), Measures(volume_mm3=75.0)))
    table = write_comparison(compare(first, second), tmp_path, first="one", second="two")
    header, volume, surface, *_ = [line.split("\t") for line in table.read_text().splitlines()]
    assert dict(zip(header, volume, strict=True))["wasserstein"] == "2"
    assert surface[0] == "surface_mm2"
    assert dict(zip(header, surface, strict=True))["ks_p"] == ""
    described = read_json(tmp_path / "comparison.json")
    assert described["second"] == "two"
    assert set(described["columns"]) == set(header)
