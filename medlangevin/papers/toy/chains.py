"""The chains of the toys: ALD as published, ALD with the kernel as preconditioner, and MALA, in the same form."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from medlangevin.samplers import amortized, kernel_amortized, mala
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.samplers.chain import sample
from medlangevin.samplers.kernel import Kernel, StateT, Step
from medlangevin.samplers.potential import Potential
from medlangevin.system.progress import Track

ENCODER_LAYERS = (128, 128)
NUM_CHAINS = 4
# The acceptance that is optimal for MALA in high dimension (Roberts & Rosenthal 1998).
TARGET_ACCEPTANCE = 0.574


def random_features(x: Tensor, num_features: int, generator: torch.Generator) -> Tensor:
    """Features g(x) of a random ReLU network with layers of 128, 128 and ``num_features``; it is never trained.

    Weights and biases are uniform on +-1/sqrt(inputs), as in ``torch.nn.Linear``. A narrow last layer often has units
    that are 0 for all data points, or a point with no active unit, which no encoder could move. So networks are
    redrawn until no point has all features 0 and the features have the rank min(n, num_features) that the theory
    speaks of.

    Args:
        x: Data points (n, d_x).
        num_features: Units of the last layer.
        generator: Where the network comes from.

    Returns:
        Features (n, num_features). The network's size is that of Taniguchi et al. (2022), Figure 2.
    """
    while True:
        features = x
        for width in (*ENCODER_LAYERS, num_features):
            inputs = features.shape[-1]
            bound = 1 / math.sqrt(inputs)
            weight = (2 * torch.rand(width, inputs, dtype=x.dtype, generator=generator) - 1) * bound
            bias = (2 * torch.rand(width, dtype=x.dtype, generator=generator) - 1) * bound
            features = torch.relu(features @ weight.mT + bias)
        if features.any(-1).all() and int(torch.linalg.matrix_rank(features)) == min(features.shape):
            return features


def kernel_condition(features: Tensor) -> float:
    """Condition number of K = G G^T, the preconditioner of ALD in latent space.

    Args:
        features: Features G (n, d_features).

    Returns:
        The condition number; infinite where n > d_features.
    """
    points, size = features.shape
    return math.inf if points > size else float(torch.linalg.cond(features) ** 2)


class Budget(NamedTuple):
    """How long the chains are.

    Attributes:
        steps: Steps of each chain in all.
        burn_in: The first steps, which are dropped, as in the paper (1,000 of 3,000).
    """

    steps: int
    burn_in: int

    @property
    def draws(self) -> int:
        """The number of draws that are kept of each chain."""
        return self.steps - self.burn_in


class Draws(NamedTuple):
    """What the chains yield.

    Attributes:
        positions: The kept draws (chains, draws, n, d), float64.
        acceptance: The mean acceptance of the kept steps (n,).
        step_size: The step size of the kept steps.
    """

    positions: np.ndarray
    acceptance: np.ndarray
    step_size: float


def run_ald(
    potential: Potential,
    features: Tensor,
    generator: torch.Generator,
    budget: Budget,
    *,
    preconditioned: bool = False,
    **stepping: Any,
) -> Draws:
    """Run amortized Langevin dynamics on an encoder's last layer.

    As published, one decision accepts or rejects the whole set. The latents start with the prior's size, whatever the
    features' size.

    Args:
        potential: The potential of the latents, (..., n, 2) -> (..., n).
        features: Features (n, d_features) of the layers below.
        generator: The noise.
        budget: The length of the chains.
        preconditioned: Kernel ALD: a decision for each data point; it needs at least n features.
        stepping: ``step_size``, or how to find it, and ``on_step``, called with the number of steps done.

    Returns:
        The draws of the latents. Kernel ALD is derived in docs/mathematics.md.
    """
    size = features.square().sum(-1).mean().sqrt()
    shape = (NUM_CHAINS, 2, features.shape[-1])
    weight = torch.randn(shape, dtype=features.dtype, generator=generator) / size
    method: Any = kernel_amortized if preconditioned else amortized
    kernel = Kernel(partial(method.init, features=features), partial(method.step, features=features))
    return _run(kernel, weight, potential, generator, budget, **stepping)


def run_mala(
    potential: Potential, num_points: int, generator: torch.Generator, budget: Budget, **stepping: Any
) -> Draws:
    """Run MALA on each data point's latent, started from the prior N(0, I) in the plane.

    Args:
        potential: The potential of the latents, (..., n, 2) -> (..., n).
        num_points: The number n of data points.
        generator: The starts and the noise.
        budget: The length of the chains.
        stepping: ``step_size``, or how to find it, and ``on_step``, called with the number of steps done.

    Returns:
        The draws of the latents.
    """
    start = torch.randn(NUM_CHAINS, num_points, 2, dtype=torch.float64, generator=generator)
    return _run(Kernel(mala.init, mala.step), start, potential, generator, budget, **stepping)


def _run(
    kernel: Kernel[StateT],
    start: Tensor,
    potential: Potential,
    generator: torch.Generator,
    budget: Budget,
    *,
    step_size: float | Adaptation,
    on_step: Callable[[int], None] | None = None,
) -> Draws:
    adaptation = step_size if isinstance(step_size, Adaptation) else None
    step: Step[StateT] = kernel.step if adaptation else partial(kernel.step, step_size=step_size)
    state = kernel.init(start, potential)
    run = partial(sample, num_samples=budget.draws, burn_in=budget.burn_in, adaptation=adaptation, on_step=on_step)
    chains = run(step, state, potential, generator)
    acceptance = torch.as_tensor(chains.acceptance).mean(dim=(0, 1))
    positions = chains.positions.numpy()
    used = step_size if chains.step_size is None else chains.step_size
    return Draws(positions, acceptance.expand(positions.shape[2]).numpy(), float(torch.as_tensor(used)))


def reporter(track: Track, before: int, note: str) -> Callable[[int], None]:
    """Report the progress of one chain among several.

    Args:
        track: The progress of all.
        before: The steps that the chains before have done.
        note: What is being done.

    Returns:
        What the chain calls after each of its steps.
    """
    return lambda done: track.advance(before + done, note)
