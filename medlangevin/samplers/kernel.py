"""What a Markov kernel is: how its chains start, how they take a step, and what the chain runner reads of both.

A kernel is two functions on an immutable state, as in BlackJAX (https://github.com/blackjax-devs/blackjax):

    init(position, potential) -> state
    step(state, potential, generator, *, step_size, ...) -> (state, info)

One file holds one kernel (``ula``, ``mala``, ``hmc``, ``qsl``, ``amortized``, ``kernel_amortized``). State and info are
NamedTuples of tensors with a leading chain dimension. ``functools.partial`` binds options, such as a step size.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential


class State(Protocol):
    """What a kernel's state has at least. Most also carry the gradient, so that none is computed twice."""

    @property
    def position(self) -> Tensor:
        """Where the chains are, (chains, d) or (chains, ...)."""

    @property
    def value(self) -> Tensor | None:
        """The potential there in nats, (chains,) or (chains, ...); None if the state does not carry it."""


class Info(Protocol):
    """What every kernel tells of a step. Those with an accept/reject test tell more: see ``metropolis.Info``."""

    @property
    def acceptance_probability(self) -> Tensor | None:
        """That of the proposal, (chains,); None for a kernel without a test."""

    @property
    def is_divergent(self) -> Tensor:
        """Whether the step has left the dynamics, (chains,)."""


class UnadjustedInfo(NamedTuple):
    """The ``Info`` of a kernel without an accept/reject test.

    Attributes:
        is_divergent: Whether a number of the new state is NaN or infinity, (chains,).
    """

    is_divergent: Tensor

    @property
    def acceptance_probability(self) -> None:
        """None: every step is taken."""


StateT = TypeVar("StateT", bound=State)


class Step(Protocol[StateT]):
    """One step of a kernel. It makes a new state and leaves the old one as it is."""

    def __call__(
        self, state: StateT, potential: Potential, generator: torch.Generator | None, /, *args: Any, **options: Any
    ) -> tuple[StateT, Info]:
        """Take a step.

        Args:
            state: Where the chains are.
            potential: U, in nats.
            generator: The source of all randomness; None means torch's default one.
            args: None; the type lets a kernel name its options.
            options: The kernel's own. A step size that ``sample`` adapts is passed as ``step_size``.

        Returns:
            The next state, and what the step tells.
        """


class Kernel(NamedTuple, Generic[StateT]):
    """A kernel as one value, its options bound: ``Kernel(hmc.init, partial(hmc.step, num_steps=5))``.

    Attributes:
        init: Makes the state at a position (chains, d) under a potential.
        step: Takes one step.
    """

    init: Callable[[Tensor, Potential], StateT]
    step: Step[StateT]
