"""The pictures of a finished run: learning curves, reconstructions and samples."""

from pathlib import Path

import torch

from medlangevin.config import ImagesConfig
from medlangevin.datasets.crops import CropDataset, choose_splits
from medlangevin.datasets.datalist import CropIndex, Ear, read_index
from medlangevin.datasets.images import ModelImages, load_splits, model_images
from medlangevin.models.laplace import find_mode
from medlangevin.reports.curves import save_curves
from medlangevin.reports.image_grid import above_each_other, save_image_grid
from medlangevin.reports.montage import save_montage
from medlangevin.runs.folder import METRICS
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run

PICTURES = "samples"  # the folder of a run that holds them
SAMPLES, RECONSTRUCTIONS = 24, 8
IMAGE_SAMPLES, IMAGE_RECONSTRUCTIONS, IMAGE_COLUMNS = 100, 16, 8


def draw_run(run_dir: Path | str) -> list[Path]:
    """Write ``samples/{curves,reconstructions,samples}.png`` of a run from its best checkpoint.

    Args:
        run_dir: The run. The crops or images that it was trained on have to be where its config says.

    Returns:
        The paths of the three.

    Raises:
        MedlangevinError: Where the run or its data cannot be read, or no epoch has been finished.
    """
    run = load_run(run_dir)
    folder = run.directory / PICTURES
    curves, reconstructions, samples = (folder / f"{name}.png" for name in ("curves", "reconstructions", "samples"))
    noun = "ear" if run.config.images is None else "image"
    rows = read_metrics(run.directory / METRICS)
    save_curves(rows, curves, title=f"Learning curves of {run.name}", noun=noun)
    if run.config.images is None:
        _draw_crops(run, reconstructions, samples)
    else:
        _draw_images(run, run.config.images, reconstructions, samples)
    return [curves, reconstructions, samples]


def held_out_images(settings: ImagesConfig) -> tuple[str, ModelImages]:
    """Load images that a run was not trained on; training images if there are none.

    Args:
        settings: The run's.

    Returns:
        What to call them (``validation``, ``test`` or ``training``), and the images.

    Raises:
        MedlangevinError: Where the set is missing.
    """
    splits = model_images(load_splits(settings), binarization=settings.binarization)
    if settings.train_on == "training":
        return "validation", splits.valid
    return ("training", splits.train) if splits.test is None else ("test", splits.test)


def held_out_ears(
    index: CropIndex, count: int, *, window_hu: tuple[float, float]
) -> tuple[tuple[Ear, ...], torch.Tensor]:
    """Read the first validation ears.

    Args:
        index: The crops.
        count: At most so many.
        window_hu: The bounds of HU that become 0 and 1.

    Returns:
        The ears, and their crops (n, 1, i, j, k) in [0, 1].
    """
    ears = choose_splits(index).validation[:count]
    crops = CropDataset(ears, index.shape, window_hu=window_hu, cache_mb=0)
    return ears, torch.stack([crops[position] for position in range(len(crops))])


def _draw_images(run: Run, settings: ImagesConfig, reconstructions: Path, samples: Path) -> None:
    split, images = held_out_images(settings)
    noise = generator(run.config.seed, "pictures")
    count = max(1, min(IMAGE_RECONSTRUCTIONS, len(images)))
    columns = IMAGE_COLUMNS if count % IMAGE_COLUMNS == 0 else count
    x = images.batch(slice(0, count), generator=noise)
    where = f"{run.name}, epoch {run.state.epoch}"
    pairs = above_each_other(x, run.model.reconstruct(x, find_mode(run.model, x)), columns)
    title = f"{where}: {split} images and their reconstructions"
    labels = ["image", "reconstruction"] * (count // columns)
    save_image_grid(pairs, reconstructions, columns=columns, title=title, labels=labels)
    drawn = run.model.sample(IMAGE_SAMPLES, generator(run.config.seed, "samples"))
    save_image_grid(drawn, samples, columns=10, title=f"{where}: samples (mean images)")


def _draw_crops(run: Run, reconstructions: Path, samples: Path) -> None:
    ears, x = held_out_ears(read_index(run.config.data.root), RECONSTRUCTIONS, window_hu=run.config.data.window_hu)
    decoded = run.model.reconstruct(x, find_mode(run.model, x))
    pairs = torch.stack([x, decoded], dim=1).flatten(0, 1)[:, 0].numpy()
    labels = [f"{ear.subject} {ear.side} {what}" for ear in ears for what in ("CT", "reconstruction")]
    where = f"{run.name}, epoch {run.state.epoch}"
    title = f"{where}: validation ears and their reconstructions"
    save_montage(list(pairs), reconstructions, labels=labels, title=title, window=(0, 1), columns=2)

    drawn = run.model.sample(SAMPLES, generator(run.config.seed, "samples"))[:, 0].numpy()
    labels = [f"sample {number + 1}" for number in range(SAMPLES)]
    save_montage(list(drawn), samples, labels=labels, title=f"{where}: SYNTHETIC cochleae", window=(0, 1))
