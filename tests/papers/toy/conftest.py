"""A toy with a linear decoder: posterior and evidence are known in closed form."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from medlangevin.papers.toy.neural import NOISE_SCALE, NeuralToy, neural_toy_of

MIXING = torch.tensor([[1.0, 0.6], [-0.2, 0.5]], dtype=torch.float64)


class LinearToy(NamedTuple):
    toy: NeuralToy
    means: Tensor
    covariance: Tensor
    log_evidence: Tensor


@pytest.fixture(scope="module")
def linear() -> LinearToy:
    """x | z ~ N(M z, s^2 I) for two observations."""
    x = torch.tensor([[0.5, -0.4], [-1.0, 0.3]], dtype=torch.float64)
    identity = torch.eye(2, dtype=torch.float64)
    covariance = torch.linalg.inv(identity + MIXING.T @ MIXING / NOISE_SCALE**2)
    marginal = MIXING @ MIXING.T + NOISE_SCALE**2 * identity
    squares = (x @ torch.linalg.inv(marginal) * x).sum(-1)
    log_evidence = -0.5 * (squares + torch.logdet(marginal)) - math.log(2 * math.pi)
    return LinearToy(
        neural_toy_of(lambda z: z @ MIXING.T, x), x @ MIXING @ covariance / NOISE_SCALE**2, covariance, log_evidence
    )
