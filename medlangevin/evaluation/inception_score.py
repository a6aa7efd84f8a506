"""Inception Score: how sure a classifier is of each generated image, and how even the classes are over all of them."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

SUM_TOLERANCE = 1e-3  # of a row's sum; half precision stays within it, logits do not


class InceptionScore(NamedTuple):
    """Mean and (population) standard deviation of the score over the parts."""

    mean: float
    standard_deviation: float


def inception_score(probabilities: Tensor, *, splits: int = 10) -> InceptionScore:
    """exp(E_x KL(p(y|x) || p(y))), between 1 and the number of classes (Salimans et al. 2016, Sec. 4), in float64.

    ``probabilities``: p(y|x) of N images (N, classes), rows that sum to 1; zeros are exact (0 log 0 = 0). As in the
    literature the images are cut into ``splits`` consecutive parts, p(y) is the mean of p(y|x) over a part, and the
    mean and the standard deviation (divisor ``splits``) over the parts are given. A part of few images scores too low,
    as its own p(y) is closest to it: compare scores at equal N and ``splits`` alone.
    Raises ValueError for anything that is not such a matrix or has fewer than ``splits`` rows.
    """
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities have shape {tuple(probabilities.shape)}, expected (images, classes)")
    count = len(probabilities)
    if not 1 <= splits <= count:
        raise ValueError(f"{count} images cannot be cut into {splits} parts")
    p = probabilities.detach().double()
    if not bool((p >= 0).all()) or not bool(((p.sum(1) - 1).abs() < SUM_TOLERANCE).all()):  # NaN fails both
        raise ValueError("probabilities must not be negative and have to sum to 1 in every row")
    bounds = [part * count // splits for part in range(splits + 1)]
    scores = torch.stack([_score(p[start:end]) for start, end in pairwise(bounds)])
    return InceptionScore(float(scores.mean()), float(scores.std(correction=0)))


def _score(p: Tensor) -> Tensor:
    divergence = torch.special.xlogy(p, p) - torch.special.xlogy(p, p.mean(0))
    return divergence.sum(1).mean().exp()
