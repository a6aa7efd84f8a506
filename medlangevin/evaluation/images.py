"""How well a run explains benchmark images: its bound, its NLL with and without the encoder, what it generates."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from medlangevin.config.evaluation import (
    AnnealingEvaluation,
    EvidenceEvaluation,
    ImageEvaluation,
    ImportanceEvaluation,
)
from medlangevin.datasets.images import ModelImages, load_splits, model_images
from medlangevin.evaluation.decoder_likelihood import annealed_figures
from medlangevin.evaluation.digits import require_digits, score_digits
from medlangevin.evaluation.evidence import MEASURED, Evidence, evidence
from medlangevin.evaluation.figure import Figure, figures_of, require_finite
from medlangevin.runs.folder import DATA
from medlangevin.runs.precision import matmul_precision
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.progress import progress

# Parts of what the numbers are: the noise of the bound and of importance samples is drawn for so many images at a time,
# and annealing chooses temperatures and step sizes for so many together. A GPU needs more of them to be busy.
ELBO_BATCH = 200
IMPORTANCE_GROUP = {"cpu": 1, "cuda": 10}
ANNEALING_GROUP = {"cpu": 10, "cuda": 50}
# Of few images: kept one by one, as models differ by less than images do.
_KEPT = ("nll", "nll_encoder", "nll_ais")


def evaluate_image_run(
    run: Run, *, split: str, samples: int, seed: int, data_root: Path | str | None, annealing: dict[str, int] | None
) -> dict[str, Any]:
    """The figures of ``evaluate_images`` and what they were measured on, for evaluation.json.

    The bound of all images of the split, the NLL of the first 1,000, by the decoder alone and with the encoder; with
    ``annealing`` that of the first 100.

    Args:
        run: The run.
        split: ``validation`` or ``test``.
        samples: Draws for each of the NLLs.
        seed: All noise follows from it.
        data_root: Folder of the image sets if not where the run's config says.
        annealing: ``temperatures`` and ``chains`` of the decoder's NLL; None to leave it out.

    Returns:
        ``images_from``, the options, and each figure as JSON has it.

    Raises:
        MedlangevinError: The options, the run or its images do not fit; one line.
    """
    images = run.config.images
    if images is None:
        raise MedlangevinError(f"run {run.directory} was trained on crops of ears, not on images")
    if split == "training":
        raise MedlangevinError("--split training is for runs of crops; a run of images has validation and test")
    if data_root is not None:
        if Path(images.set).is_absolute():
            raise MedlangevinError(f"--data has no effect: run {run.directory} names its images in full, {images.set}")
        images = images.model_copy(update={"root": Path(data_root)})
        run = replace(run, config=run.config.model_copy(update={"images": images}))
    try:
        settings = ImageEvaluation.model_validate(
            {
                "split": split,
                "evidence": {"samples": samples},
                "importance": {"samples": samples},
                "annealing": annealing,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise MedlangevinError(f"--{first['loc'][-1]} {first['input']}: {first['msg'].lower()}") from error
    figures = evaluate_images(run, settings, seed=seed, cache=run.directory)
    return {
        "images_from": f"the {split} split of {images.set}",
        "samples": samples,
        "seed": seed,
        **(annealing or {}),
        **{name: figure.as_json() for name, figure in figures.items()},
    }


def evaluate_images(run: Run, settings: ImageEvaluation, *, seed: int, cache: Path) -> dict[str, Figure]:
    """The figures of a run on a split of the image set that it was trained on.

    Matrix products are computed in full float32 precision.

    Args:
        run: The run.
        settings: What to measure, and on which split.
        seed: All noise follows from it, and a figure's does not depend on which others are measured.
        cache: Folder that keeps the digit classifier of ``inception``.

    Returns:
        In nats per image, mean and standard error over images: ``negative_elbo`` of the whole split and, where
        ``settings`` has their section, of its first images: ``nll`` by samples about each posterior's mode, with
        ``effective_sample_size``; ``nll_encoder`` by importance sampling with the model's L (docs/mathematics.md);
        ``nll_ais`` by annealing, with ``ais_effective_sample_size`` and ``ais_acceptance``. The NLLs are kept image by
        image as well. The same ``..._per_dim``: divided by C x H x W. With
        ``inception``: ``inception_score`` (its error: over ten parts of the generated images) and ``fid``, which has
        none.

    Raises:
        MedlangevinError: The images are not those of the training, a set or a split is missing, or a figure is NaN or
            infinite; one line.
    """
    if settings.inception is not None:
        require_digits(run.image_shape, f"run {run.directory}")
    images = _split(run, settings)
    figures: dict[str, Figure] = {}
    with matmul_precision("highest"):
        # First, as it needs more than the run: what is missing should come out before hours of sampling.
        if settings.inception is not None:
            figures |= score_digits(run, settings.inception.samples, seed=seed, cache=cache)
        values = {"negative_elbo": _negative_elbos(run, images, settings.elbo_draws, seed)}
        if settings.evidence is not None:
            values |= _evidence(run, images, settings.evidence, seed)
        if settings.importance is not None:
            values["nll_encoder"] = _importance_sampled(run, images, settings.importance, seed)
        if settings.annealing is not None:
            values |= _annealed(run, images, settings.annealing, seed)
    figures |= figures_of(values, math.prod(run.image_shape), kept=_KEPT)
    require_finite(figures, run.directory)
    return figures


def _split(run: Run, settings: ImageEvaluation) -> ModelImages:
    """The images to evaluate on, on the model's device."""
    config = run.config.images
    if config is None:
        raise MedlangevinError(f"run {run.directory} was trained on crops of ears, not on images; evaluate it as such")
    if settings.split == "validation" and config.train_on == "all":
        raise MedlangevinError(
            f"run {run.directory} was trained on the validation images too (train_on: all); choose the split test"
        )
    splits = load_splits(config)
    if splits.source.sha256 != run.data.get("sha256"):
        raise MedlangevinError(
            f"the images of {splits.source.name} in {splits.source.location} are not those that run {run.directory} "
            f"was trained on (sha256 in {DATA} differs); restore them or train again"
        )
    name = "valid" if settings.split == "validation" else "test"
    splits.split(name)  # says where there is none
    images: ModelImages = getattr(model_images(splits, binarization=config.binarization), name)
    return images.to(run.device)


