"""Posterior samples of one image's latent by Markov chains, in coordinates in which the posterior is nearly N(0, I).

The potential of a crop curves by 1 in directions that the image says nothing about, and by up to 1e5 in others: one
step size cannot serve both. So chains run on u, z = m + L u, with m the mode and L L^T the inverse of the Hessian of U
there (Laplace's approximation). The map is fixed beforehand, and so it does not change what is sampled.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from medlangevin.models import LatentVariableModel
from medlangevin.models.base import repeat_images
from medlangevin.models.laplace import laplace
from medlangevin.samplers import Adaptation, Chains, Kernel, hmc, mala, qsl, sample, standard_normal, ula
from medlangevin.samplers.kernel import State, StateT
from medlangevin.system.errors import MedlangevinError

KernelName = Literal["mala", "hmc", "qsl", "ula"]
# Chains start wider than the target, so that R-hat can tell chains that have not met.
_OVERDISPERSION = 2.0
# In coordinates of unit scale: first step sizes, leapfrog steps, and for the kernels without a test fixed ones whose
# error in the variance is below about 1 % (QSL, of order t^2) and 1 % (ULA, of order eta), on a Gaussian.
_FIRST_STEP, _LEAPFROG_STEPS, _QSL_STEP, _QSL_DAMPING, _ULA_STEP = 0.3, 5, 0.2, 1.0, 0.02


def sample_posterior(
    model: LatentVariableModel,
    x: Tensor,
    generator: torch.Generator | None = None,
    *,
    kernel: KernelName = "mala",
    num_chains: int = 4,
    num_draws: int = 500,
    warmup: int = 200,
    on_step: Callable[[int], None] | None = None,
) -> Chains[State]:
    """Draw from p(z | x) for one image. Chains find the surroundings of one mode.

    Args:
        model: The model, in evaluation mode.
        x: The image, (1, C, *spatial).
        generator: The source of all randomness; None means torch's default one.
        kernel: ``mala`` and ``hmc`` are exact, their step size adapted during ``warmup``. ``qsl`` and ``ula`` have no
            test and a small error. Kernel-preconditioned ALD of a single image is MALA on its latent, so it has no name
            of its own here.
        num_chains: At least 1.
        num_draws: Draws to keep of each chain, at least 4.
        warmup: Steps of each chain before them, at least 1.
        on_step: As in ``samplers.sample``.

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

    noise = standard_normal((num_chains, model.latent_dim), like=mean, generator=generator)

    def run(kernel: Kernel[StateT], adaptation: Adaptation | None = None) -> Chains[State]:
        chains = sample(
            kernel.step,
            kernel.init(_OVERDISPERSION * noise, potential),
            potential,
            generator,
            num_samples=num_draws,
            burn_in=warmup,
            adaptation=adaptation,
            on_step=on_step,
        )
        return chains._replace(positions=latent(chains.positions))

    match kernel:
        case "mala":
            return run(Kernel(mala.init, mala.step), Adaptation(_FIRST_STEP, 0.574))
        case "hmc":
            return run(Kernel(hmc.init, partial(hmc.step, num_steps=_LEAPFROG_STEPS)), Adaptation(_FIRST_STEP, 0.65))
        case "qsl":
            step = partial(qsl.step, step_size=_QSL_STEP, damping=_QSL_DAMPING)
            return run(Kernel(partial(qsl.init, generator=generator), step))
        case "ula":
            return run(Kernel(ula.init, partial(ula.step, step_size=_ULA_STEP)))
