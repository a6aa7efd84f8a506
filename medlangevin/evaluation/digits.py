"""What a model trained on handwritten digits generates, judged by a digit classifier."""

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from medlangevin.datasets.images import data_root, load_images
from medlangevin.evaluation.digit_classifier import SHAPE, load_or_train
from medlangevin.evaluation.figure import Figure
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError

_PARTS = 10
_SUM_TOLERANCE = 1e-3  # of a row's sum of probabilities; half precision stays within it, logits do not


def require_digits(image_shape: tuple[int, ...], owner: str) -> None:
    """Refuse images that have not the size of MNIST's.

    Args:
        image_shape: Shape of the images.
        owner: Whose they are, for the error.

    Raises:
        MedlangevinError: The size is another one.
    """
    if tuple(image_shape) != SHAPE:
        raise MedlangevinError(
            f"Inception Score and FID are for digits of 1 x 28 x 28; {owner} has images of "
            f"{' x '.join(map(str, image_shape))}; leave inception out"
        )


def score_digits(run: Run, count: int, *, seed: int, cache: Path) -> dict[str, Figure]:
    """Score mean images that a run generates.

    The Frechet distance is to the grey test images of MNIST, which lie in the same data root as the run's set, in the
    classifier's features, and also where the run's own images are binarised.

    Args:
        run: The run.
        count: How many images to generate.
        seed: Of the images.
        cache: Folder that keeps the classifier between calls.

    Returns:
        ``inception_score``, over ten parts of the images, with its standard error over the parts, and ``fid``, the
        Frechet distance, which has none.

    Raises:
        MedlangevinError: The run's images are of another size, or MNIST is missing.
    """
    require_digits(run.image_shape, f"run {run.directory}")
    root = data_root(run.config.images.root if run.config.images is not None else None)
    test = load_images("mnist", root).split("test").float() / 255
    classifier = load_or_train(cache, root)
    device = run.device
    generated = run.model.sample(count, generator(seed, "generated", device=device)).float().cpu()
    mean, deviation = inception_score(classifier.probabilities(generated), splits=_PARTS)
    distance = frechet_distance(classifier.features(generated), classifier.features(test))
    # The spread over parts is divided by their number, not by one less.
    error = deviation / math.sqrt(_PARTS - 1)
    return {"inception_score": Figure(mean, error, count), "fid": Figure(distance, None, count)}


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """|mu_a - mu_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of two sets of features.

    Computed in float64; S are the unbiased covariances, as in the published code. With the features of Inception-v3
    this is the FID; with those of another network the figures are of another size and compare among themselves alone.

    The estimate is biased upwards, the more so the fewer samples there are: two samples of one distribution are never
    at distance 0. Compare at equal N and M alone. Fewer samples than features work, but then this bias is most of the
    distance.

    Args:
        features_a: Features (N, F).
        features_b: Features (M, F).

    Returns:
        The distance (Heusel et al. 2017, Eq. 6).

    Raises:
        ValueError: The shapes do not fit, a set has one sample only, or a value is NaN or infinite.
    """
    a, b = (_checked(features) for features in (features_a, features_b))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} features per image cannot be compared")
    shift = (a.mean(0) - b.mean(0)).square().sum()
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    # S_a = R_a' R_a, so S_a S_b has the non-zero eigenvalues of (R_a R_b')(R_a R_b')': the trace of its root is the sum
    # of the singular values of R_a R_b'. No covariance is formed and no root of a rounding error taken, which would
    # add about 1e-8 for each direction without variance.
    overlap = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = shift + root_a.square().sum() + root_b.square().sum() - 2 * overlap
    return max(0.0, float(distance))  # rounding can take an exact 0 below it


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2 or features.shape[1] < 1:
        raise ValueError(f"features have shape {tuple(features.shape)}, expected (at least 2 images, features)")
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features hold NaN or infinite values")
    return features.detach().double()


def _covariance_root(features: Tensor) -> Tensor:
    """R (min(N, F), F), upper triangular, with R' R the unbiased covariance of ``features`` (N, F)."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R


def inception_score(probabilities: Tensor, *, splits: int = 10) -> tuple[float, float]:
    """exp(E_x KL(p(y|x) || p(y))), between 1 and the number of classes, in float64.

    As in the literature the images are cut into consecutive parts, and p(y) is the mean of p(y|x) over a part. A part
    of few images scores too low, as its own p(y) is closest to it: compare scores at equal N and ``splits`` alone.

    Args:
        probabilities: p(y|x) of N images (N, classes), rows that sum to 1; zeros are exact (0 log 0 = 0).
        splits: How many parts.

    Returns:
        Mean and standard deviation (divisor ``splits``) over the parts (Salimans et al. 2016, Sec. 4).

    Raises:
        ValueError: It is not such a matrix, or has fewer than ``splits`` rows.
    """
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities have shape {tuple(probabilities.shape)}, expected (images, classes)")
    count = len(probabilities)
    if not 1 <= splits <= count:
        raise ValueError(f"{count} images cannot be cut into {splits} parts")
    p = probabilities.detach().double()
    if not bool((p >= 0).all()) or not bool(((p.sum(1) - 1).abs() < _SUM_TOLERANCE).all()):  # NaN fails both
        raise ValueError("probabilities must not be negative and have to sum to 1 in every row")
    bounds = [part * count // splits for part in range(splits + 1)]
    scores = torch.stack([_score(p[start:end]) for start, end in pairwise(bounds)])
    return float(scores.mean()), float(scores.std(correction=0))


def _score(p: Tensor) -> Tensor:
    divergence = torch.special.xlogy(p, p) - torch.special.xlogy(p, p.mean(0))
    return divergence.sum(1).mean().exp()
