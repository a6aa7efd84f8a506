"""PCA beside every model of ears: what a linear model, fitted in seconds, makes of the same ears."""

from collections.abc import Sequence

import torch

from medlangevin.datasets.crops import CropDataset, choose_splits
from medlangevin.datasets.datalist import CropIndex, Ear
from medlangevin.inference.reconstruction import variance_explained
from medlangevin.likelihoods import Gaussian
from medlangevin.models.ppca import PPCA
from medlangevin.models.principal_axes import assign_folds, most_axes
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError

# Training ears beyond so many are not held in memory for a control (0.6 MB each as crops usually are).
MOST_EARS = 1000


def linear_control(run: Run, training: Sequence[Ear], images: CropDataset) -> PPCA | None:
    """Fit probabilistic PCA, cross-validated over people, with as many axes as a run has latents.

    Args:
        run: The run that it is the control of.
        training: The training ears.
        images: Their crops.

    Returns:
        The model, with fewer axes where the ears do not give so many; None where there are more than 1,000 ears, or too
        few to hold any out.
    """
    groups = [ear.subject for ear in training]
    if len(groups) > MOST_EARS or len(set(groups)) < 2:
        return None
    axes = min(run.model.latent_dim, most_axes(len(groups), images[0].numel(), assign_folds(groups, 5)))
    if axes < 1:
        return None
    model = PPCA(image_shape=run.image_shape, latent_dim=axes)
    try:
        model.fit(torch.stack([images[number] for number in range(len(images))]), groups)
    except MedlangevinError:  # the ears do not differ
        return None
    return model.eval()


def control_rows(run: Run, index: CropIndex, ears: Sequence[Ear], mean: torch.Tensor | None) -> list[dict[str, float]]:
    """What the control makes of ears.

    Args:
        run: The run that it is the control of.
        index: The crops, whose training split it is fitted to.
        ears: The ears.
        mean: The mean training ear; None where there is none.

    Returns:
        Of each ear ``variance_explained_ppca``, the share of its variance about the mean ear; and ``nll_ppca``, exact,
        in nats, where the noise of both is white and of one scale, as nats cannot be compared otherwise. Nothing where
        there is no control.
    """
    training = choose_splits(index).training if index.training else ()
    known, fresh = (
        CropDataset(some, index.shape, window_hu=run.config.data.window_hu, cache_mb=0) for some in (training, ears)
    )
    model = linear_control(run, training, known)
    if model is None or mean is None:
        return [{} for _ in ears]
    likelihood = run.model.likelihood
    comparable = type(likelihood) is Gaussian and likelihood.is_white
    rows = []
    for number in range(len(ears)):
        x = fresh[number][None]
        row = {"variance_explained_ppca": variance_explained(x, model.reconstruct(x), mean).item()}
        rows.append(row | ({"nll_ppca": -model.log_likelihood(x).item()} if comparable else {}))
    return rows
