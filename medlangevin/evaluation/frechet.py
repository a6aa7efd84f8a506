"""Fréchet distance between two sets of features, each taken as a Gaussian."""

import torch
from torch import Tensor


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """|mu_a - mu_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of (N, F) and (M, F) features (Heusel et al. 2017, Eq. 6).

    Computed in float64; S are the unbiased covariances, as in the published code. With the features of Inception-v3
    this is the FID; with those of another network the figures are of another size and compare among themselves alone.

    The estimate is biased upwards, the more so the fewer samples there are: two samples of one distribution are never
    at distance 0. Compare at equal N and M alone. Fewer samples than features work, but then this bias is most of
    the distance. Raises ValueError when the shapes do not fit, a set has one sample only or a value is not finite.
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
