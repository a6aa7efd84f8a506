"""log p(x) of a decoder, whatever the encoder: annealed importance sampling from the prior (Wu et al. 2017)."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medlangevin.models.base import LatentVariableModel, draws_at_once, repeat_images, standard_normal_log_prob
from medlangevin.samplers import Potential, annealed_importance, standard_normal
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.progress import progress

# Chains of the preliminary run that chooses temperatures and step sizes (fewer where memory is short, at least 2).
PLANNING_CHAINS = 8
# Short trajectories and many temperatures: for the same gradients, 5 steps left 2 to 4 times the gap that 2 steps did.
LEAPFROG_STEPS = 2
DEFAULT_TEMPERATURES, DEFAULT_CHAINS = 500, 16
# What is told of each image: the NLL in nats, and of its chains the effective number and the mean acceptance.
ANNEALED = ("nll_ais", "ais_effective_sample_size", "ais_acceptance")


class DecoderLikelihood(NamedTuple):
    """What annealing finds of each image (N,).

    Attributes:
        log_likelihood: log p(x) in nats, float64.
        effective_sample_size: Of the weights, from 1 to the number of chains.
        acceptance: Mean acceptance of the HMC moves.
        num_gradients: Of the decoder, per image, planning too.
    """

    log_likelihood: Tensor
    effective_sample_size: Tensor
    acceptance: Tensor
    num_gradients: int


def decoder_log_likelihood(
    model: LatentVariableModel,
    x: Tensor,
    generator: torch.Generator | None = None,
    *,
    num_chains: int,
    num_temperatures: int,
    on_step: Callable[[int, int], None] | None = None,
) -> DecoderLikelihood:
    """Annealed importance sampling of each image: log-mean-exp over chains.

    Chains start in the prior N(0, I) and move by HMC towards p(z | x); the encoder is not used. The mean weight is
    unbiased for p(x), so the estimate is too low on average, by less the more temperatures and chains. Images that fit
    into memory together share temperatures and step sizes; pass them one at a time to have them chosen for each.

    Args:
        model: The model whose decoder, likelihood and prior count.
        x: Images (N, C, *spatial).
        generator: Of all noise.
        num_chains: Chains of each image.
        num_temperatures: Temperatures between prior and posterior.
        on_step: ``on_step(done, total)`` after every move of the chains that run together, counting over all of ``x``.

    Returns:
        log p(x) and how well the chains did (Wu et al. 2017).

    Raises:
        MedlangevinError: Fewer than 1 chain or temperature, or log p(x) comes out NaN or infinite.
    """
    if num_chains < 1 or num_temperatures < 1:
        raise MedlangevinError(f"{num_chains} chains, {num_temperatures} temperatures: at least 1 of both is needed")
    at_once = min(num_chains, draws_at_once(x[:1]))
    planning_chains = max(2, min(PLANNING_CHAINS, draws_at_once(x[:1])))
    room = max(1, draws_at_once(x[:1]) // max(num_chains, planning_chains))
    total = (num_temperatures - 1) * math.ceil(len(x) / room) * math.ceil(num_chains / at_once)
    log_weights, acceptances, num_gradients, moved = [], [], 0, 0
    for images in x.split(room):
        energy = _energy(model, images)
        shape = (len(images), model.latent_dim)
        start = standard_normal((planning_chains, *shape), like=x, generator=generator)
        steps = {"num_leapfrog_steps": LEAPFROG_STEPS}
        planned = annealed_importance.plan(start, _prior, energy, generator, num_temperatures=num_temperatures, **steps)
        num_gradients = max(num_gradients, planning_chains * planned.num_gradients)
        results = []
        for first in range(0, num_chains, at_once):
            count = min(at_once, num_chains - first)

            def count_on(done: int, before: int = moved) -> None:
                if on_step is not None:
                    on_step(before + done, total)

            start = standard_normal((count, *shape), like=x, generator=generator)
            path: dict[str, Any] = {"fractions": planned.fractions, "step_sizes": planned.step_sizes, **steps}
            sample = annealed_importance.annealed_importance_sampling
            results.append(sample(start, _prior, energy, generator, **path, on_step=count_on))
            moved += num_temperatures - 1
        log_weights.append(torch.cat([result.log_weight for result in results]))
        acceptances.append(torch.cat([result.acceptance for result in results]).mean(0))
    log_weight = torch.cat(log_weights, dim=1)
    if not log_weight.isfinite().any(0).all():
        raise MedlangevinError(
            "annealed importance sampling: an image has no chain of finite weight; train the model again"
        )
    return DecoderLikelihood(
        annealed_importance.log_mean_exp(log_weight),
        annealed_importance.effective_sample_size(log_weight),
        torch.cat(acceptances),
        num_gradients + num_chains * results[0].num_gradients,
    )


def annealed_figures(
    model: LatentVariableModel,
    batches: Iterable[tuple[Tensor, torch.Generator]],
    count: int,
    label: str,
    *,
    chains: int,
    temperatures: int,
) -> dict[str, Tensor]:
    """The decoder's NLL of batches of images, and how well its chains did.

    Args:
        model: The model.
        batches: Images (N, C, *spatial) and the noise for them.
        count: How many batches there are.
        label: What the progress calls a temperature.
        chains: Chains of each image.
        temperatures: Temperatures between prior and posterior.

    Returns:
        What ``ANNEALED`` names, each of all images, on the CPU.

    Raises:
        MedlangevinError: As for ``decoder_log_likelihood``.
    """
    found = []
    with progress(count * temperatures, label) as track:
        for position, (x, noise) in enumerate(batches):

            def on_step(done: int, total: int, before: int = position * temperatures) -> None:
                track.advance(before + 1 + done * (temperatures - 1) // total)

            named = {"num_chains": chains, "num_temperatures": temperatures}
            found.append(decoder_log_likelihood(model, x, noise, **named, on_step=on_step))
    columns = zip(*((-one.log_likelihood, one.effective_sample_size, one.acceptance) for one in found), strict=True)
    return {name: torch.cat(parts).cpu() for name, parts in zip(ANNEALED, columns, strict=True)}


def _prior(z: Tensor) -> Tensor:
    return -standard_normal_log_prob(z)


def _energy(model: LatentVariableModel, images: Tensor) -> Potential:
    """-log p(x | z) of z (chains, N, d): (chains, N) float64, in nats."""

    def energy(z: Tensor) -> Tensor:
        repeated = repeat_images(images, len(z))
        log_prob = model.likelihood.log_prob(repeated, model.decoder(z.flatten(0, 1)))
        return -log_prob.unflatten(0, tuple(z.shape[:2]))

    return energy
