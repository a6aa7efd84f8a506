import numpy as np
import pytest
from scipy import stats

from medlangevin.shape.resampling import (
    bootstrap_interval,
    permutation_p,
    permutation_test,
    permuted_labels,
    rows_of_subjects,
)


def _difference(first, second):
    return float(first.mean() - second.mean())


def test_rows_are_gathered_by_subject():
    assert [rows.tolist() for rows in rows_of_subjects(["b", "a", "b", "c"])] == [[0, 2], [1], [3]]


def test_the_interval_of_a_difference_of_means_has_the_width_of_theory():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, 200), rng.normal(1, 1, 200)
    names = [str(index) for index in range(200)]
    low, high = bootstrap_interval(_difference, first, second, names, names, draws=2000)
    error = np.sqrt(first.var() / 200 + second.var() / 200)
    expected = 2 * stats.norm.ppf(0.975) * error
    # Monte Carlo error of a 2.5 % quantile of 2000 draws: sqrt(0.025 0.975 / 2000) over the density there, two ends.
    spread = np.sqrt(0.025 * 0.975 / 2000) / stats.norm.pdf(stats.norm.ppf(0.975)) * error * np.sqrt(2)
    assert high - low == pytest.approx(expected, abs=4.5 * spread)  # false alarm below 1e-5
    assert (low + high) / 2 == pytest.approx(_difference(first, second), abs=4.5 * spread)


def test_copies_of_an_ear_of_one_subject_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=40), rng.normal(size=40)
    names = [str(index) for index in range(40)]
    once = bootstrap_interval(_difference, first, second, names, names)
    pairs = np.repeat(first, 2), np.repeat(second, 2)
    doubled = [name for name in names for _ in range(2)]
    assert bootstrap_interval(_difference, *pairs, doubled, doubled) == pytest.approx(once)
    each_its_own = [str(index) for index in range(80)]
    assert np.ptp(bootstrap_interval(_difference, *pairs, each_its_own, each_its_own)) < 0.85 * np.ptp(once)


def test_permutations_keep_subjects_whole_and_the_number_of_them():
    labels = np.array([True, True, True, False, False, False])
    relabelled = permuted_labels(labels, ["a", "a", "b", "c", "c", "d"], 50)
    assert (relabelled[0] == relabelled[1]).all()
    assert (relabelled[3] == relabelled[4]).all()
    subjects = relabelled[[0, 2, 3, 5]]
    assert (subjects.sum(axis=0) == 2).all()
    assert 0 < (relabelled[0] == 1).mean() < 1


def test_a_permutation_p_is_never_zero():
    assert permutation_p(2.0, np.array([0.0, 1.0, 1.5])) == pytest.approx(0.25)
    assert permutation_p(1.0, np.array([0.0, 1.0, 1.5])) == pytest.approx(0.75)


def test_the_first_set_of_a_permutation_test_is_the_first():
    observed, p = permutation_test(lambda labels: labels.sum(axis=0), ["a", "b"], list("abcde"), permutations=9)
    assert (observed, p) == (2.0, 1.0)
