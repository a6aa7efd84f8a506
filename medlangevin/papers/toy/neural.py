"""A toy with a neural likelihood: z ~ N(0, I), x | z ~ N(f(z), sigma^2 I) in the plane, f a fixed random network.

After Taniguchi et al. (2022), Figure 3, with a network, a noise scale and observations of our own. Weights and
observations, drawn from the model, come from a fixed seed, so that the truth is the same in every run.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential

NOISE_SCALE = 0.5
# Chosen among the first twenty: posteriors of three different shapes, none Gaussian, none with a far mode that a chain
# of 3,000 steps would not find.
NETWORK_SEED = 6
NUM_OBSERVATIONS = 3
HIDDEN_LAYERS = (128, 128, 128)
BIAS_SCALE = 0.3


class NeuralToy(NamedTuple):
    """``observations`` x (n, 2) float64; ``log_joint`` (..., n, 2) -> (..., n), log p(x, z) in nats.

    ``log_likelihood_bound``: the largest value that log p(x | z) can take.
    """

    observations: Tensor
    log_joint: Potential
    log_likelihood_bound: float


def neural_toy() -> NeuralToy:
    """The toy, on the CPU in float64."""
    generator = torch.Generator().manual_seed(NETWORK_SEED)
    layers = _random_layers((2, *HIDDEN_LAYERS, 2), generator)
    z = torch.randn(NUM_OBSERVATIONS, 2, dtype=torch.float64, generator=generator)
    noise = torch.randn(NUM_OBSERVATIONS, 2, dtype=torch.float64, generator=generator)
    return neural_toy_of(lambda z: _forward(layers, z), _forward(layers, z) + NOISE_SCALE * noise)


def neural_toy_of(decoder: Potential, observations: Tensor) -> NeuralToy:
    """The same toy for another ``decoder`` (..., 2) -> (..., 2) and other ``observations`` (n, 2)."""
    bound = -math.log(2 * math.pi * NOISE_SCALE**2)

    def log_joint(z: Tensor) -> Tensor:
        residual = (observations - decoder(z)) / NOISE_SCALE
        log_prior = -0.5 * z.square().sum(-1) - math.log(2 * math.pi)
        return bound - 0.5 * residual.square().sum(-1) + log_prior

    return NeuralToy(observations, log_joint, bound)


def _random_layers(sizes: tuple[int, ...], generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """He's normal weights, which keep the signal's size through ReLUs, and small biases, so that kinks lie anywhere."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        weight = torch.randn(outputs, inputs, dtype=torch.float64, generator=generator) * math.sqrt(2 / inputs)
        bias = torch.randn(outputs, dtype=torch.float64, generator=generator) * BIAS_SCALE
        layers.append((weight, bias))
    return layers


def _forward(layers: list[tuple[Tensor, Tensor]], z: Tensor) -> Tensor:
    for number, (weight, bias) in enumerate(layers):
        z = (torch.relu(z) if number else z) @ weight.mT + bias
    return z
