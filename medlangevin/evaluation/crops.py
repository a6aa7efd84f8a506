"""The figures of a model of crops in a table, as ``evaluation.images`` has them for images."""

import math

from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.evaluation.figure import Figure, figure_of, require_finite
from medlangevin.evaluation.likelihood import evaluate_crops
from medlangevin.runs.run import Run


def evaluate_ears(run: Run, settings: ImageEvaluation, *, seed: int) -> dict[str, Figure]:
    """``negative_elbo``, ``nll`` and ``nll_ais`` of all ears of the split, nats per ear, kept ear by ear; where
    ``settings`` has their section, the same ``..._per_dim``.

    Errors are over ears: of a cohort with both ears of its people, too small. Raises MedlangevinError, one line, as
    ``medlangevin evaluate`` does.
    """
    annealing = settings.annealing
    result = evaluate_crops(
        run,
        split=settings.split,
        samples=1 if settings.importance is None else settings.importance.samples,
        elbo_draws=settings.elbo_draws,
        seed=seed,
        data_root=None,
        annealing=None if annealing is None else {"temperatures": annealing.temperatures, "chains": annealing.chains},
    )
    ears = result["ears"]
    values = {"negative_elbo": [-ear["elbo"] for ear in ears]}
    if settings.importance is not None:
        values["nll"] = [ear["nll"] for ear in ears]
    if annealing is not None:
        for name in ("nll_ais", "ais_effective_sample_size", "ais_acceptance"):
            values[name] = [ear[name] for ear in ears]
    voxels = math.prod(run.image_shape)
    per_voxel = {
        f"{name}_per_dim": [value / voxels for value in values[name]]
        for name in ("negative_elbo", "nll", "nll_ais")
        if name in values
    }
    figures = {name: figure_of(value, keep=name in values) for name, value in (values | per_voxel).items()}
    require_finite(figures, run.directory)
    return figures
