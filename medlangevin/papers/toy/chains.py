"""The chains of the toys: ALD as published, ALD with the kernel as preconditioner, and MALA, in the same form."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medlangevin.samplers import amortized, kernel_amortized, mala
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.samplers.chain import sample
from medlangevin.samplers.kernel import Kernel, StateT, Step
from medlangevin.samplers.potential import Potential

NUM_CHAINS = 4
# The acceptance that is optimal for MALA in high dimension (Roberts & Rosenthal 1998).
TARGET_ACCEPTANCE = 0.574


class Budget(NamedTuple):
    """``steps`` of each chain in all; the first ``burn_in`` are dropped, as in the paper (1,000 of 3,000)."""

    steps: int
    burn_in: int

    @property
    def draws(self) -> int:
        """What is kept of each chain."""
        return self.steps - self.burn_in


class Draws(NamedTuple):
    """``positions`` (chains, draws, n, d) float64; ``acceptance`` (n,), the mean of the kept steps; ``step_size``."""

    positions: np.ndarray
    acceptance: np.ndarray
    step_size: float


def run_ald(
    potential: Potential,
    features: Tensor,
    generator: torch.Generator,
    budget: Budget,
    *,
    step_size: float | Adaptation,
    preconditioned: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> Draws:
    """Amortized Langevin dynamics on an encoder's last layer, over ``features`` (n, d_features) of the layers below.

    As published: one decision for the whole set. ``preconditioned``: kernel ALD (docs/mathematics.md), a decision for
    each data point, at least n features. The latents start with the prior's size, whatever the features' size.
    """
    size = features.square().sum(-1).mean().sqrt()
    shape = (NUM_CHAINS, 2, features.shape[-1])
    weight = torch.randn(shape, dtype=features.dtype, generator=generator) / size
    if preconditioned:
        following = Kernel(
            partial(kernel_amortized.init, features=features), partial(kernel_amortized.step, features=features)
        )
        return _run(following, weight, potential, generator, budget, step_size, on_step)
    published = Kernel(partial(amortized.init, features=features), partial(amortized.step, features=features))
    return _run(published, weight, potential, generator, budget, step_size, on_step)


def run_mala(
    potential: Potential,
    num_points: int,
    generator: torch.Generator,
    budget: Budget,
    *,
    step_size: float | Adaptation,
    on_step: Callable[[int], None] | None = None,
) -> Draws:
    """MALA on each data point's latent, started from the prior N(0, I) in the plane."""
    start = torch.randn(NUM_CHAINS, num_points, 2, dtype=torch.float64, generator=generator)
    return _run(Kernel(mala.init, mala.step), start, potential, generator, budget, step_size, on_step)


def _run(
    kernel: Kernel[StateT],
    start: Tensor,
    potential: Potential,
    generator: torch.Generator,
    budget: Budget,
    step_size: float | Adaptation,
    on_step: Callable[[int], None] | None,
) -> Draws:
    adaptation = step_size if isinstance(step_size, Adaptation) else None
    step: Step[StateT] = kernel.step if adaptation else partial(kernel.step, step_size=step_size)
    chains = sample(
        step,
        kernel.init(start, potential),
        potential,
        generator,
        num_samples=budget.draws,
        burn_in=budget.burn_in,
        adaptation=adaptation,
        on_step=on_step,
    )
    acceptance = torch.as_tensor(chains.acceptance).mean(dim=(0, 1))
    positions = chains.positions.numpy()
    used = step_size if chains.step_size is None else chains.step_size
    return Draws(positions, acceptance.expand(positions.shape[2]).numpy(), float(torch.as_tensor(used)))
