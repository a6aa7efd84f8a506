"""How well a run of crops explains ears: its bound, the decoder's NLL, the encoder's, and what reconstructions show."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from medlangevin.config.evaluation import EvidenceEvaluation, ImageEvaluation, ImportanceEvaluation
from medlangevin.datasets.crops import CropDataset, choose_splits, few_people
from medlangevin.datasets.datalist import CropIndex, Ear
from medlangevin.evaluation.decoder_likelihood import ANNEALED, annealed_figures
from medlangevin.evaluation.evidence import MEASURED, evidence
from medlangevin.evaluation.figure import Figure, figures_of, may_be_nan, require_finite
from medlangevin.evaluation.linear_control import control_rows
from medlangevin.inference.reconstruction import variance_explained
from medlangevin.models.laplace import laplace
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, write_json
from medlangevin.system.progress import progress

logger = logging.getLogger(__name__)

ELBO_DRAWS = 10
# Ears that are done, of an evaluation that is not.
PARTIAL = "evaluation.partial.json"
SplitName = Literal["training", "validation", "test"]
_WHO = {"subject", "side"}


def evaluate_crops(
    run: Run,
    *,
    split: SplitName,
    samples: int,
    seed: int,
    data_root: Path | str | None,
    annealing: dict[str, int] | None,
) -> dict[str, Any]:
    """The figures of a run of crops, over ears and ear by ear. Interrupted, the same call goes on.

    A test on fewer than three people comes with a warning.

    Args:
        run: The run.
        split: The ears to evaluate on.
        samples: Draws for each of the NLLs (docs/mathematics.md).
        seed: All noise follows from it; an ear's noise is its own, whatever else is evaluated with it.
        data_root: Folder of the crops if not where the run's config says.
        annealing: ``temperatures`` and ``chains`` of the NLL by annealing; None to leave it out.

    Returns:
        Each with mean and standard error over ears: ``elbo``; ``nll`` of the decoder, where enough samples were there
        to measure it, and its ``effective_sample_size``; ``nll_encoder``; the NLLs once more ``..._per_dim``, divided
        by the voxels; ``variance_explained`` by reconstructions at the mode and ``variance_explained_encoder`` by the
        encoder's, unless the data have no training ears to compare with, or an ear is their mean; those of the linear
        control, as ``control_rows`` has them. With ``annealing``, ``nll_ais`` with ``ais_effective_sample_size`` and
        ``ais_acceptance``. In ``ears`` a row an ear.

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
    settings = ImageEvaluation(
        elbo_draws=ELBO_DRAWS,
        evidence=EvidenceEvaluation(samples=samples),
        importance=ImportanceEvaluation(samples=samples),
        annealing=annealing,  # type: ignore[arg-type]  # pydantic makes a section of it
    )
    mean = _mean_ear(run, index)
    controls = control_rows(run, index, ears, mean)  # first: once the rows are complete, they are kept no longer
    rows = _evaluate_ears(run, index, ears, mean, settings, seed=seed)
    rows = [row | control for row, control in zip(rows, controls, strict=True)]
    figures = figures_of(_columns(rows), math.prod(index.shape), kept=())
    result: dict[str, Any] = {"ears_from": source, "samples": samples, "seed": seed, **(annealing or {})}
    result |= {name: figure.as_json() for name, figure in figures.items()}
    return result | {"ears": [_measured(row) for row in rows]}


def evaluate_ears(run: Run, settings: ImageEvaluation, *, seed: int) -> dict[str, Figure]:
    """The figures of a run of crops by the names that ``evaluate_images`` gives them, for a table.

    Args:
        run: The run.
        settings: What to measure, and on which split.
        seed: All noise follows from it.

    Returns:
        Of all ears of the split, in nats per ear and kept ear by ear: ``negative_elbo`` and, where ``settings`` has
        their section, ``nll``, ``nll_encoder`` and ``nll_ais``; the same ``..._per_dim``, divided by the voxels. Errors
        are over ears: of a cohort with both ears of its people, too small.

    Raises:
        MedlangevinError: As ``evaluate_crops`` does.
    """
    index = run.crops(None)
    ears, _ = _ears(index, settings.split)
    rows = _evaluate_ears(run, index, ears, _mean_ear(run, index), settings, seed=seed)
    values = _columns(rows)
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


