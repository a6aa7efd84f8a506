"""Figure 2 of the Langevin autoencoder paper: ALD with 2, 3, 8 and 128 features on three Gaussian posteriors.

The posteriors are known in closed form: z ~ N(0, I), x | z ~ N(z, S), both in the plane. After Taniguchi et al. (2022),
Figure 2, with observations of our own. Their printed covariance [[0.7, 0.6], [0.7, 0.8]] is not symmetric, hence no
covariance; S is [[0.7, 0.6], [0.6, 0.8]] (docs/mathematics.md).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medlangevin.papers.toy.chains import NUM_CHAINS, TARGET_ACCEPTANCE, Budget, random_features, reporter
from medlangevin.papers.toy.distances import gaussian_wasserstein2
from medlangevin.papers.toy.grid import grid_density
from medlangevin.papers.toy.panels import COLUMNS, Panel, ToyResult, measure, one_thread, over_chains, sample_ald
from medlangevin.runs.randomness import derive_seed, generator
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.samplers.potential import Potential
from medlangevin.system.progress import progress

COVARIANCE = ((0.7, 0.6), (0.6, 0.8))
# Three observations that the model could well have made, apart from one another so that the panels can be read.
OBSERVATIONS = ((-1.7, -1.2), (-0.3, 1.6), (1.9, 0.2))
NUM_FEATURES = (2, 3, 8, 128)
PUBLISHED_STEP_SIZE = 4e-4
KERNEL_STEP_SIZE = 0.1
LABELS = {"ald_published": "ALD, published step", "ald_adapted": "ALD, adapted step", "kernel_ald": "kernel ALD"}
# Where the search for ALD's step size starts, in units of the latent: eta times the mean of K's diagonal.
FIRST_LATENT_STEP_SIZE = 0.05

_W2 = (
    "Wasserstein-2 distance of the Gaussian with the sample's mean and covariance from the true posterior (closed "
    "form), in units of z; each chain alone, then averaged over the chains"
)


class GaussianToy(NamedTuple):
    """The data, the potential and the true posteriors, in float64.

    Attributes:
        observations: The data points x (n, 2).
        potential: U = -log p(x, z) but for a constant, (..., n, 2) -> (..., n).
        means: The means of the true posteriors (n, 2).
        covariance: Their covariance (2, 2), the same for all points.
    """

    observations: Tensor
    potential: Potential
    means: Tensor
    covariance: Tensor


def gaussian_toy() -> GaussianToy:
    """Make the toy.

    Returns:
        The toy, on the CPU in float64.
    """
    x = torch.tensor(OBSERVATIONS, dtype=torch.float64)
    precision = torch.linalg.inv(torch.tensor(COVARIANCE, dtype=torch.float64))
    covariance = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + precision)

    def potential(z: Tensor) -> Tensor:
        return 0.5 * (((x - z) @ precision) * (x - z)).sum(-1) + 0.5 * z.square().sum(-1)

    return GaussianToy(x, potential, x @ precision @ covariance, covariance)


def run_gaussian(*, seed: int, steps: int) -> ToyResult:
    """Sample all panels: ALD with the published and with an adapted step size, kernel ALD, independent draws.

    Args:
        seed: Decides the feature networks, the starts and the noise; the same seed gives the same result.
        steps: Steps of each of 4 chains; the first third is dropped.

    Returns:
        The samples and their distances from the truth.
    """
    budget, toy = Budget(steps, steps // 3), gaussian_toy()
    means, covariance = toy.means.numpy(), toy.covariance.numpy()
    with one_thread():
        panels = _sample(toy, seed, budget)

    def distances(panel: Panel, point: int) -> dict[str, float]:
        def distance(draws: np.ndarray) -> float:
            return gaussian_wasserstein2(draws.mean(0), np.cov(draws.T), means[point], covariance)

        return {"w2": over_chains(panel.positions[:, :, point], distance)}

    columns = COLUMNS | {"w2": _W2}
    metrics = measure(panels, means, np.broadcast_to(covariance, (len(means), 2, 2)), columns, distances)
    settings = {
        "seed": seed,
        **budget._asdict(),
        "chains": NUM_CHAINS,
        "model": "z ~ N(0, I), x | z ~ N(z, S)",
        "S": COVARIANCE,
        "observations": toy.observations.tolist(),
        "posterior_means": toy.means.tolist(),
        "posterior_covariance": toy.covariance.tolist(),
        "published_step_size": PUBLISHED_STEP_SIZE,
        "kernel_step_size": KERNEL_STEP_SIZE,
        "target_acceptance_of_ald_adapted": TARGET_ACCEPTANCE,
    }
    # The potential lacks its constants, which the normalisation on the grid does not need.
    truth = grid_density(lambda z: -toy.potential(z), 0.0).log_mass
    return ToyResult("gaussian", panels, truth, metrics, columns, settings)


def _sample(toy: GaussianToy, seed: int, budget: Budget) -> tuple[Panel, ...]:
    features = {d: random_features(toy.observations, d, generator(seed, "features", d)) for d in NUM_FEATURES}
    points = len(toy.observations)
    plan = [(method, d) for method in LABELS for d in NUM_FEATURES if method != "kernel_ald" or d >= points]
    with progress(len(plan) * budget.steps, "step") as track:
        panels = []
        for number, (method, d) in enumerate(plan):
            on_step = reporter(track, number * budget.steps, f"{method}, {d} features")
            how = {"step_size": _step_size(method, features[d]), "budget": budget, "on_step": on_step}
            draws = generator(seed, method, d)
            panels.append(sample_ald(method, LABELS[method], toy.potential, features[d], generator=draws, **how))
    random = np.random.default_rng(derive_seed(seed, "truth"))
    noise = random.standard_normal((NUM_CHAINS, budget.draws, *toy.means.shape))
    positions = toy.means.numpy() + noise @ np.linalg.cholesky(toy.covariance.numpy()).T
    return (*panels, Panel("truth", "independent draws", positions))


def _step_size(method: str, features: Tensor) -> float | Adaptation:
    if method != "ald_adapted":
        return PUBLISHED_STEP_SIZE if method == "ald_published" else KERNEL_STEP_SIZE
    return Adaptation(FIRST_LATENT_STEP_SIZE / float(features.square().sum(-1).mean()), TARGET_ACCEPTANCE)
