"""The toy encoders' feature networks: random, never trained."""

import math

import torch
from torch import Tensor

HIDDEN_LAYERS = (128, 128)


def random_features(x: Tensor, num_features: int, generator: torch.Generator) -> Tensor:
    """g(x) of a random ReLU network with layers of 128, 128 and ``num_features``; x (n, d_x) -> (n, num_features).

    The size is that of Taniguchi et al. (2022), Figure 2; weights and biases are uniform on +-1/sqrt(inputs), as in
    ``torch.nn.Linear``. A narrow last layer often has units that are 0 for all data points, or a point with no
    active unit, which no encoder could move: networks are redrawn until no point has all features 0 and the features
    have the rank min(n, num_features) that the theory speaks of.
    """
    while True:
        features = x
        for width in (*HIDDEN_LAYERS, num_features):
            inputs = features.shape[-1]
            bound = 1 / math.sqrt(inputs)
            weight = (2 * torch.rand(width, inputs, dtype=x.dtype, generator=generator) - 1) * bound
            bias = (2 * torch.rand(width, dtype=x.dtype, generator=generator) - 1) * bound
            features = torch.relu(features @ weight.mT + bias)
        if features.any(-1).all() and int(torch.linalg.matrix_rank(features)) == min(features.shape):
            return features


def kernel_condition(features: Tensor) -> float:
    """Condition number of K = G G^T, the preconditioner of ALD in latent space; infinite where n > d_features."""
    points, size = features.shape
    if points > size:
        return math.inf
    return float(torch.linalg.cond(features) ** 2)
