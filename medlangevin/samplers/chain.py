"""Run any kernel: burn-in, thinning, step-size adaptation, and what the diagnostics need."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medlangevin.samplers import adaptation as robbins_monro
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.samplers.potential import Potential
from medlangevin.system.errors import MedlangevinError

# (state, potential, generator) -> (state, info), every other argument of the kernel bound by functools.partial.
KernelStep = Callable[..., tuple[Any, Any]]


class Chains(NamedTuple):
    """The draws of all chains, in ArviZ's order: chain first, draw second.

    ``positions`` (chains, draws, d); ``acceptance`` (chains, draws), the acceptance probability, None for a kernel
    without a test; ``divergences`` (chains, draws), None for a kernel that does not tell; ``potential`` (chains,
    draws) in nats, None where the state does not carry it. With thinning, acceptance is the mean and divergences the
    disjunction over the steps that led to a draw. ``state``: the last one, to go on from. ``num_gradients``: gradients
    of the potential that each chain took for its draws, the steps thinned away included; ``num_burn_in_gradients``:
    those before. ``step_size``: the adapted one, None without adaptation.
    """

    positions: Tensor
    acceptance: Tensor | None
    divergences: Tensor | None
    potential: Tensor | None
    state: Any
    num_gradients: int
    num_burn_in_gradients: int
    step_size: Tensor | None


def position_of(state: Any) -> Tensor:
    """The ``position`` of a kernel's state."""
    return state.position


def sample(
    kernel_step: KernelStep,
    state: Any,
    potential: Potential,
    generator: torch.Generator | None = None,
    *,
    num_samples: int,
    burn_in: int = 0,
    thinning: int = 1,
    adaptation: Adaptation | None = None,
    position: Callable[[Any], Tensor] = position_of,
    on_step: Callable[[int], None] | None = None,
) -> Chains:
    """Run ``burn_in`` steps, then ``num_samples`` times ``thinning`` steps, and keep every ``thinning``-th state.

    ``kernel_step(state, potential, generator)``: a kernel's step with its options bound, for example
    ``partial(mala.step, step_size=0.1)``. ``position`` says what of the state is kept, (chains, d) or (chains, ...):
    draws are stacked behind its first dimension. ``adaptation``: the step size is adapted during burn-in and passed to
    ``kernel_step`` as ``step_size``, which must then not be bound; afterwards it stays fixed, so that the chain is a
    Markov chain. ``on_step(done)`` is called after every step, ``done`` counting from 1 to ``burn_in`` +
    ``num_samples`` * ``thinning``. Raises MedlangevinError for counts that make no sense.
    """
    _check(num_samples, burn_in, thinning, adaptation)
    counted = _CountingPotential(potential)
    adapted = None if adaptation is None else robbins_monro.init(adaptation.step_size)
    for done in range(1, burn_in + 1):
        step = kernel_step if adapted is None else partial(kernel_step, step_size=adapted.step_size)
        state, info = step(state, counted, generator)
        if adaptation is not None and adapted is not None:
            adapted = _adapt(adapted, info, adaptation.target_acceptance)
        if on_step is not None:
            on_step(done)
    num_burn_in_gradients = counted.num_gradients
    if adapted is not None:
        kernel_step = partial(kernel_step, step_size=adapted.step_size)
    positions, acceptances, divergences, values = [], [], [], []
    for draw in range(num_samples):
        infos = []
        for k in range(1, thinning + 1):
            state, info = kernel_step(state, counted, generator)
            infos.append(info)
            if on_step is not None:
                on_step(burn_in + draw * thinning + k)
        positions.append(position(state))
        acceptances.append(_over_steps(infos, "acceptance_probability", lambda steps: steps.mean(0)))
        divergences.append(_over_steps(infos, "is_divergent", lambda steps: steps.any(0)))
        values.append(getattr(state, "value", None))
    return Chains(
        positions=_stack(positions),
        acceptance=_stack_known(acceptances),
        divergences=_stack_known(divergences),
        potential=_stack_known(values),
        state=state,
        num_gradients=counted.num_gradients - num_burn_in_gradients,
        num_burn_in_gradients=num_burn_in_gradients,
        step_size=None if adapted is None else adapted.step_size,
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


def _adapt(adapted: robbins_monro.State, info: Any, target_acceptance: float) -> robbins_monro.State:
    if not hasattr(info, "acceptance_probability"):
        raise MedlangevinError("sample: this kernel has no acceptance to adapt to; leave adaptation out")
    return robbins_monro.update(adapted, info.acceptance_probability, target_acceptance=target_acceptance)


def _over_steps(infos: list[Any], name: str, summary: Callable[[Tensor], Tensor]) -> Tensor | None:
    if not hasattr(infos[0], name):
        return None
    return summary(torch.stack([getattr(info, name) for info in infos]))


def _stack(draws: list[Tensor]) -> Tensor:
    return torch.stack(draws, dim=min(1, draws[0].ndim))


def _stack_known(draws: list[Any]) -> Tensor | None:
    return None if draws[0] is None else _stack(draws)
