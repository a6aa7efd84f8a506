"""The leapfrog integrator in velocity-Verlet form: half a kick, a drift, half a kick.

    v <- v - (t / 2) grad U(z);  z <- z + t v;  v <- v - (t / 2) grad U(z)

Volume preserving (log |det J| = 0 for every potential), time-reversible, of order two. Neal 2011, Handbook of MCMC,
chapter 5.
"""

from typing import NamedTuple

from torch import Tensor

from medlangevin.samplers.potential import Potential, Scalar, evaluate, scalar_like


class State(NamedTuple):
    """A point in phase space, with the potential there.

    Attributes:
        position: (chains, d).
        velocity: (chains, d).
        value: U at the position in nats, (chains,).
        gradient: Its gradient, (chains, d).
    """

    position: Tensor
    velocity: Tensor
    value: Tensor
    gradient: Tensor


def init(position: Tensor, velocity: Tensor, potential: Potential, *, create_graph: bool = False) -> State:
    """The state at a point in phase space; one gradient.

    Args:
        position: (chains, d).
        velocity: (chains, d).
        potential: U, in nats.
        create_graph: Keep the state differentiable through the force.

    Returns:
        The state.
    """
    return State(position, velocity, *evaluate(potential, position, create_graph=create_graph))


def step(state: State, potential: Potential, *, step_size: Scalar, create_graph: bool = False) -> State:
    """One leapfrog step; one new gradient, as the last one of a step is the first of the next: K + 1 for K steps.

    Args:
        state: Where to start.
        potential: U, in nats.
        step_size: t, a scalar or (d,); negative steps go back in time.
        create_graph: Keep the step differentiable through the force.

    Returns:
        The state after the step.
    """
    t = scalar_like(step_size, state.position)
    velocity = state.velocity - 0.5 * t * state.gradient
    position = state.position + t * velocity
    value, gradient = evaluate(potential, position, create_graph=create_graph)
    return State(position, velocity - 0.5 * t * gradient, value, gradient)
