import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from medlangevin.evaluation.digits import frechet_distance, inception_score


def draw(count: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def white(count: int, size: int, seed: int) -> Tensor:
    """Samples whose mean is exactly 0 and whose unbiased covariance is exactly I."""
    x = draw(count, size, seed)
    return torch.linalg.qr(x - x.mean(0)).Q * math.sqrt(count - 1)


def test_equal_samples() -> None:
    x = draw(100, 6, 0)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-12)  # the order does not count


def test_shift_alone() -> None:
    x, shift = draw(100, 3, 0) @ draw(3, 3, 1), torch.tensor([1.0, -2.0, 0.5])
    assert frechet_distance(x, x + shift) == pytest.approx(5.25, abs=1e-10)


@pytest.mark.claim("frechet-distance")
def test_diagonal_covariances() -> None:
    # In closed form: the sum of (mu_a - mu_b)^2 + (sd_a - sd_b)^2.
    mu_a, sd_a = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 0.5, 3.0])
    mu_b, sd_b = torch.tensor([1.0, 1.0, -1.0]), torch.tensor([2.0, 0.0, 1.0])
    a, b = white(50, 3, 0) * sd_a + mu_a, white(80, 3, 1) * sd_b + mu_b
    assert frechet_distance(a, b) == pytest.approx(10 + 5.25, abs=1e-10)


@pytest.mark.claim("frechet-distance")
def test_agrees_with_the_matrix_root() -> None:
    a = draw(60, 5, 0) @ draw(5, 5, 1) + 1
    b = draw(40, 5, 2) @ draw(5, 5, 3)
    cov_a, cov_b = (np.cov(x.numpy(), rowvar=False) for x in (a, b))
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)
    rotation = torch.linalg.qr(draw(5, 5, 4)).Q
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(expected, rel=1e-10)


@pytest.mark.claim("frechet-distance")
def test_covariances_without_full_rank() -> None:
    a, b = torch.zeros(30, 8, dtype=torch.float64), torch.zeros(30, 8, dtype=torch.float64)
    a[:, :2], b[:, 2:5] = white(30, 2, 0), white(30, 3, 1)
    # S_a S_b = 0: the distance is the sum of the traces. Turned, so that no zero is exact any more.
    rotation = torch.linalg.qr(draw(8, 8, 2)).Q
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(5, abs=1e-12)
    constant = torch.ones(10, 8)
    assert frechet_distance(constant, constant) == 0
    assert frechet_distance(a, constant) == pytest.approx(8 + 2, abs=1e-12)


def test_fewer_samples_than_features() -> None:
    x = draw(20, 64, 0)
    assert frechet_distance(x, x + 1) == pytest.approx(64, abs=1e-10)
    # Two samples of N(0, I) in 64 dimensions; 0 in truth. With 20 each hardly any direction is shared, so the
    # distance is near the sum of the traces, 128; the expected part of the means alone is 2 * 64 / 20.
    few, many = (frechet_distance(draw(count, 64, 1), draw(count, 64, 2)) for count in (20, 2000))
    assert few > 40
    assert 0 < many < few / 10


def test_single_precision_features_far_from_zero() -> None:
    # With little spread around 1000, sums in single precision would lose the covariance.
    x = (1000 + draw(100, 4, 0)).float()
    assert frechet_distance(x, x * 1) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 1) == pytest.approx(4, abs=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.ones(3), torch.ones(3, 1), "shape"),
        (torch.ones(1, 2), torch.ones(3, 2), "at least 2 images"),
        (torch.ones(3, 2), torch.ones(3, 4), "2 and 4 features"),
        (torch.ones(3, 2), torch.full((3, 2), math.nan), "NaN"),
    ],
)
def test_refuses_what_cannot_be_compared(a: Tensor, b: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


@pytest.mark.claim("inception-score")
def test_images_that_all_look_alike_score_one() -> None:
    p = torch.tensor([0.7, 0.2, 0.1]).expand(50, 3)
    assert inception_score(p, splits=5) == pytest.approx((1, 0), abs=1e-7)
    assert inception_score(torch.eye(3)[torch.zeros(50, dtype=torch.long)], splits=5) == (1, 0)


@pytest.mark.claim("inception-score")
@pytest.mark.parametrize("classes", [2, 10])
def test_sure_and_even_over_the_classes_scores_their_number(classes: int) -> None:
    p = torch.eye(classes).repeat(6, 1)
    assert inception_score(p, splits=3) == pytest.approx((classes, 0), abs=1e-12)


def test_by_hand() -> None:
    # p(y) = (3/4, 1/4). KL = log 4/3 for the first image; 1/2 log 2/3 + 1/2 log 2 = 1/2 log 4/3 for the second.
    p = torch.tensor([[1, 0], [0.5, 0.5]])
    assert inception_score(p, splits=1) == pytest.approx((math.exp(0.75 * math.log(4 / 3)), 0), abs=1e-12)


def test_parts_are_consecutive() -> None:
    p = torch.eye(2)[[0, 1, 0, 0, 1]]  # two images, evenly divided: 2; then three, the last one too: exp(entropy)
    scores = 2, math.exp(2 / 3 * math.log(3 / 2) + 1 / 3 * math.log(3))
    expected = (sum(scores) / 2, (scores[0] - scores[1]) / 2)
    assert inception_score(p, splits=2) == pytest.approx(expected, abs=1e-12)
    assert inception_score(p, splits=5) == (1, 0)


@pytest.mark.claim("inception-score")
@pytest.mark.parametrize("splits", [1, 3])
def test_agrees_with_sums_over_images_and_classes(splits: int) -> None:
    p = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)).square()
    p[3, 1] = 0
    p[:10, 2] = 0  # a class that the first part never has
    p = p / p.sum(1, keepdim=True)
    scores = []
    for part in p.double().chunk(splits):
        marginal = [sum(row) / len(part) for row in part.T.tolist()]
        terms = [q * math.log(q / m) for row in part.tolist() for q, m in zip(row, marginal, strict=True) if q > 0]
        scores.append(math.exp(sum(terms) / len(part)))
    mean = sum(scores) / splits
    sd = math.sqrt(sum((score - mean) ** 2 for score in scores) / splits)
    assert inception_score(p, splits=splits) == pytest.approx((mean, sd), abs=1e-10)


def test_probabilities_too_small_for_their_logarithm() -> None:
    p = torch.tensor([[1.0, 1e-45], [1e-45, 1.0]])  # in float32 the product of two of them is 0
    assert inception_score(p, splits=1) == pytest.approx((2, 0), abs=1e-9)
    assert inception_score(torch.eye(10).half(), splits=1) == pytest.approx((10, 0), abs=1e-9)


@pytest.mark.parametrize(
    ("p", "splits", "message"),
    [
        (torch.ones(3), 1, "shape"),
        (torch.eye(3), 4, "3 images cannot be cut into 4 parts"),
        (torch.eye(3), 0, "cannot be cut"),
        (torch.tensor([[1.5, -0.5]]), 1, "negative"),
        (torch.tensor([[2.0, 1.0]]), 1, "sum to 1"),
        (torch.tensor([[math.nan, 1.0]]), 1, "sum to 1"),
    ],
)
def test_refuses_what_is_no_probability(p: torch.Tensor, splits: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inception_score(p, splits=splits)
