"""Run any kernel: burn-in, thinning, step-size adaptation, and what the diagnostics need."""

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from medlangevin.samplers import adaptation as robbins_monro
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.samplers.kernel import State, StateT, Step
from medlangevin.samplers.potential import Potential
from medlangevin.system.errors import MedlangevinError

StateT_co = TypeVar("StateT_co", bound=State, covariant=True)


class Chains(NamedTuple, Generic[StateT_co]):
    """The draws of all chains, in ArviZ's order: chain first, draw second.

    With thinning, the acceptance is the mean over the steps that led to a draw, and a draw counts as divergent if any
    of these steps was.

    Attributes:
        positions: (chains, draws, d).
        acceptance: The acceptance probability, (chains, draws); None for a kernel without a test.
        divergences: (chains, draws), bool.
        potential: (chains, draws) in nats; None where the state does not carry it.
        state: The last state, to go on from.
        num_gradients: Gradients of the potential that each chain took for its draws, the steps thinned away included.
        step_size: The adapted step size; None without adaptation.
    """

    positions: Tensor
    acceptance: Tensor | None
    divergences: Tensor
    potential: Tensor | None
    state: StateT_co
    num_gradients: int
    step_size: Tensor | None


def sample(
    kernel_step: Step[StateT],
    state: StateT,
    potential: Potential,
    generator: torch.Generator | None = None,
    *,
    num_samples: int,
    burn_in: int = 0,
    thinning: int = 1,
    adaptation: Adaptation | None = None,
    position: Callable[[StateT], Tensor] = lambda state: state.position,
    on_step: Callable[[int], None] | None = None,
) -> Chains[StateT]:
    """Run ``burn_in`` steps, then ``num_samples`` times ``thinning`` steps, and keep every ``thinning``-th state.

    Args:
        kernel_step: A kernel's step with its options bound, for example ``partial(mala.step, step_size=0.1)``.
        state: Where the chains start, from the kernel's ``init``.
        potential: U of positions (chains, d), in nats.
        generator: The source of all randomness; None means torch's default one.
        num_samples: Draws to keep of each chain, at least 1.
        burn_in: Steps before the first draw.
        thinning: Steps for each draw, at least 1.
        adaptation: Adapts the step size during burn-in. It is passed to ``kernel_step`` as ``step_size``, which must
            then not be bound. Afterwards it stays fixed, so that the chain is a Markov chain.
        position: What of the state is kept, (chains, d) or (chains, ...). Draws are stacked behind its first dimension.
        on_step: Called as ``on_step(done)`` after every step, ``done`` counting from 1 to ``burn_in`` +
            ``num_samples`` * ``thinning``.

    Returns:
        The draws of all chains and what the diagnostics need.

    Raises:
        MedlangevinError: For counts that make no sense, a target acceptance outside (0, 1), or adaptation of a kernel
            without an accept/reject test.
    """
    _check(num_samples, burn_in, thinning, adaptation)
    counted = _CountingPotential(potential)
    adapted = None if adaptation is None else robbins_monro.init(adaptation.step_size)
    options: dict[str, Tensor] = {} if adapted is None else {"step_size": adapted.step_size}
    for done in range(1, burn_in + 1):
        state, info = kernel_step(state, counted, generator, **options)
        if adaptation is not None and adapted is not None:
            if info.acceptance_probability is None:
                raise MedlangevinError("sample: this kernel has no acceptance to adapt to; leave adaptation out")
            adapted = robbins_monro.update(
                adapted, info.acceptance_probability, target_acceptance=adaptation.target_acceptance
            )
            options = {"step_size": adapted.step_size}
        if on_step is not None:
            on_step(done)
    counted.num_gradients = 0
    positions: list[Tensor] = []
    acceptances: list[Tensor] = []
    divergences: list[Tensor] = []
    values: list[Tensor] = []
    for draw in range(num_samples):
        infos = []
        for k in range(1, thinning + 1):
            state, info = kernel_step(state, counted, generator, **options)
            infos.append(info)
            if on_step is not None:
                on_step(burn_in + draw * thinning + k)
        positions.append(position(state))
        divergences.append(torch.stack([info.is_divergent for info in infos]).any(0))
        if probabilities := _known(info.acceptance_probability for info in infos):
            acceptances.append(torch.stack(probabilities).mean(0))
        values += _known([state.value])
    return Chains(
        positions=_stack(positions),
        acceptance=_stack(acceptances) if acceptances else None,
        divergences=_stack(divergences),
        potential=_stack(values) if values else None,
        state=state,
        num_gradients=counted.num_gradients,
        step_size=None if adapted is None else adapted.step_size,
    )


def join(first: Chains[StateT], second: Chains[StateT]) -> Chains[StateT]:
    """Put the draws of chains and of those that went on from their last state one after the other.

    Args:
        first: The earlier draws.
        second: The later ones.

    Returns:
        All of them, with the last state of ``second`` and the step size of ``first``.
    """

    def one(before: Tensor | None, after: Tensor | None) -> Tensor | None:
        return None if before is None or after is None else torch.cat([before, after], 1)

    return second._replace(
        positions=torch.cat([first.positions, second.positions], 1),
        acceptance=one(first.acceptance, second.acceptance),
        divergences=torch.cat([first.divergences, second.divergences], 1),
        potential=one(first.potential, second.potential),
        num_gradients=first.num_gradients + second.num_gradients,
        step_size=first.step_size,
    )


class _CountingPotential:
    """A potential that counts the evaluations made for a gradient: those at a position that requires one."""

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        self.num_gradients = 0

    def __call__(self, position: Tensor) -> Tensor:
        self.num_gradients += position.requires_grad
        return self._potential(position)


def _check(num_samples: int, burn_in: int, thinning: int, adaptation: Adaptation | None) -> None:
    if num_samples < 1 or thinning < 1 or burn_in < 0:
        raise MedlangevinError(
            f"sample: num_samples {num_samples}, thinning {thinning}, burn_in {burn_in}; "
            "give at least 1 sample, thinning 1 or more and burn-in 0 or more"
        )
    if adaptation is not None and burn_in == 0:
        raise MedlangevinError("sample: adaptation happens during burn-in; give a burn_in of some hundred steps")
    if adaptation is not None and not 0 < adaptation.target_acceptance < 1:
        raise MedlangevinError(
            f"sample: target_acceptance {adaptation.target_acceptance} cannot be reached; give one between 0 and 1"
        )


def _known(values: Iterable[Tensor | None]) -> list[Tensor]:
    return [value for value in values if value is not None]


def _stack(draws: list[Tensor]) -> Tensor:
    return torch.stack(draws, dim=min(1, draws[0].ndim))
