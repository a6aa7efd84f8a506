"""Figure 3 of the Langevin autoencoder paper: posteriors of a neural likelihood by chains and by Gaussian fits."""

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from medlangevin.papers.toy import grid, variational
from medlangevin.papers.toy.chains import NUM_CHAINS, TARGET_ACCEPTANCE, Budget, run_ald, run_mala
from medlangevin.papers.toy.distances import binned_kl, gaussian_kl, sample_wasserstein2
from medlangevin.papers.toy.features import kernel_condition, random_features
from medlangevin.papers.toy.grid import GridDensity
from medlangevin.papers.toy.neural import NOISE_SCALE, NeuralToy, neural_toy
from medlangevin.papers.toy.panels import COLUMNS, Panel, ToyResult, common_row, one_thread, over_chains, reporter
from medlangevin.papers.toy.results import tabulate
from medlangevin.papers.toy.variational import GaussianFit
from medlangevin.runs.randomness import derive_seed, generator
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.system.progress import Track, progress

NUM_FEATURES = 128
PUBLISHED_STEP_SIZE = 4e-4
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


def run_neural(*, seed: int, steps: int) -> ToyResult:
    """Sample all panels: ALD with the published and with an adapted step size, kernel ALD, MALA, two Gaussian fits.

    ``steps`` of each of 4 chains, the first third dropped; variational inference and the truth give as many draws as
    the chains keep. ``seed`` decides the feature network, the starts and the noise, and the same seed gives the same
    result. The model and the observations are always the same.
    """
    budget = Budget(steps, steps // 3)
    toy = neural_toy()
    with one_thread():
        truth = grid.grid_density(toy.log_joint, toy.log_likelihood_bound)
        fits, panels = _sample(toy, truth, seed, budget)
        rows = _measure(panels, fits, truth, seed)
    columns = COLUMNS | _NEW_COLUMNS
    settings = {
        "seed": seed,
        "steps": budget.steps,
        "burn_in": budget.burn_in,
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
    return ToyResult("neural", panels, truth.log_mass, tabulate(rows, columns), columns, settings)


def _sample(
    toy: NeuralToy, truth: GridDensity, seed: int, budget: Budget
) -> tuple[dict[str, GaussianFit], tuple[Panel, ...]]:
    with progress(4 * budget.steps + 2 * VARIATIONAL_STEPS, "step") as track:
        chains = _sample_chains(toy, seed, budget, track)
        fits, done = {}, 4 * budget.steps
        for method, full in (("mean_field_vi", False), ("full_covariance_vi", True)):
            fits[method] = variational.fit_gaussian(
                toy.log_joint,
                len(toy.observations),
                generator(seed, "fit", method),
                full_covariance=full,
                num_steps=VARIATIONAL_STEPS,
                on_step=reporter(track, done, method),
            )
            done += VARIATIONAL_STEPS
    shape = (NUM_CHAINS, budget.draws, *toy.observations.shape)
    random = _numpy_generator(seed, "truth")
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
    condition = kernel_condition(features)
    plan: tuple[tuple[str, str, float | Adaptation], ...] = (
        ("ald_published", "ALD, published step", PUBLISHED_STEP_SIZE),
        ("ald_adapted", "ALD, adapted step", Adaptation(FIRST_STEP_SIZE / size, TARGET_ACCEPTANCE)),
        ("kernel_ald", "kernel ALD", Adaptation(FIRST_STEP_SIZE, TARGET_ACCEPTANCE)),
    )
    panels = []
    for number, (method, label, step_size) in enumerate(plan):
        draws = run_ald(
            potential,
            features,
            generator(seed, method),
            budget,
            step_size=step_size,
            preconditioned=method == "kernel_ald",
            on_step=reporter(track, number * budget.steps, method),
        )
        panels.append(Panel(method, label, draws.positions, NUM_FEATURES, condition, draws.step_size, draws.acceptance))
    draws = run_mala(
        potential,
        len(toy.observations),
        generator(seed, "mala"),
        budget,
        step_size=Adaptation(FIRST_STEP_SIZE, TARGET_ACCEPTANCE),
        on_step=reporter(track, 3 * budget.steps, "mala"),
    )
    panels.append(Panel("mala", "MALA", draws.positions, step_size=draws.step_size, acceptance=draws.acceptance))
    return panels


def _measure(
    panels: tuple[Panel, ...], fits: dict[str, GaussianFit], truth: GridDensity, seed: int
) -> list[dict[str, Any]]:
    means, covariances = grid.moments(truth)
    count = min(panels[0].positions.shape[1], MAX_MATCHED_DRAWS)
    random = _numpy_generator(seed, "reference")
    references = [grid.draw(truth, count, random) for _ in range(NUM_CHAINS)]
    rows = []
    for panel in panels:
        thinned = panel.positions[:, np.linspace(0, panel.positions.shape[1] - 1, count).round().astype(int)]
        for point in range(len(means)):
            row = common_row(panel, point, means[point], covariances[point])
            row["kl"] = over_chains(panel.positions[:, :, point], partial(binned_kl, density=truth, point=point))
            row["kl_all_chains"] = binned_kl(panel.positions[:, :, point].reshape(-1, 2), truth, point)
            row["w2"] = float(
                np.mean(
                    [
                        sample_wasserstein2(chain[:, point], reference[:, point])
                        for chain, reference in zip(thinned, references, strict=True)
                    ]
                )
            )
            if panel.method in fits:
                fit = fits[panel.method]
                scale_tril = fit.scale_tril[point].numpy()
                row["kl_exact"] = gaussian_kl(fit.mean[point].numpy(), scale_tril @ scale_tril.T, truth, point)
            rows.append(row)
    return rows


def _numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, purpose))
