"""A Markov kernel of one's own: the Barker proposal, sampled, adapted and diagnosed like those of the package.

Each coordinate moves by a random length |w_j|, w_j ~ N(0, s^2), and the gradient only decides in which direction:

    z'_j = z_j + b_j w_j,   b_j = 1 with probability 1 / (1 + exp(w_j dU/dz_j)), and -1 otherwise

    accept with min(1, exp(U(z) - U(z')) prod_j (1 + exp(d_j dU/dz_j)) / (1 + exp(-d_j dU/dz'_j))),   d = z' - z

However steep U is, no move is longer than its noise: the kernel bears a step size that is too long better than MALA.
Livingstone & Zanella 2022, The Barker proposal: combining robustness and efficiency in gradient-based MCMC.

Run it with ``python examples/own_kernel.py``.
"""

import pandas as pd
import torch
from torch.nn.functional import logsigmoid

from medlangevin.samplers import Adaptation, Kernel, Potential, Scalar, metropolis, sample, standard_normal, uniform
from medlangevin.samplers.diagnostics import from_chains, summary
from medlangevin.samplers.metropolis import Info
from medlangevin.samplers.ula import State, init


def step(
    state: State, potential: Potential, generator: torch.Generator | None = None, *, step_size: Scalar
) -> tuple[State, Info]:
    """One proposal and one test for each chain; one new gradient. It leaves exp(-U) invariant.

    Args:
        state: Where the chains are.
        potential: U, in nats.
        generator: The source of all randomness; None means torch's default one.
        step_size: s, a scalar or (d,).

    Returns:
        The next state, and the outcome of the tests.
    """
    shape = tuple(state.position.shape)
    length = step_size * standard_normal(shape, like=state.position, generator=generator)
    is_forward = uniform(shape, like=state.position, generator=generator) < torch.sigmoid(-length * state.gradient)
    move = torch.where(is_forward, length, -length).to(state.position.dtype)
    proposal = init(state.position + move, potential)
    # 1 / (1 + exp(a)) is sigmoid(-a).
    log_densities = logsigmoid(move * proposal.gradient) - logsigmoid(-move * state.gradient)
    info = metropolis.decide(state.value - proposal.value + log_densities.sum(-1), proposal.value, generator)
    return metropolis.choose(info.is_accepted, proposal, state), info


# mypy checks here that the step fits the state.
barker = Kernel(init, step)


MEAN, DEVIATION = torch.tensor([1.0, -2.0]), torch.tensor([1.0, 10.0])


def gaussian(z: torch.Tensor) -> torch.Tensor:
    """The potential of two independent Gaussians, (chains, 2) -> (chains,)."""
    return 0.5 * ((z - MEAN) / DEVIATION).square().sum(-1)


def diagnose(seed: int = 0) -> pd.DataFrame:
    """Sample ``gaussian`` with four chains.

    Args:
        seed: Chooses the chains.

    Returns:
        The diagnostics, one row for each dimension.
    """
    chains = sample(
        barker.step,
        barker.init(torch.zeros(4, 2, dtype=torch.float64), gaussian),
        gaussian,
        torch.Generator().manual_seed(seed),
        num_samples=4000,
        burn_in=500,
        # 0.574 is optimal for this kernel as for MALA (Vogrinc et al. 2023, Optimal design of the Barker proposal and
        # other locally balanced Metropolis-Hastings algorithms).
        adaptation=Adaptation(step_size=0.1 * DEVIATION, target_acceptance=0.574),
    )
    return summary(from_chains(chains), num_gradients=4 * chains.num_gradients)


if __name__ == "__main__":
    print(diagnose().round(2).to_string())
