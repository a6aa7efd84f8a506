import math

import pytest
import torch

from medlangevin.evaluation.digits import inception_score


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
