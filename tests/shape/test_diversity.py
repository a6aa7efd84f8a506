import numpy as np
import pytest

from medlangevin.shape.diversity import choose_pairs, ms_ssim, pair_similarity


@pytest.fixture(scope="module")
def volumes():
    rng = np.random.default_rng(0)
    base = rng.normal(0, 600, (24, 22, 20))
    return [(base + rng.normal(0, size, base.shape)).astype(np.float32) for size in (0, 50, 200, 600)]


def test_a_volume_is_like_itself_and_less_like_others_the_more_they_differ(volumes):
    values = [ms_ssim(volumes[0], other) for other in volumes]
    assert values[0] == pytest.approx(1.0, abs=1e-6)
    assert values[0] > values[1] > values[2] > values[3]
    assert ms_ssim(volumes[3], volumes[0]) == pytest.approx(values[3], abs=1e-6)


def test_constant_volumes_have_the_luminance_term_alone():
    # Structure and contrast are 1; luminance at the last scale, (2 a b + c1) / (a^2 + b^2 + c1) to its weight.
    low, high = np.full((24, 24, 24), -1000 + 0.2 * 3500), np.full((24, 24, 24), -1000 + 0.6 * 3500)
    luminance = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ms_ssim(low.astype(np.float32), high.astype(np.float32)) == pytest.approx(
        luminance ** (0.3001 / 0.6305), abs=1e-3
    )


def test_pairs_are_of_different_subjects_and_each_comes_once():
    assert sorted(choose_pairs(["a", "a", "b", "c"], 50)) == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert len(set(choose_pairs([str(index) for index in range(30)], 40))) == 40


def test_copies_have_no_diversity_and_one_subject_has_no_pairs(volumes):
    alike = pair_similarity(lambda row: volumes[0], ["a", "b", "c"])
    assert alike.mean == pytest.approx(1.0, abs=1e-6)
    assert alike.pairs == 3
    assert pair_similarity(lambda row: volumes[row], ["a", "b", "c"]).mean < 0.99
    assert np.isnan(pair_similarity(lambda row: volumes[row], ["a", "a"]).mean)
    assert np.isnan(pair_similarity(lambda row: volumes[row][: 24 - row], ["a", "b"]).mean)


def test_the_standard_error_is_that_of_the_mean_over_pairs(volumes):
    values = [ms_ssim(volumes[first], volumes[second]) for first, second in ((0, 1), (0, 2), (1, 2))]
    found = pair_similarity(lambda row: volumes[row], ["a", "b", "c"])
    assert found == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1) / np.sqrt(3)), 3)
