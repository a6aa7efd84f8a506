"""Amortized Langevin dynamics (ALD): Langevin dynamics on the last, linear layer Phi of an encoder z_i = Phi g(x_i).

Source: Taniguchi et al. (2022), Alg. 1 and Eqs. 12 to 16; docs/mathematics.md, "Amortized Langevin dynamics". It
samples exp(-V(Phi)), V(Phi) = sum_i U(x_i, Phi g_i). The latents follow exp(-U) if the n rows of features are linearly
independent, which needs d_features >= n; with fewer features some data points collapse. Directions of Phi orthogonal
to all features feel no force, so |Phi| grows like the square root of the number of steps.

Shapes: Phi is ``weight`` (..., d_z, d_features); G is ``features`` (..., n, d_features), one row g_i for each data
point, with no constant feature; ``latent`` is Z = G Phi^T (..., n, d_z). Leading dimensions are independent chains, and
those of the features broadcast to those of the weight. Potentials map (..., n, d_z) to (..., n), in nats.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import euler_maruyama
from medlangevin.samplers.metropolis import Info, choose, decide
from medlangevin.samplers.potential import Potential, Scalar, evaluate, scalar_like
from medlangevin.system.distributed import Processes, of_first, total
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.random import standard_normal

__all__ = ["Info", "State", "accept", "init", "latents", "propose", "step"]


class State(NamedTuple):
    """The weight with its latents, and U there.

    Attributes:
        weight: Phi, (..., d_z, d_features).
        latent: Z = G Phi^T, (..., n, d_z).
        value: U of each data point in nats, (..., n).
        gradient: Its gradient with respect to Z, (..., n, d_z).
    """

    weight: Tensor
    latent: Tensor
    value: Tensor
    gradient: Tensor

    @property
    def position(self) -> Tensor:
        """The latents: what chains of this kernel are about."""
        return self.latent


def latents(weight: Tensor, features: Tensor) -> Tensor:
    """The latents Z = G Phi^T, in full precision even where networks run in a lower one (autocast).

    Args:
        weight: Phi, (..., d_z, d_features).
        features: G, (..., n, d_features).

    Returns:
        Z, (..., n, d_z).

    Raises:
        MedlangevinError: When the numbers of features differ.
    """
    if weight.shape[-1] != features.shape[-1]:
        raise MedlangevinError(
            f"the weight takes {weight.shape[-1]} features and is given {features.shape[-1]}; "
            "pass features (..., n, d_features) and a weight (..., d_z, d_features)"
        )
    with torch.autocast(weight.device.type, enabled=False):
        return features @ weight.mT


def init(weight: Tensor, potential: Potential, *, features: Tensor) -> State:
    """The state at a weight; one gradient.

    Args:
        weight: Phi, (..., d_z, d_features).
        potential: U of each data point, in nats.
        features: G, (..., n, d_features).

    Returns:
        The state, detached from the graph of the weight.

    Raises:
        MedlangevinError: When the numbers of features differ.
    """
    weight, latent = weight.detach(), latents(weight, features).detach()
    return State(weight, latent, *evaluate(potential, latent))


def step(
    state: State,
    potential: Potential,
    generator: torch.Generator | None = None,
    *,
    features: Tensor,
    step_size: Scalar,
    metropolis: bool = True,
    processes: Processes = None,
) -> tuple[State, Info]:
    """One proposal Phi' = Phi - eta grad V + sqrt(2 eta) Xi and one test for the whole set; one new gradient.

    Args:
        state: Where the chains are.
        potential: U of each data point, in nats.
        generator: The source of all randomness; None means torch's default one.
        features: G, (..., n, d_features).
        step_size: eta, a scalar, or what broadcasts against the weight.
        metropolis: Leave exp(-V) invariant, and reject a proposal whose energy is not finite. Without it every
            proposal is taken, and the acceptance probability is what the test would have given.
        processes: The group among which the data set is split, each process with its own rows of ``features``. V and
            its gradient are then summed over all of them, and all take the same step, with the first one's noise and
            decision. None for one process alone.

    Returns:
        The next state, and the outcome of the test, whose tensors have the leading (chain) dimensions.
    """
    weight = propose(state, features, generator, step_size=step_size, processes=processes)
    proposal = init(weight, potential, features=features)
    accepted, info = accept(state, proposal, features, generator, step_size=step_size, processes=processes)
    if not metropolis:
        return proposal, info._replace(is_accepted=torch.ones_like(info.is_accepted))
    return accepted, info


def propose(
    state: State,
    features: Tensor,
    generator: torch.Generator | None = None,
    *,
    step_size: Scalar,
    processes: Processes = None,
) -> Tensor:
    """The first half of ``step``, for a caller that evaluates U in its own way.

    Args:
        state: Where the chains are.
        features: G, (..., n, d_features).
        generator: The source of the noise; None means torch's default one.
        step_size: As in ``step``.
        processes: As in ``step``.

    Returns:
        The proposal Phi', shaped like the weight.
    """
    noise = standard_normal(tuple(state.weight.shape), like=state.weight, generator=generator, common=True)
    force = _weight_gradient(state, features, processes)
    return euler_maruyama.step(state.weight, force, step_size=step_size, noise=of_first(noise, processes))


def accept(
    state: State,
    proposal: State,
    features: Tensor,
    generator: torch.Generator | None = None,
    *,
    step_size: Scalar,
    processes: Processes = None,
) -> tuple[State, Info]:
    """The second half of ``step``: one Metropolis-Hastings test for the whole set.

    The energies, sums over many data points, and the proposal densities, sums over all elements of Phi, are formed in
    float64: they are large numbers with a small difference.

    Args:
        state: Where the chains are.
        proposal: The state at the proposed weight.
        features: G, (..., n, d_features).
        generator: The source of the decision; None means torch's default one.
        step_size: As in ``step``.
        processes: As in ``step``.

    Returns:
        ``proposal`` or ``state``, and the outcome of the test, whose tensors have the leading (chain) dimensions.
    """
    eta = scalar_like(step_size, state.weight, dtype=torch.float64)
    forward = _log_transition(state, proposal.weight, _weight_gradient(state, features, processes), eta)
    backward = _log_transition(proposal, state.weight, _weight_gradient(proposal, features, processes), eta)
    energy, new_energy = (total(at.value.double().sum(-1), processes) for at in (state, proposal))
    info = decide(energy - new_energy + backward - forward, new_energy, generator)
    info = info._replace(is_accepted=of_first(info.is_accepted, processes))
    return choose(info.is_accepted, proposal, state), info


def _weight_gradient(state: State, features: Tensor, processes: Processes) -> Tensor:
    """grad_Phi V = (grad_Z U)^T G, summed over all processes."""
    with torch.autocast(features.device.type, enabled=False):
        return total(state.gradient.mT @ features, processes)


def _log_transition(start: State, end: Tensor, gradient: Tensor, eta: Tensor) -> Tensor:
    """log q(end | start) of the Langevin proposal on Phi, without the constant that cancels. (...,) float64."""
    residual = end.double() - start.weight.double() + eta * gradient.double()
    return -(residual.square() / (4 * eta)).sum((-2, -1))
