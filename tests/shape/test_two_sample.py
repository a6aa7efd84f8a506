import numpy as np
import pytest
from scipy import stats

from medlangevin.shape import two_sample
from medlangevin.shape.two_sample import classifier_test, discrepancy, manifold_scores, median_distance


def _names(count):
    return [str(index) for index in range(count)]


def test_shifted_gaussians_have_the_discrepancy_of_the_closed_form():
    # For N(0, I) and N(shift, I) in d dimensions and kernel width s, with c = (s^2 / (s^2 + 2))^(d / 2):
    # MMD^2 = 2 c (1 - exp(-|shift|^2 / (2 (s^2 + 2)))).
    d, width, shift = 3, 1.5, np.array([0.8, 0.0, -0.4])
    scale = (width**2 / (width**2 + 2)) ** (d / 2)
    expected = 2 * scale * (1 - np.exp(-(shift @ shift) / (2 * (width**2 + 2))))
    rng = np.random.default_rng(0)
    estimates = []
    for _ in range(60):
        first, second = rng.standard_normal((80, d)), rng.standard_normal((80, d)) + shift
        found = discrepancy(first, second, _names(80), _names(80), bandwidth=width, permutations=1)
        estimates.append(found.squared)
    # Unbiased, so the mean of 60 estimates is within 4.5 standard errors: false alarm below 1e-5.
    error = np.std(estimates, ddof=1) / np.sqrt(60)
    assert np.mean(estimates) == pytest.approx(expected, abs=4.5 * error)
    assert 4.5 * error < 0.25 * expected


def test_equal_distributions_give_estimates_about_zero_and_uniform_p():
    rng = np.random.default_rng(1)
    found = [
        discrepancy(first, second, _names(15), _names(15), permutations=99, seed=seed)
        for seed, (first, second) in enumerate(rng.standard_normal((200, 2, 15, 2)))
    ]
    squared = np.array([item.squared for item in found])
    assert squared.mean() == pytest.approx(0.0, abs=4.5 * squared.std() / np.sqrt(200))
    assert (squared < 0).any()
    # Under the null p is uniform on 0.01, 0.02 ... 1; Kolmogorov-Smirnov at a false alarm of 1e-4, plus a step.
    p = np.sort([item.p for item in found])
    distance = np.abs(p - np.arange(1, 201) / 200).max()
    assert distance < stats.kstwo.ppf(1 - 1e-4, 200) + 0.01


def test_sets_that_are_apart_have_the_smallest_p():
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((20, 2)), rng.standard_normal((20, 2)) + 3
    assert discrepancy(first, second, _names(20), _names(20), permutations=199).p == pytest.approx(1 / 200)


def test_the_median_heuristic():
    assert median_distance(np.array([[0.0], [1.0], [5.0]])) == 4.0
    assert median_distance(np.zeros((3, 2))) == 1.0


def test_the_bandwidth_is_the_median_distance_in_both_sets_together():
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((12, 2)), 3 * rng.standard_normal((10, 2))
    width = median_distance(np.concatenate([first, second]))
    chosen, given = (
        discrepancy(first, second, _names(12), _names(10), bandwidth=bandwidth, permutations=1)
        for bandwidth in (None, width)
    )
    assert chosen == given


def test_a_layout_worked_out_by_hand():
    real = np.array([[0.0], [1.0], [2.0], [10.0]])  # radii to the nearest other: 1, 1, 1, 8
    synthetic = np.array([[0.5], [1.5], [30.0]])  # radii 1, 1, 28.5
    scores = manifold_scores(synthetic, real, neighbours=1)
    # 0.5 lies in the balls of 0, 1; 1.5 in those of 1, 2; 30 in none. The ball of 10 reaches 2 to 18.
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.density == pytest.approx(4 / 3)
    assert scores.coverage == pytest.approx(3 / 4)
    # The synthetic ball of 30 reaches down to 1.5, so that 2 and 10 are in it; 0 and 1 are in that of 0.5.
    assert scores.recall == 1.0


def test_equal_distributions_have_density_one_and_the_coverage_of_theory():
    rng = np.random.default_rng(0)
    scores = [manifold_scores(*rng.standard_normal((2, 100, 3))) for _ in range(60)]
    density, coverage = (np.array([getattr(item, name) for item in scores]) for name in ("density", "coverage"))
    # Naeem et al. 2020, eq. 5 and 8: E density = 1; E coverage = 1 - prod_{i<k} (n - 1 - i) / (2n - 1 - i), n = m.
    place = np.arange(5)
    expected = 1 - np.prod((100 - 1 - place) / (200 - 1 - place))
    assert density.mean() == pytest.approx(1.0, abs=4.5 * density.std() / np.sqrt(60))
    assert coverage.mean() == pytest.approx(expected, abs=4.5 * coverage.std() / np.sqrt(60))


def test_one_kind_of_ear_alone_is_precise_and_covers_little():
    rng = np.random.default_rng(1)
    real, synthetic = rng.standard_normal((200, 2)), 0.05 * rng.standard_normal((200, 2))
    scores = manifold_scores(synthetic, real)
    assert scores.precision == 1.0
    assert scores.recall < 0.1
    assert scores.coverage < 0.5


def test_sets_far_apart_score_nothing():
    real = np.random.default_rng(2).standard_normal((20, 2))
    assert manifold_scores(real + 100, real) == (0.0, 0.0, 0.0, 0.0)


def test_equal_distributions_are_not_told_apart_and_p_is_uniform():
    rng = np.random.default_rng(0)
    found = [
        classifier_test(first, second, _names(20), _names(20), permutations=99, seed=seed)
        for seed, (first, second) in enumerate(rng.standard_normal((150, 2, 20, 2)))
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
    names = first_subjects.astype(str).tolist(), second_subjects.astype(str).tolist()
    found = classifier_test(first, second, *names, permutations=1)
    assert found.accuracy < 0.25


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
