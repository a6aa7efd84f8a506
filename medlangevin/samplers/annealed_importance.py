"""Annealed importance sampling (AIS): an integral of exp(-U) from draws of a known density, by HMC along a path.

Neal 2001, Annealed importance sampling; with HMC for decoders, Wu et al. 2017, On the quantitative analysis of
decoder-based generative models; run backwards, Grosse et al. 2015, Sandwiching the marginal likelihood.

The path is U_b = ``initial`` + b ``energy``, b from 0 to 1: for a decoder, minus the log prior and -log p(x | z). Its
temperatures and step sizes come from a preliminary run on other chains (``plan``) and are frozen then: chosen from
the weighted chains themselves they would make the weights biased.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import hmc
from medlangevin.samplers.metropolis import choose
from medlangevin.samplers.potential import Evaluation, Potential, evaluate
from medlangevin.system.errors import MedlangevinError

# Each chain's step size at each move is drawn from (1 +- this) times the stage's: near-periodic trajectories bring some
# chains back to where they were (Neal 2011, section 5.4.2), and without it gaps of tens of nats were seen.
_STEP_SIZE_JITTER = 0.5
# The preliminary run: a temperature step changes the log weights of its chains by about this standard deviation, or b
# by this share where that is more (chains stuck in several modes would ask for ever smaller steps) ...
_NATS_PER_STAGE, _LEAST_GROWTH = 1.0, 0.05
# ... and a few moves, each changing log step by gain x (acceptance - target), let chains and step size follow.
_MOVES_PER_STAGE, _GAIN, _TARGET_ACCEPTANCE, _FIRST_STEP_SIZE = 5, 0.5, 0.65, 0.5


class TemperatureSchedule(NamedTuple):
    """A path, planned by a preliminary run.

    Attributes:
        fractions: b_k, 0 < b_1 < ... < b_K = 1, (K,) float64.
        step_sizes: The HMC step size at all but the last, (K - 1,) float64.
        num_gradients: Gradients of the energy that each of the preliminary chains took.
    """

    fractions: Tensor
    step_sizes: Tensor
    num_gradients: int


class Annealed(NamedTuple):
    """The chains at the end of the path.

    Attributes:
        position: (chains, ..., d).
        log_weight: (chains, ...) float64.
        acceptance: The mean acceptance probability of the moves, (chains, ...).
        num_gradients: Gradients of the energy that each chain took.
    """

    position: Tensor
    log_weight: Tensor
    acceptance: Tensor
    num_gradients: int


def annealed_importance_sampling(
    position: Tensor,
    initial: Potential,
    energy: Potential,
    generator: torch.Generator | None = None,
    *,
    fractions: Tensor,
    step_sizes: float | Tensor,
    num_leapfrog_steps: int,
    reverse: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> Annealed:
    """Weigh and move draws of exp(-``initial``), a normalised density, through the temperatures of a path.

    log_weight = - sum_k (b_k - b_{k-1}) energy(z_{k-1}), b_0 = 0: z_0 is ``position``, and z_k comes from z_{k-1} by
    one HMC move that leaves exp(-U_{b_k}) invariant. exp(log_weight) is unbiased for the integral of
    exp(-initial - energy), however badly the chains mix, so its logarithm is too low on average.

    Args:
        position: Draws of exp(-``initial``), (chains, ..., d).
        initial: The potential at b = 0, in nats.
        energy: What is added to it along the path, in nats.
        generator: The source of all randomness; None means torch's default one.
        fractions: b_k (K,), rising from above 0 to 1.
        step_sizes: A scalar or (K - 1,), for the moves at b_1 ... b_{K-1}; a chain takes 0.5 to 1.5 times that, at
            random. Neither they nor ``fractions`` may be chosen from these chains.
        num_leapfrog_steps: L of a move. Each chain takes 1 + (K - 1) L gradients of the energy.
        reverse: Run the path backwards; ``position`` are then exact draws of the density at b = 1. exp(-log_weight) is
            unbiased for one over the integral, and log_weight too high on average.
        on_step: Called as ``on_step(done)`` after every move.

    Returns:
        The chains at the end of the path, and their weights.

    Raises:
        MedlangevinError: For fractions that do not rise from above 0 to 1.
    """
    path = torch.cat([torch.zeros(1, dtype=torch.float64), fractions.detach().double().cpu()])
    if len(path) < 2 or path[-1] != 1 or not (path.diff() > 0).all():
        raise MedlangevinError("annealed importance sampling: fractions must rise from above 0 to exactly 1")
    increments, stages = path.diff(), path[1:-1]
    steps = torch.as_tensor(step_sizes, dtype=torch.float64).cpu().expand(len(stages))
    if reverse:
        increments, stages, steps = increments.flip(0), stages.flip(0), steps.flip(0)
    position = position.detach()
    here = evaluate(energy, position)
    log_weight = -increments[0].item() * here.value.double()
    acceptance = torch.zeros_like(log_weight)
    moves = zip(increments[1:].tolist(), stages.tolist(), steps.tolist(), strict=True)
    for done, (increment, fraction, step_size) in enumerate(moves, start=1):
        position, here, probability = _move(
            position, here, initial, energy, generator, fraction, step_size, num_leapfrog_steps
        )
        log_weight = log_weight - increment * here.value.double()
        acceptance = acceptance + probability / len(stages)
        if on_step is not None:
            on_step(done)
    return Annealed(position, log_weight, acceptance, 1 + len(stages) * num_leapfrog_steps)


def plan(
    position: Tensor,
    initial: Potential,
    energy: Potential,
    generator: torch.Generator | None = None,
    *,
    num_temperatures: int,
    num_leapfrog_steps: int,
) -> TemperatureSchedule:
    """Temperatures and HMC step sizes for a path, from a preliminary run of chains that are not weighted.

    b rises so that each stage changes log weights by one nat (standard deviation over the chains, root mean square over
    targets). Then the b_k are spaced evenly in the accumulated deviation, which makes the weights' variance least for
    their number where chains mix (Grosse et al. 2013, Annealing between distributions by averaging moments). A
    likelihood that leaves a posterior much narrower than the prior needs b from far below 1, near evenly in log b. A
    fixed sigmoid spends most of its temperatures in vain there. Step sizes follow an acceptance of 0.65.

    Args:
        position: At least 2 draws of exp(-``initial``) for each target, (chains, ..., d).
        initial: The potential at b = 0, in nats.
        energy: What is added to it along the path, in nats.
        generator: The source of all randomness; None means torch's default one.
        num_temperatures: K.
        num_leapfrog_steps: Those of a move.

    Returns:
        The path for ``annealed_importance_sampling``.

    Raises:
        MedlangevinError: If the energy is finite at fewer than 2 draws, or ``num_temperatures`` is below 1.
    """
    if num_temperatures < 1:
        raise MedlangevinError(f"annealed importance sampling: {num_temperatures} temperatures; give at least 1")
    position, step_size, num_gradients = position.detach(), _FIRST_STEP_SIZE, 1
    here = evaluate(energy, position)
    fractions, lengths, log_steps = [0.0], [0.0], [math.log(step_size)]
    while fractions[-1] < 1:
        deviation = _deviation(here.value)
        wanted = max(_NATS_PER_STAGE / max(deviation, 1e-300), _LEAST_GROWTH * fractions[-1])
        fraction = min(1.0, fractions[-1] + wanted)
        for _ in range(_MOVES_PER_STAGE):
            position, here, probability = _move(
                position, here, initial, energy, generator, fraction, step_size, num_leapfrog_steps
            )
            step_size *= math.exp(_GAIN * (probability.mean().item() - _TARGET_ACCEPTANCE))
        num_gradients += _MOVES_PER_STAGE * num_leapfrog_steps
        lengths.append(lengths[-1] + (fraction - fractions[-1]) * max(deviation, 1e-300))
        fractions.append(fraction)
        log_steps.append(math.log(step_size))
    log_steps[0] = log_steps[1]
    known = torch.tensor([lengths, fractions, log_steps], dtype=torch.float64)
    wanted_lengths = torch.linspace(0, lengths[-1], num_temperatures + 1, dtype=torch.float64)[1:]
    spaced = _interpolate(wanted_lengths, known[0], known[1])
    spaced[-1] = 1.0
    return TemperatureSchedule(spaced, _interpolate(wanted_lengths[:-1], known[0], known[2]).exp(), num_gradients)


def log_mean_exp(log_weight: Tensor) -> Tensor:
    """Logarithm of the mean weight of all chains.

    Args:
        log_weight: (chains, ...).

    Returns:
        (...).
    """
    return log_weight.logsumexp(0) - math.log(len(log_weight))


def effective_sample_size(log_weight: Tensor) -> Tensor:
    """The number of chains that count, (sum w)^2 / sum w^2.

    Args:
        log_weight: (chains, ...).

    Returns:
        Between 1 and the number of chains, (...).
    """
    return (2 * log_weight.logsumexp(0) - (2 * log_weight).logsumexp(0)).exp()


def _move(
    position: Tensor,
    here: Evaluation,
    initial: Potential,
    energy: Potential,
    generator: torch.Generator | None,
    fraction: float,
    step_size: float,
    num_leapfrog_steps: int,
) -> tuple[Tensor, Evaluation, Tensor]:
    """One HMC move at U_b: the new position, the energy with its gradient there, and the acceptance probability.

    Energy and gradient are taken out of the kernel's state, so that another temperature costs no new gradient.
    """

    def bridge(z: Tensor) -> Tensor:
        return initial(z) + fraction * energy(z)

    before = evaluate(initial, position)
    start = hmc.State(position, before.value + fraction * here.value, before.gradient + fraction * here.gradient)
    end, info = hmc.step(
        start, bridge, generator, step_size=step_size, num_steps=num_leapfrog_steps, jitter=_STEP_SIZE_JITTER
    )
    after = evaluate(initial, end.position)
    there = Evaluation((end.value - after.value) / fraction, (end.gradient - after.gradient) / fraction)
    # A chain that stayed keeps what it had: taking it out again would add up rounding errors.
    return end.position, choose(info.is_accepted, there, here), info.acceptance_probability


def _deviation(energies: Tensor) -> float:
    """Standard deviation over chains, root mean square over targets; targets without 2 finite energies do not count."""
    columns = energies.reshape(len(energies), -1).double().unbind(1)
    finite = [column[column.isfinite()] for column in columns]
    variances = [column.var().item() for column in finite if len(column) > 1]
    if not variances:
        raise MedlangevinError(
            "annealed importance sampling: the energy is not finite at 2 or more chains; check the model"
        )
    return math.sqrt(sum(variances) / len(variances))


def _interpolate(at: Tensor, known_at: Tensor, known: Tensor) -> Tensor:
    """Piecewise linear, ``known_at`` rising."""
    right = torch.searchsorted(known_at, at).clamp(1, len(known_at) - 1)
    share = (at - known_at[right - 1]) / (known_at[right] - known_at[right - 1])
    return known[right - 1] + share * (known[right] - known[right - 1])
