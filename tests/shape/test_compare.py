from itertools import combinations

import numpy as np
import pytest
from scipy import stats

import medlangevin.shape.compare
from medlangevin.shape.compare import compare, compare_samples, ks_p_value, ks_statistic, write_comparison
from medlangevin.shape.measure import Measures
from medlangevin.shape.population import MeasuredEar, Population
from medlangevin.system.files import read_json


def test_wasserstein_and_ks_of_samples_with_known_answers():
    # Sorted pairs differ by 5, 5, 5; the samples do not overlap, and of the C(6,3) = 20 orders two are as extreme.
    row = compare_samples("a_mm", np.array([0.0, 1.0, 3.0]), np.array([8.0, 5.0, 6.0]))
    assert row.wasserstein == pytest.approx(5.0)
    assert row.ks_statistic == 1.0
    assert row.ks_p == pytest.approx(0.1)
    assert (row.first_count, row.second_count) == (3, 3)
    assert row.first_mean == pytest.approx(4 / 3)
    assert row.second_sd == pytest.approx(np.sqrt(7 / 3))


def test_ks_of_people_with_two_alike_ears_counts_people():
    """Three people each, ears alike: 2 of the 20 orders of people are as extreme, whereas of 12 ears 2 of 924 would be.

    The permutations' share is off by more than 4 standard errors (0.027) once in 16,000 seeds.
    """
    people = [name for name in "abc" for _ in range(2)]
    first, second = np.repeat([0.0, 1.0, 3.0], 2), np.repeat([8.0, 5.0, 6.0], 2)
    row = compare_samples("a_mm", first, second, people, people)
    assert row.ks_statistic == 1.0
    assert row.ks_p == pytest.approx(0.1, abs=0.027)


def test_ks_of_people_calls_equal_populations_different_as_rarely_as_stated(monkeypatch: pytest.MonkeyPatch):
    """300 pairs of equal populations, 12 people with two alike ears each: at most 5 % have p <= 0.05, up to 4 standard
    errors (0.05; exceeded once in 30,000 seeds). Ears taken as independent are far beyond that."""
    monkeypatch.setattr(medlangevin.shape.compare, "_PERMUTATIONS", 99)
    rng = np.random.default_rng(0)
    people = [str(number) for number in range(12) for _ in range(2)]
    found, naive = [], []
    for _ in range(300):
        first, second = (np.repeat(rng.standard_normal(12), 2) for _ in range(2))
        found.append(ks_p_value(first, second, people, people))
        naive.append(stats.ks_2samp(first, second).pvalue)
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 0.05
    assert np.mean(np.array(naive) <= 0.05) > 0.2


def test_equal_samples_are_no_distance_apart():
    values = np.array([1.0, 2.0, 4.0])
    row = compare_samples("a_mm", values, values)
    assert (row.wasserstein, row.ks_statistic, row.ks_p) == (0.0, 0.0, 1.0)


def test_missing_values_are_left_out_and_too_few_give_no_statistics():
    nan = float("nan")
    with_gaps = compare_samples("a_mm", np.array([nan, 0.0, 1.0, 3.0]), np.array([8.0, nan, 5.0, 6.0]))
    assert with_gaps[:8] == compare_samples("a_mm", np.array([0.0, 1.0, 3.0]), np.array([8.0, 5.0, 6.0]))[:8]
    single = compare_samples("a_mm", np.array([1.0, nan]), np.array([1.0, 2.0]))
    assert (single.first_count, single.first_mean) == (1, 1.0)
    assert np.isnan(
        [single.first_sd, single.wasserstein, single.ks_statistic, single.wasserstein_low, single.ks_high, single.ks_p]
    ).all()
    empty = compare_samples("a_mm", np.array([nan]), np.array([nan]))
    assert empty.first_count == 0
    assert np.isnan(empty.first_mean)


def test_comparison_table_leaves_what_is_missing_empty(tmp_path):
    first, second = (
        Population(
            name, tuple(MeasuredEar(str(value), Measures(volume_mm3=value), str(value), tmp_path) for value in values)
        )
        for name, values in (("one", (70.0, 72.0)), ("two", (71.0, 75.0)))
    )
    table = write_comparison(compare(first, second), tmp_path, first="one", second="two")
    header, volume, surface, *_ = [line.split("\t") for line in table.read_text().splitlines()]
    assert dict(zip(header, volume, strict=True))["wasserstein"] == "2"
    assert surface[0] == "surface_mm2"
    assert dict(zip(header, surface, strict=True))["ks_p"] == ""
    described = read_json(tmp_path / "comparison.json")
    assert described["second"] == "two"
    assert set(described["columns"]) == set(header)