def _groups(
    images: ModelImages, count: int, size: int, seed: int, figure: str
) -> Iterator[tuple[Tensor, torch.Generator]]:
    """The first ``count`` images, ``size`` at a time, each group with its own noise."""
    for first in range(0, count, size):
        x = images.batch(slice(first, min(first + size, count)))
        yield x, generator(seed, figure, first, device=x.device)


def _negative_elbos(run: Run, images: ModelImages, draws: int, seed: int) -> Tensor:
    """Of each image, the mean of ``draws``: (N,)."""
    results: list[Tensor] = []
    with progress(math.ceil(len(images) / ELBO_BATCH), "ELBO, batch") as track:
        for x, noise in _groups(images, len(images), ELBO_BATCH, seed, "elbo"):
            elbos = torch.stack([run.model.elbo(x, noise).double() for _ in range(draws)])
            results.append(-elbos.mean(0).cpu())
            track.advance(len(results))
    return torch.cat(results)


def _evidence(run: Run, images: ModelImages, settings: EvidenceEvaluation, seed: int) -> dict[str, Tensor]:
    """The decoder's -log p(x) of the first images and how many of its samples are effective, each (n,)."""
    count = min(settings.images, len(images))
    found: list[Evidence] = []
    with progress(count, "NLL, image") as track:
        for x, noise in _groups(images, count, 1, seed, "evidence"):
            found.append(evidence(run.model, x, noise, samples=settings.samples))
            track.advance(len(found))
    values = torch.stack([torch.cat([one.nll, one.effective_sample_size]) for one in found], 1).cpu()
    return dict(zip(MEASURED, values, strict=True))


def _importance_sampled(run: Run, images: ModelImages, settings: ImportanceEvaluation, seed: int) -> Tensor:
    """-log p(x) of the first images, each group with its own noise: (n,)."""
    count = min(settings.images, len(images))
    results: list[Tensor] = []
    with progress(count, "NLL of the encoder, image") as track:
        for x, noise in _groups(images, count, IMPORTANCE_GROUP[images.images.device.type], seed, "nll"):
            results.append(-run.model.log_likelihood(x, settings.samples, noise).cpu())
            track.advance(sum(map(len, results)))
    return torch.cat(results)


def _annealed(run: Run, images: ModelImages, settings: AnnealingEvaluation, seed: int) -> dict[str, Tensor]:
    """The decoder's -log p(x) of the first images and how well its chains did, each (n,)."""
    count, group = min(settings.images, len(images)), ANNEALING_GROUP[images.images.device.type]
    return annealed_figures(
        run.model,
        _groups(images, count, group, seed, "ais"),
        math.ceil(count / group),
        "NLL of the decoder, temperature",
        chains=settings.chains,
        temperatures=settings.temperatures,
    )
