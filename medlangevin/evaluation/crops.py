"""How well a run of crops explains ears: its bound, its NLL with the encoder and, where chosen, without it."""

import logging
import math
from pathlib import Path
from typing import Any, Literal

import torch

from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.datasets.crops import CropDataset, choose_splits, few_people
from medlangevin.datasets.datalist import CropIndex, Ear
from medlangevin.evaluation.decoder_likelihood import ANNEALED, annealed_figures
from medlangevin.evaluation.figure import Figure, figure_of, figures_of, require_finite
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.progress import progress

logger = logging.getLogger(__name__)

ELBO_DRAWS = 10
SplitName = Literal["training", "validation", "test"]


def evaluate_crops(
    run: Run,
    *,
    split: SplitName,
    samples: int,
    seed: int,
    data_root: Path | str | None,
    annealing: dict[str, int] | None,
    elbo_draws: int = ELBO_DRAWS,
) -> dict[str, Any]:
    """The figures of a run of crops, over ears and ear by ear; of a test on fewer than three people with a warning.

    Args:
        run: The run.
        split: The ears to evaluate on.
        samples: Draws of L for the importance-sampled NLL (docs/mathematics.md).
        seed: All noise follows from it; an ear's noise is its own, whatever else is evaluated with it.
        data_root: Folder of the crops if not where the run's config says.
        annealing: ``temperatures`` and ``chains`` of the decoder's NLL; None to leave it out.
        elbo_draws: The bound is the mean of so many.

    Returns:
        ``elbo`` and ``nll`` in nats per ear and ``nll_per_voxel``, each mean and standard error over ears. With
        ``annealing``, ``nll_ais`` with ``ais_effective_sample_size`` and ``ais_acceptance``. In ``ears`` a row an ear.

    Raises:
        MedlangevinError: The split holds no ears, or people that the run has seen, or a figure is NaN or infinite.
    """
    index = run.crops(data_root)
    ears, source = _ears(index, split)
    known = sorted({ear.subject for ear in ears} & set(run.data.get("seen_subjects", []))) if split == "test" else []
    if known:
        raise MedlangevinError(
            f"{len(known)} people of the test split of {index.root} (sub-{known[0]}, ...) were trained or validated on "
            f"by run {run.name}, so this is no test; evaluate with the data it was trained on, or train again"
        )
    if split == "test" and (doubt := few_people(ears, "few people to test on")):
        logger.warning(doubt)
    data = CropDataset(ears, index.shape, window_hu=run.config.data.window_hu, cache_mb=0)
    rows = _evaluate_ears(run, ears, data, samples=samples, elbo_draws=elbo_draws, seed=seed)
    if annealing is not None:
        device = next(run.model.parameters()).device
        noise = (generator(seed, "ais", f"{ear.subject}/{ear.side}") for ear in ears)
        batches = ((data[position][None].to(device), own) for position, own in enumerate(noise))
        found = annealed_figures(run.model, batches, len(ears), "temperature", **annealing)
        rows = [row | {name: found[name][position].item() for name in ANNEALED} for position, row in enumerate(rows)]
    result: dict[str, Any] = {
        "ears_from": source,
        "samples": samples,
        "seed": seed,
        "elbo": figure_of([row["elbo"] for row in rows]).as_json(),
        "nll": figure_of([row["nll"] for row in rows]).as_json(),
        "nll_per_voxel": figure_of([row["nll"] / math.prod(index.shape) for row in rows]).as_json(),
    }
    if annealing is not None:
        result |= annealing | {name: figure_of([row[name] for row in rows]).as_json() for name in ANNEALED}
    return result | {"ears": rows}


def evaluate_ears(run: Run, settings: ImageEvaluation, *, seed: int) -> dict[str, Figure]:
    """The figures of a run of crops by the names that ``evaluate_images`` gives them, for a table.

    Args:
        run: The run.
        settings: What to measure, and on which split.
        seed: All noise follows from it.

    Returns:
        Of all ears of the split, in nats per ear and kept ear by ear: ``negative_elbo`` and, where ``settings`` has
        their section, ``nll`` and ``nll_ais``; the same ``..._per_dim``, divided by the voxels. Errors are over ears:
        of a cohort with both ears of its people, too small.

    Raises:
        MedlangevinError: As ``evaluate_crops`` does.
    """
    annealing = settings.annealing
    ears = evaluate_crops(
        run,
        split=settings.split,
        samples=1 if settings.importance is None else settings.importance.samples,
        elbo_draws=settings.elbo_draws,
        seed=seed,
        data_root=None,
        annealing=None if annealing is None else {"temperatures": annealing.temperatures, "chains": annealing.chains},
    )["ears"]
    names = [*(["nll"] if settings.importance is not None else []), *(ANNEALED if annealing is not None else [])]
    values = {name: torch.tensor([ear[name] for ear in ears], dtype=torch.float64) for name in ("elbo", *names)}
    values = {"negative_elbo": -values.pop("elbo")} | values
    figures = figures_of(values, math.prod(run.image_shape), kept=values)
    require_finite(figures, run.directory)
    return figures


def _ears(index: CropIndex, split: SplitName) -> tuple[tuple[Ear, ...], str]:
    if split == "validation":
        splits = choose_splits(index)
        return splits.validation, splits.validation_source
    ears = index.split(split) if split == "test" else choose_splits(index).training
    if not ears:
        raise MedlangevinError(f"the {split} split of {index.root} holds no ears; choose --split validation")
    return ears, f"the {split} split"


def _evaluate_ears(
    run: Run, ears: tuple[Ear, ...], data: CropDataset, *, samples: int, elbo_draws: int, seed: int
) -> list[dict[str, Any]]:
    device = next(run.model.parameters()).device
    rows: list[dict[str, Any]] = []
    with progress(len(ears), "ear") as track:
        for position, ear in enumerate(ears):
            x = data[position][None].to(device)
            name = f"{ear.subject}/{ear.side}"
            draws = x.expand(elbo_draws, *x.shape[1:])
            elbo = run.model.elbo(draws, generator(seed, "elbo", name)).mean().item()
            nll = -run.model.log_likelihood(x, samples, generator(seed, "nll", name)).item()
            rows.append({"subject": ear.subject, "side": ear.side, "elbo": elbo, "nll": nll})
            track.advance(position + 1, f"ELBO {elbo:,.1f}, NLL {nll:,.1f} nats")
    if not all(math.isfinite(row["elbo"]) and math.isfinite(row["nll"]) for row in rows):
        raise MedlangevinError(f"run {run.directory} gives NaN or infinite likelihoods; train it again")
    return rows