@pytest.mark.slow
def test_shifted_gaussians_have_the_distances_of_the_closed_form():
    # N(0, 1) and N(1, 1): Wasserstein-1 is the shift; Kolmogorov-Smirnov is 2 Phi(1 / 2) - 1.
    rng = np.random.default_rng(0)
    count = 2000
    row = compare_samples("a_mm", rng.normal(0, 1, count), rng.normal(1, 1, count))
    # W1 of shifted samples is about the difference of means (standard error sqrt(2 / n)); KS is a difference of two
    # shares (standard error below sqrt(1 / (2 n))), its maximum a little above. 4.5 of each: false alarm below 1e-5.
    assert row.wasserstein == pytest.approx(1.0, abs=4.5 * np.sqrt(2 / count))
    expected = 2 * stats.norm.cdf(0.5) - 1
    assert row.ks_statistic == pytest.approx(expected, abs=4.5 * np.sqrt(1 / (2 * count)))
    assert row.wasserstein_low < 1.0 < row.wasserstein_high
    assert row.ks_low < expected < row.ks_high
    # A 95 % interval of a difference of means is 2 * 1.96 standard errors wide; its ends are known to about a tenth.
    assert row.wasserstein_high - row.wasserstein_low == pytest.approx(3.92 * np.sqrt(2 / count), rel=0.3)
    assert row.ks_p < 1e-50


def test_equal_distributions_give_uniform_ks_p_values():
    rng = np.random.default_rng(1)
    people = [str(number) for number in range(40)]
    p = [ks_p_value(first, second, people, people) for first, second in rng.standard_normal((300, 2, 40))]
    pairs = rng.standard_normal((20, 2, 40))
    assert [ks_statistic(*pair) for pair in pairs] == pytest.approx([stats.ks_2samp(*pair).statistic for pair in pairs])
    # The statistic is discrete, so p is at least uniform: P(p <= t) <= t, binomial at a false alarm of 1e-4.
    for level in (0.05, 0.2, 0.5):
        share = (np.array(p) <= level).sum()
        assert stats.binom.ppf(1e-4, 300, 0.5 * level) <= share <= stats.binom.ppf(1 - 1e-4, 300, level)


@pytest.mark.parametrize("twins_first", [True, False])
def test_two_ears_of_a_person_count_as_one_draw_in_the_intervals(twins_first):
    rng = np.random.default_rng(2)
    twins, steady = np.repeat(rng.normal(0, 1, 40), 2), np.full(80, 4.0)
    people, each_its_own = [str(index // 2) for index in range(80)], [str(index) for index in range(80)]
    order = 1 if twins_first else -1
    first, second = (twins, steady)[::order]
    alone = compare_samples("a_mm", first, second)
    whole = compare_samples("a_mm", first, second, *(people, each_its_own)[::order])
    assert whole.wasserstein == alone.wasserstein
    # Half as many independent values make an interval wider by the root of 2; 500 draws tell a width to about 5 %.
    ratio = (whole.wasserstein_high - whole.wasserstein_low) / (alone.wasserstein_high - alone.wasserstein_low)
    assert ratio == pytest.approx(np.sqrt(2), rel=0.2)


def test_ks_of_equal_values_is_scipy_s():
    first, second = np.random.default_rng(3).integers(0, 4, (2, 30)).astype(float)
    assert ks_statistic(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)
    assert ks_statistic(np.zeros(3), np.array([0.0, 0.0, 1.0])) == pytest.approx(1 / 3)


def test_ks_of_people_with_equal_values_is_that_of_all_orders():
    """Two ears a person, five people a set, values of 0 and 1 alone; p over all 252 orders of people is 0.2063.

    The share of 2,000 permutations has a standard error of at most 0.009: 4.5 of them, a false alarm below 1e-5.
    """
    people = [name for name in "abcde" for _ in range(2)]
    first, second = np.repeat([0.0, 0.0, 0.0, 0.0, 1.0], 2), np.repeat([0.0, 1.0, 1.0, 1.0, 1.0], 2)
    values, observed = np.concatenate([first[::2], second[::2]]), ks_statistic(first, second)
    orders = [list(chosen) for chosen in combinations(range(10), 5)]
    apart = [ks_statistic(values[chosen], np.delete(values, chosen)) for chosen in orders]
    expected = np.mean(np.array(apart) >= observed - 1e-12)
    assert expected == pytest.approx(52 / 252)
    assert ks_p_value(first, second, people, people) == pytest.approx(expected, abs=4.5 * 0.009)


def test_two_ears_of_a_person_in_one_set_alone_are_no_independent_values():
    """Taken as independent, 2 of the 462 orders of the ears are as extreme; of eight people there are 56 orders."""
    first, second = np.repeat([0.0, 1.0, 3.0], 2), np.array([8.0, 5.0, 6.0, 7.0, 9.0])
    people, each_its_own = ["a", "a", "b", "b", "c", "c"], list("abcde")
    for sets in ((first, second, people, each_its_own), (second, first, each_its_own, people)):
        assert ks_p_value(*sets) > 2 * stats.ks_2samp(first, second).pvalue


def test_each_population_s_own_subjects_are_resampled(tmp_path):
    rng = np.random.default_rng(4)
    people, each_its_own = [str(index // 2) for index in range(20)], [str(index) for index in range(20)]
    columns = np.repeat(rng.normal(70, 5, 10), 2), rng.normal(75, 5, 20)
    first, second = (
        Population(
            "ears", tuple(MeasuredEar("ear", Measures(volume_mm3=value), person, tmp_path) for value, person in rows)
        )
        for rows in (zip(columns[0], people, strict=True), zip(columns[1], each_its_own, strict=True))
    )
    expected = compare_samples("volume_mm3", *columns, people, each_its_own)
    assert compare(first, second)[0] == expected
    assert compare(second, first)[0] == compare_samples("volume_mm3", *columns[::-1], each_its_own, people)
