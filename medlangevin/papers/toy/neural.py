"""Figure 3 of the Langevin autoencoder paper: posteriors of a neural likelihood by chains and by Gaussian fits.

The model is z ~ N(0, I), x | z ~ N(f(z), sigma^2 I) in the plane, f a fixed random network. After Taniguchi et al.
(2022), Figure 3, with a network, a noise scale and observations of our own. Weights and observations, drawn from the
model, come from a fixed seed, so that the truth is the same in every run.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medlangevin.papers.toy import grid, variational
from medlangevin.papers.toy.chains import NUM_CHAINS, TARGET_ACCEPTANCE, Budget, random_features, reporter, run_mala
from medlangevin.papers.toy.distances import binned_kl, gaussian_kl, sample_wasserstein2
from medlangevin.papers.toy.gaussian import LABELS, PUBLISHED_STEP_SIZE
from medlangevin.papers.toy.grid import GridDensity
from medlangevin.papers.toy.panels import COLUMNS, Panel, ToyResult, measure, one_thread, over_chains, sample_ald
from medlangevin.papers.toy.variational import GaussianFit
from medlangevin.runs.randomness import derive_seed, generator
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.samplers.potential import Potential
from medlangevin.system.progress import Track, progress

NOISE_SCALE = 0.5
# Chosen among the first twenty: posteriors of three different shapes, none Gaussian, none with a far mode that a chain
# of 3,000 steps would not find.
NETWORK_SEED = 6
NUM_OBSERVATIONS = 3
HIDDEN_LAYERS = (128, 128, 128)
BIAS_SCALE = 0.3
NUM_FEATURES = 128
# Where the search for a step size starts, in units of the latent.
FIRST_STEP_SIZE = 0.05
VARIATIONAL_STEPS = 600
# Optimal assignment costs the cube of the sample size.
MAX_MATCHED_DRAWS = 1000

_NEW_COLUMNS = {
    "kl": "KL(sample || truth) in nats over bins of 0.2 x 0.2, plug-in estimate; above 0 even for independent draws "
    "(see the rows of 'truth') and the more so the smaller the effective sample size; each chain alone, then averaged "
    "over the chains",
    "kl_all_chains": "the same of all chains taken together, four times the draws and so less above the truth",
    "kl_exact": "KL(q || truth) in nats by quadrature, for variational inference, whose density is known",
    "w2": "exact Wasserstein-2 distance, by optimal assignment, of up to 1,000 evenly thinned draws from as many "
    "independent draws of the truth, in units of z (not 0 even for independent draws: see the rows of 'truth'); each "
    "chain alone, then averaged over the chains",
}


class NeuralToy(NamedTuple):
    """The data and the joint density.

    Attributes:
        observations: The data points x (n, 2), float64.
        log_joint: log p(x, z) in nats, (..., n, 2) -> (..., n).
        log_likelihood_bound: The largest value that log p(x | z) can take.
    """

    observations: Tensor
    log_joint: Potential
    log_likelihood_bound: float


def neural_toy() -> NeuralToy:
    """Make the toy.

    Returns:
        The toy, on the CPU in float64.
    """
    generator = torch.Generator().manual_seed(NETWORK_SEED)
    layers = _random_layers((2, *HIDDEN_LAYERS, 2), generator)
    z = torch.randn(NUM_OBSERVATIONS, 2, dtype=torch.float64, generator=generator)
    noise = torch.randn(NUM_OBSERVATIONS, 2, dtype=torch.float64, generator=generator)
    return neural_toy_of(lambda z: _forward(layers, z), _forward(layers, z) + NOISE_SCALE * noise)


def neural_toy_of(decoder: Potential, observations: Tensor) -> NeuralToy:
    """Make the same toy for another network and other data.

    Args:
        decoder: The network f, (..., 2) -> (..., 2).
        observations: The data points (n, 2), float64.

    Returns:
        The toy.
    """
    bound = -math.log(2 * math.pi * NOISE_SCALE**2)

    def log_joint(z: Tensor) -> Tensor:
        residual = (observations - decoder(z)) / NOISE_SCALE
        log_prior = -0.5 * z.square().sum(-1) - math.log(2 * math.pi)
        return bound - 0.5 * residual.square().sum(-1) + log_prior

    return NeuralToy(observations, log_joint, bound)


def run_neural(*, seed: int, steps: int) -> ToyResult:
    """Sample all panels: ALD with the published and with an adapted step size, kernel ALD, MALA, two Gaussian fits.

    The model and the observations are always the same. Variational inference and the truth give as many draws as the
    chains keep.

    Args:
        seed: Decides the feature network, the starts and the noise; the same seed gives the same result.
        steps: Steps of each of 4 chains; the first third is dropped.

    Returns:
        The samples and their distances from the truth.
    """
    budget, toy, columns = Budget(steps, steps // 3), neural_toy(), COLUMNS | _NEW_COLUMNS
    with one_thread():
        truth = grid.grid_density(toy.log_joint, toy.log_likelihood_bound)
        fits, panels = _sample(toy, truth, seed, budget)
        metrics = measure(panels, *grid.moments(truth), columns, _distances(fits, truth, budget, seed))
    settings = {
        "seed": seed,
        **budget._asdict(),
        "chains": NUM_CHAINS,
        "model": "z ~ N(0, I), x | z ~ N(f(z), sigma^2 I), f a fixed random ReLU network 2-128-128-128-2",
        "sigma": NOISE_SCALE,
        "observations": toy.observations.tolist(),
        "log_evidence": truth.log_evidence.tolist(),
        "bound_on_the_mass_outside_the_grid": truth.outside.tolist(),
        "elbo": {name: fit.elbo.tolist() for name, fit in fits.items()},
        "published_step_size": PUBLISHED_STEP_SIZE,
        "target_acceptance_of_the_other_chains": TARGET_ACCEPTANCE,
        "variational_steps": VARIATIONAL_STEPS,
    }
    return ToyResult("neural", panels, truth.log_mass, metrics, columns, settings)


def _sample(
    toy: NeuralToy, truth: GridDensity, seed: int, budget: Budget
) -> tuple[dict[str, GaussianFit], tuple[Panel, ...]]:
    with progress(4 * budget.steps + 2 * VARIATIONAL_STEPS, "step") as track:
        chains = _sample_chains(toy, seed, budget, track)
        fits = {}
        for number, (method, full) in enumerate((("mean_field_vi", False), ("full_covariance_vi", True))):
            on_step = reporter(track, 4 * budget.steps + number * VARIATIONAL_STEPS, method)
            run = partial(variational.fit_gaussian, full_covariance=full, num_steps=VARIATIONAL_STEPS, on_step=on_step)
            fits[method] = run(toy.log_joint, len(toy.observations), generator(seed, "fit", method))
    shape = (NUM_CHAINS, budget.draws, *toy.observations.shape)
    random = np.random.default_rng(derive_seed(seed, "truth"))
    independent = Panel("truth", "independent draws", grid.draw(truth, shape[0] * shape[1], random).reshape(shape))
    drawn = []
    for (method, fit), label in zip(fits.items(), ("mean-field VI", "full-covariance VI"), strict=True):
        positions = variational.draw(fit, shape[0] * shape[1], generator(seed, method)).numpy().reshape(shape)
        drawn.append(Panel(method, label, positions))
    return fits, (independent, *chains, *drawn)


def _sample_chains(toy: NeuralToy, seed: int, budget: Budget, track: Track) -> list[Panel]:
    def potential(z: Tensor) -> Tensor:
        return -toy.log_joint(z)

    features = random_features(toy.observations, NUM_FEATURES, generator(seed, "features"))
    size = float(features.square().sum(-1).mean())
    adapted = Adaptation(FIRST_STEP_SIZE, TARGET_ACCEPTANCE)
    step_sizes = (PUBLISHED_STEP_SIZE, Adaptation(FIRST_STEP_SIZE / size, TARGET_ACCEPTANCE), adapted)
    panels = []
    for number, ((method, label), step_size) in enumerate(zip(LABELS.items(), step_sizes, strict=True)):
        how = {"generator": generator(seed, method), "on_step": reporter(track, number * budget.steps, method)}
        panels.append(sample_ald(method, label, potential, features, budget=budget, step_size=step_size, **how))
    how = {"step_size": adapted, "on_step": reporter(track, 3 * budget.steps, "mala")}
    draws = run_mala(potential, len(toy.observations), generator(seed, "mala"), budget, **how)
    panels.append(Panel("mala", "MALA", **draws._asdict()))
    return panels


def _distances(
    fits: dict[str, GaussianFit], truth: GridDensity, budget: Budget, seed: int
) -> Callable[[Panel, int], dict[str, float]]:
    count = min(budget.draws, MAX_MATCHED_DRAWS)
    kept = np.linspace(0, budget.draws - 1, count).round().astype(int)
    random = np.random.default_rng(derive_seed(seed, "reference"))
    references = [grid.draw(truth, count, random) for _ in range(NUM_CHAINS)]

    def distances(panel: Panel, point: int) -> dict[str, float]:
        positions = panel.positions[:, :, point]
        matched = zip(positions[:, kept], references, strict=True)
        found = {
            "kl": over_chains(positions, partial(binned_kl, density=truth, point=point)),
            "kl_all_chains": binned_kl(positions.reshape(-1, 2), truth, point),
            "w2": float(np.mean([sample_wasserstein2(chain, other[:, point]) for chain, other in matched])),
        }
        if panel.method in fits:
            mean, scale_tril, _ = (part[point].numpy() for part in fits[panel.method])
            found["kl_exact"] = gaussian_kl(mean, scale_tril @ scale_tril.T, truth, point)
        return found

    return distances


def _random_layers(sizes: tuple[int, ...], generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """He's normal weights, which keep the signal's size through ReLUs, and small biases, so that kinks lie anywhere."""
    draw = partial(torch.randn, dtype=torch.float64, generator=generator)
    return [(draw(n, m) * math.sqrt(2 / m), draw(n) * BIAS_SCALE) for m, n in pairwise(sizes)]


def _forward(layers: list[tuple[Tensor, Tensor]], z: Tensor) -> Tensor:
    for number, (weight, bias) in enumerate(layers):
        z = (torch.relu(z) if number else z) @ weight.mT + bias
    return z