def _mean_ear(run: Run, index: CropIndex) -> Tensor | None:
    """The mean of the ears to train on (1, i, j, k); None where there are none."""
    if not index.training:
        return None
    ears = choose_splits(index).training
    return CropDataset(ears, index.shape, window_hu=run.config.data.window_hu, cache_mb=0).mean()


def _evaluate_ears(
    run: Run, index: CropIndex, ears: Sequence[Ear], mean: Tensor | None, settings: ImageEvaluation, *, seed: int
) -> list[dict[str, Any]]:
    """A row an ear: whose, and the figures by name, NaN where not measured. Rows of an interrupted call are kept."""
    data = CropDataset(ears, index.shape, window_hu=run.config.data.window_hu, cache_mb=0)
    # By their voxels: a file of the same name may hold another ear by now.
    partial, key = run.directory / PARTIAL, run.digest(*(data[number] for number in range(len(ears))), settings, seed)
    rows = _kept_rows(partial, key)
    with progress(len(ears), "ear", done=len(rows)) as track:
        for position in range(len(rows), len(ears)):
            ear = ears[position]
            row = _figures(run, data[position][None], mean, settings, seed, f"{ear.subject}/{ear.side}")
            if not all(math.isfinite(value) or may_be_nan(name) for name, value in row.items()):
                raise MedlangevinError(f"run {run.directory} gives NaN or infinite likelihoods; train it again")
            rows.append({"subject": ear.subject, "side": ear.side, **row})
            write_json(partial, {"key": key, "rows": [_measured(row) for row in rows]})
            track.advance(position + 1, f"ELBO {row['elbo']:,.1f} nats")
    if settings.annealing is not None:
        noise = (generator(seed, "ais", f"{ear.subject}/{ear.side}") for ear in ears)
        batches = ((data[position][None].to(run.device), own) for position, own in enumerate(noise))
        chosen = {"temperatures": settings.annealing.temperatures, "chains": settings.annealing.chains}
        found = annealed_figures(run.model, batches, len(ears), "temperature", **chosen)
        rows = [row | {name: found[name][position].item() for name in ANNEALED} for position, row in enumerate(rows)]
    partial.unlink(missing_ok=True)
    return rows


def _kept_rows(partial: Path, key: str) -> list[dict[str, Any]]:
    """The rows of an interrupted call; none where they are another one's or damaged, as they can be made again."""
    try:
        kept = read_json(partial)
    except MedlangevinError:
        return []
    return kept["rows"] if isinstance(kept, dict) and kept.get("key") == key else []


def _figures(
    run: Run, x: Tensor, mean: Tensor | None, settings: ImageEvaluation, seed: int, ear: str
) -> dict[str, float]:
    """The figures of one ear (1, 1, i, j, k)."""
    model, x = run.model, x.to(run.device)
    draws = x.expand(settings.elbo_draws, *x.shape[1:])
    row = {"elbo": model.elbo(draws, generator(seed, "elbo", ear)).mean().item()}
    if settings.evidence is not None:
        posterior = laplace(model, x)
        found = evidence(model, x, generator(seed, "evidence", ear), samples=settings.evidence.samples, about=posterior)
        row |= dict(zip(MEASURED, (found.nll.item(), found.effective_sample_size.item()), strict=True))
        if mean is not None:
            for name, z in (("variance_explained", posterior.mean), ("variance_explained_encoder", model.encode(x))):
                row[name] = variance_explained(x, model.reconstruct(x, z), mean.to(x.device)).item()
    if settings.importance is not None:
        samples = settings.importance.samples
        row["nll_encoder"] = -model.log_likelihood(x, samples, generator(seed, "nll", ear)).item()
    return row


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    """For JSON, which has no NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """The figures of all ears, (n,) each."""
    values = {name: [math.nan if row[name] is None else row[name] for row in rows] for name in rows[0]}
    return {name: torch.tensor(column, dtype=torch.float64) for name, column in values.items() if name not in _WHO}
