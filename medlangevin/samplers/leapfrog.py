"""The leapfrog integrator in velocity-Verlet form: half a kick, a drift, half a kick."""

from typing import NamedTuple

from torch import Tensor

from medlangevin.samplers.potential import Potential, evaluate
from medlangevin.samplers.scalar import Scalar, scalar_like


class State(NamedTuple):
    """``position`` and ``velocity`` (chains, d), with the potential's ``value`` (chains,) and ``gradient`` there."""

    position: Tensor
    velocity: Tensor
    value: Tensor
    gradient: Tensor


def init(position: Tensor, velocity: Tensor, potential: Potential, *, create_graph: bool = False) -> State:
    """The state at a point in phase space; one gradient."""
    return State(position, velocity, *evaluate(potential, position, create_graph=create_graph))


def step(state: State, potential: Potential, *, step_size: Scalar, create_graph: bool = False) -> State:
    """One leapfrog step; one new gradient, as the last one of a step is the first of the next: K + 1 for K steps.

    ``step_size`` t: a scalar or (d,); negative steps go back in time. Volume preserving (log |det J| = 0 for every
    potential), time-reversible, of order two. ``create_graph`` keeps it differentiable through the force.
    """
    t = scalar_like(step_size, state.position)
    velocity = state.velocity - 0.5 * t * state.gradient
    position = state.position + t * velocity
    value, gradient = evaluate(potential, position, create_graph=create_graph)
    return State(position, velocity - 0.5 * t * gradient, value, gradient)
