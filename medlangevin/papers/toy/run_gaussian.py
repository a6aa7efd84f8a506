"""Figure 2 of the Langevin autoencoder paper: ALD with 2, 3, 8 and 128 features on three Gaussian posteriors."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from medlangevin.papers.toy.chains import NUM_CHAINS, TARGET_ACCEPTANCE, Budget, run_ald
from medlangevin.papers.toy.distances import gaussian_wasserstein2
from medlangevin.papers.toy.features import kernel_condition, random_features
from medlangevin.papers.toy.gaussian import COVARIANCE, GaussianToy, gaussian_toy
from medlangevin.papers.toy.grid import grid_density
from medlangevin.papers.toy.panels import COLUMNS, Panel, ToyResult, common_row, one_thread, over_chains, reporter
from medlangevin.papers.toy.results import tabulate
from medlangevin.runs.randomness import derive_seed, generator
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.system.progress import progress

NUM_FEATURES = (2, 3, 8, 128)
PUBLISHED_STEP_SIZE = 4e-4
KERNEL_STEP_SIZE = 0.1
# Where the search for ALD's step size starts, in units of the latent: eta times the mean of K's diagonal.
FIRST_LATENT_STEP_SIZE = 0.05
LABELS = {"ald_published": "ALD, published step", "ald_adapted": "ALD, adapted step", "kernel_ald": "kernel ALD"}

_W2 = (
    "Wasserstein-2 distance of the Gaussian with the sample's mean and covariance from the true posterior (closed "
    "form), in units of z; each chain alone, then averaged over the chains"
)


def run_gaussian(*, seed: int, steps: int) -> ToyResult:
    """Sample all panels: ALD with the published and with an adapted step size, kernel ALD, independent draws.

    ``steps`` of each of 4 chains, the first third dropped; ``seed`` decides the feature networks, the starts and the
    noise, and the same seed gives the same result.
    """
    budget = Budget(steps, steps // 3)
    toy = gaussian_toy()
    with one_thread():
        panels = _sample(toy, seed, budget)
    rows = []
    for panel in panels:
        for point in range(len(toy.observations)):
            mean, covariance = toy.means[point].numpy(), toy.covariance.numpy()
            measured = common_row(panel, point, mean, covariance)
            measured["w2"] = over_chains(panel.positions[:, :, point], _distance_from(mean, covariance))
            rows.append(measured)
    columns = COLUMNS | {"w2": _W2}
    settings = {
        "seed": seed,
        "steps": budget.steps,
        "burn_in": budget.burn_in,
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
    return ToyResult("gaussian", panels, truth, tabulate(rows, columns), columns, settings)


def _sample(toy: GaussianToy, seed: int, budget: Budget) -> tuple[Panel, ...]:
    features = {d: random_features(toy.observations, d, generator(seed, "features", d)) for d in NUM_FEATURES}
    points = len(toy.observations)
    plan = [(method, d) for method in LABELS for d in NUM_FEATURES if method != "kernel_ald" or d >= points]
    panels = []
    with progress(len(plan) * budget.steps, "step") as track:
        for number, (method, d) in enumerate(plan):
            draws = run_ald(
                toy.potential,
                features[d],
                generator(seed, method, d),
                budget,
                step_size=_step_size(method, features[d]),
                preconditioned=method == "kernel_ald",
                on_step=reporter(track, number * budget.steps, f"{method}, {d} features"),
            )
            panels.append(
                Panel(
                    method,
                    LABELS[method],
                    draws.positions,
                    d,
                    kernel_condition(features[d]),
                    draws.step_size,
                    draws.acceptance,
                )
            )
    return (*panels, _truth(toy, seed, budget))


def _step_size(method: str, features: Tensor) -> float | Adaptation:
    if method == "ald_published":
        return PUBLISHED_STEP_SIZE
    if method == "kernel_ald":
        return KERNEL_STEP_SIZE
    return Adaptation(FIRST_LATENT_STEP_SIZE / float(features.square().sum(-1).mean()), TARGET_ACCEPTANCE)


def _truth(toy: GaussianToy, seed: int, budget: Budget) -> Panel:
    random = np.random.default_rng(derive_seed(seed, "truth"))
    noise = random.standard_normal((NUM_CHAINS, budget.draws, *toy.means.shape))
    positions = toy.means.numpy() + noise @ np.linalg.cholesky(toy.covariance.numpy()).T
    return Panel("truth", "independent draws", positions)


def _distance_from(mean: np.ndarray, covariance: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda draws: gaussian_wasserstein2(draws.mean(0), np.cov(draws.T), mean, covariance)
