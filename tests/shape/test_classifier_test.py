import numpy as np
import pytest
from scipy import stats

from medlangevin.shape import two_sample
from medlangevin.shape.two_sample import classifier_test


def _names(count):
    return [str(index) for index in range(count)]


def test_equal_distributions_are_not_told_apart_and_p_is_uniform():
    rng = np.random.default_rng(0)
    found = [
        classifier_test(*rng.standard_normal((2, 20, 2)), _names(20), _names(20), permutations=99, seed=seed)
        for seed in range(150)
    ]
    accuracy = np.array([item.accuracy for item in found])
    # A little under a half: an ear's own set is the rarer one among the ears it is judged by.
    assert 0.40 < accuracy.mean() < 0.5 + 4.5 * accuracy.std() / np.sqrt(150)
    # p is at least uniform (ties make it larger): P(p <= t) <= t, at a false alarm of 1e-4 (one-sided binomial).
    p = np.array([item.p for item in found])
    for level in (0.05, 0.1, 0.25, 0.5):
        assert (p <= level).sum() <= stats.binom.ppf(1 - 1e-4, 150, level)
    assert (p <= 0.5).sum() >= stats.binom.ppf(1e-4, 150, 0.35)


def test_gaussians_far_enough_apart_are_told_as_well_as_the_best_rule_can():
    # The best rule for N(0, 1) and N(2, 1) is right with probability Phi(1) = 0.841; neighbours come near it.
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((300, 1)), rng.standard_normal((300, 1)) + 2
    found = classifier_test(first, second, _names(300), _names(300), permutations=199)
    best = stats.norm.cdf(1)
    error = np.sqrt(best * (1 - best) / 600)
    assert best - 0.03 - 4.5 * error < found.accuracy < best + 4.5 * error
    assert found.p == pytest.approx(1 / 200)


def test_two_ears_of_one_subject_are_never_judged_by_each_other():
    # Every subject's two ears are one point; were they in different folds, the twin would be the nearest neighbour.
    rng = np.random.default_rng(2)
    first, second = (
        np.repeat(rng.standard_normal((30, 4)), 2, axis=0),
        np.repeat(rng.standard_normal((30, 4)), 2, axis=0),
    )
    twins = [str(index // 2) for index in range(60)]
    whole = classifier_test(first, second, twins, twins, permutations=99)
    assert whole.accuracy < 0.7
    assert whole.p > 0.01


def test_the_larger_set_is_cut_down():
    rng = np.random.default_rng(3)
    found = classifier_test(rng.standard_normal((50, 2)), rng.standard_normal((12, 2)), _names(50), _names(12))
    assert found.ears == 12


def test_an_ear_is_not_judged_by_its_own_fold():
    """Subjects of 12 ears lie in pairs, one of each set, far from all others; 13 neighbours judge an ear.

    Without its own subject's ears, an ear has the other set's 12 nearest and is told wrong; a pair falls into one fold
    with probability 3/19. With them, all ears would be told right.
    """
    rng = np.random.default_rng(4)
    first_subjects, second_subjects = np.repeat(np.arange(10), 12), np.tile(np.arange(10), 12)
    first, second = (
        (100.0 * subjects + shift + 0.01 * rng.standard_normal(120))[:, None]
        for subjects, shift in ((first_subjects, 0.0), (second_subjects, 1.0))
    )
    found = classifier_test(first, second, first_subjects.astype(str), second_subjects.astype(str), permutations=1)
    assert found.accuracy < 0.5


@pytest.mark.parametrize(("rows", "neighbours"), [(44, 5), (48, 7)])
def test_the_number_of_neighbours_is_the_root_of_the_smallest_training_set_made_odd(rows, neighbours):
    # Of 44 rows in 5 folds at least 35 are left to train on, of 48 rows 38: the roots are 5 and 6.
    rng = np.random.default_rng(5)
    near = two_sample._training_neighbours(rng.standard_normal((rows, 2)), _names(rows), 5, rng)
    assert near.shape == (rows, neighbours)


def test_the_ears_of_the_larger_set_are_drawn_at_random():
    # The larger set's first 12 ears are far away; of 12 drawn from 200, more than half are with probability 1e-8.
    rng = np.random.default_rng(6)
    first, second = rng.standard_normal((12, 2)), rng.standard_normal((200, 2))
    second[:12] += 100
    assert classifier_test(first, second, _names(12), _names(200), permutations=1).accuracy < 0.9
