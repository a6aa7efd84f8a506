"""Posterior samples of one image's latent by Markov chains, in coordinates in which the posterior is nearly N(0, I).

The potential of a crop curves by 1 in directions that the image says nothing about, and by up to 1e5 in others: one
step size cannot serve both. So chains run on u, z = m + L u, with m the mode and L L^T the inverse of the Hessian of U
there (Laplace's approximation). The map is fixed beforehand, and so it does not change what is sampled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import pandas as pd
import torch
from torch import Tensor

from medlangevin.models import LatentVariableModel
from medlangevin.models.base import repeat_images
from medlangevin.models.laplace import laplace
from medlangevin.samplers import Adaptation, Chains, Kernel, hmc, mala, qsl, sample, standard_normal, ula
from medlangevin.samplers.chain import join
from medlangevin.samplers.diagnostics import from_chains, summary
from medlangevin.samplers.kernel import State
from medlangevin.system.errors import MedlangevinError

KernelName = Literal["hmc", "mala", "qsl", "ula"]
# Above this R-hat, or below this many effective draws, chains should be run longer (Vehtari et al. 2021).
R_HAT_LIMIT, ESS_LIMIT = 1.01, 400
# Draws of each chain between two looks at these.
ROUND = 250
# Chains start wider than the target, so that R-hat can tell chains that have not met.
_OVERDISPERSION = 2.0
# In coordinates of unit scale: first step sizes; leapfrog steps, which at this acceptance add up to about pi / 2, from
# where a trajectory on N(0, I) forgets its start; and for the kernels without a test fixed steps whose error in the
# variance is below about 1 % (QSL, of order t^2) and 1 % (ULA, of order eta), on a Gaussian.
_FIRST_STEP, _LEAPFROG_STEPS, _JITTER, _HMC_ACCEPTANCE, _MALA_ACCEPTANCE = 0.3, 3, 0.2, 0.8, 0.574
_QSL_STEP, _QSL_DAMPING, _ULA_STEP = 0.2, 1.0, 0.02


def sample_posterior(
    model: LatentVariableModel,
    x: Tensor,
    generator: torch.Generator | None = None,
    *,
    kernel: KernelName = "hmc",
    num_chains: int = 4,
    num_draws: int = 2000,
    warmup: int = 100,
    before: Chains[State] | None = None,
    on_round: Callable[[Chains[State]], None] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Chains[State]:
    """Draw from p(z | x) for one image, until the chains have converged. Chains find the surroundings of one mode.

    Args:
        model: The model, in evaluation mode.
        x: The image, (1, C, *spatial).
        generator: The source of all randomness; None means torch's default one.
        kernel: ``hmc`` and ``mala`` are exact, their step size adapted during ``warmup``. ``qsl`` and ``ula`` have no
            test and a small error. Kernel-preconditioned ALD of a single image is MALA on its latent, so it has no name
            of its own here.
        num_chains: At least 1.
        num_draws: Draws to keep of each chain, at least 4 and at most so many: chains stop after a round of 250 draws
            where no latent has an R-hat above 1.01, or fewer than 400 effective draws.
        warmup: Steps of each chain before them, at least 1.
        before: What ``on_round`` was given last, with ``generator`` as it was then: goes on from there.
        on_round: Called after every round with all draws so far.
        on_step: As in ``samplers.sample``, counting over all rounds.

    Returns:
        Chains whose positions, (chains, draws, d), are latents z.

    Raises:
        MedlangevinError: For an unknown kernel, counts that are too small, or a potential without finite curvature.
    """
    if kernel not in get_args(KernelName):
        raise MedlangevinError(f"--kernel {kernel}: it can be {', '.join(get_args(KernelName))}")
    if num_chains < 1 or num_draws < 4 or warmup < 1:
        raise MedlangevinError(
            f"{num_chains} chains, {num_draws} draws, warm-up {warmup}: at least 1 chain, 4 draws and 1 step are needed"
        )
    mean, factor = (values[0] for values in laplace(model, x))
    joint = model.potential(repeat_images(x, num_chains))

    def latent(u: Tensor) -> Tensor:
        return mean + u @ factor.T

    def potential(u: Tensor) -> Tensor:
        return joint(latent(u))

    init, step, adaptation = _kernel(kernel, generator)
    if before is None:
        noise = standard_normal((num_chains, model.latent_dim), like=mean, generator=generator)
        state, done = init(_OVERDISPERSION * noise, potential), 0
        chains: Chains[Any] | None = None
    else:
        chains, state, done = before, before.state, before.positions.shape[1]

    def in_latents(chains: Chains[Any]) -> Chains[State]:
        return chains._replace(positions=latent(chains.positions))

    while chains is None or (done < num_draws and not has_converged(in_latents(chains))):
        draws = min(ROUND, num_draws - done)
        if 0 < num_draws - done - draws < 4:  # diagnostics need as many, and the rest would be too few
            draws = num_draws - done
        started = warmup + done if chains is not None else 0
        bound = step if chains is None or chains.step_size is None else partial(step, step_size=chains.step_size)
        more = sample(
            bound,
            state,
            potential,
            generator,
            num_samples=draws,
            burn_in=warmup if chains is None else 0,
            adaptation=adaptation if chains is None else None,
            on_step=None if on_step is None else _counting_from(started, on_step),
        )
        chains = more if chains is None else join(chains, more)
        state, done = chains.state, chains.positions.shape[1]
        if on_round is not None:
            on_round(chains)
    return in_latents(chains)


def _counting_from(done: int, on_step: Callable[[int], None]) -> Callable[[int], None]:
    return lambda count: on_step(done + count)


def has_converged(chains: Chains[Any]) -> bool:
    """Tell whether chains can be believed.

    Args:
        chains: At least 4 draws of each.

    Returns:
        Whether every dimension has an R-hat of at most 1.01 and 400 effective draws; never of a single chain.
    """
    return is_converged(summary(from_chains(chains)))


def is_converged(table: pd.DataFrame) -> bool:
    """The same of chains whose diagnostics are known.

    Args:
        table: What ``samplers.diagnostics.summary`` gave.

    Returns:
        As ``has_converged``.
    """
    worst, fewest = table["r_hat"].max(skipna=False), table["ess_bulk"].min(skipna=False)
    return bool(worst <= R_HAT_LIMIT and fewest >= ESS_LIMIT)


def state_class(name: KernelName) -> type[Any]:
    """The class of a kernel's state, to read kept chains with.

    Args:
        name: The kernel.

    Returns:
        A NamedTuple.
    """
    return qsl.State if name == "qsl" else hmc.State


def _kernel(name: KernelName, generator: torch.Generator | None) -> tuple[Any, Any, Adaptation | None]:
    """``init``, ``step`` and the adaptation of its step size."""
    match name:
        case "mala":
            return *Kernel(mala.init, mala.step), Adaptation(_FIRST_STEP, _MALA_ACCEPTANCE)
        case "hmc":
            step = partial(hmc.step, num_steps=_LEAPFROG_STEPS, jitter=_JITTER)
            return *Kernel(hmc.init, step), Adaptation(_FIRST_STEP, _HMC_ACCEPTANCE)
        case "qsl":
            damped = partial(qsl.step, step_size=_QSL_STEP, damping=_QSL_DAMPING)
            return *Kernel(partial(qsl.init, generator=generator), damped), None
        case "ula":
            return *Kernel(ula.init, partial(ula.step, step_size=_ULA_STEP)), None
