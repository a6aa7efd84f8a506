"""A Gaussian toy whose posteriors are known in closed form: z ~ N(0, I), x | z ~ N(z, S), both in the plane.

After Taniguchi et al. (2022), Figure 2, with observations of our own. Their printed covariance [[0.7, 0.6],
[0.7, 0.8]] is not symmetric, hence no covariance; S is [[0.7, 0.6], [0.6, 0.8]] (docs/mathematics.md).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential

COVARIANCE = ((0.7, 0.6), (0.6, 0.8))
# Three observations that the model could well have made, apart from one another so that the panels can be read.
OBSERVATIONS = ((-1.7, -1.2), (-0.3, 1.6), (1.9, 0.2))


class GaussianToy(NamedTuple):
    """``observations`` x (n, 2) float64; ``potential`` (..., n, 2) -> (..., n), U = -log p(x, z) but for a constant.

    The truth: posteriors N(``means`` (n, 2), ``covariance`` (2, 2)), the same covariance for all points.
    """

    observations: Tensor
    potential: Potential
    means: Tensor
    covariance: Tensor


def gaussian_toy() -> GaussianToy:
    """The toy, on the CPU in float64."""
    x = torch.tensor(OBSERVATIONS, dtype=torch.float64)
    precision = torch.linalg.inv(torch.tensor(COVARIANCE, dtype=torch.float64))
    covariance = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + precision)

    def potential(z: Tensor) -> Tensor:
        residual = x - z
        return 0.5 * ((residual @ precision) * residual).sum(-1) + 0.5 * z.square().sum(-1)

    return GaussianToy(x, potential, x @ precision @ covariance, covariance)
