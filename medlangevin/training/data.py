"""What a configuration trains on: the crops of ``data`` or the benchmark images of ``images``."""

from typing import Any, NamedTuple

import torch

from medlangevin.config import Config, DataConfig, ImagesConfig
from medlangevin.datasets.crops import CropDataset, choose_splits, few_people
from medlangevin.datasets.datalist import read_index
from medlangevin.datasets.images import load_splits, model_images
from medlangevin.runs.folder import describe_crops, describe_images
from medlangevin.training.sources import CropSource, MemorySource, Source

# A mean over fewer ears moves more with the ears than with the epoch.
FEW = 10


class TrainingData(NamedTuple):
    """What a configuration trains on.

    Attributes:
        training: Images to train on.
        validation: Images to validate on; None: none, and every epoch counts as the best so far.
        image_shape: (C, *spatial).
        noun: What one of them is called.
        description: For data.json.
        identity: The keys of it that a resumed run must find unchanged.
        location: Where they are, in words.
        summary: How many, in words.
        doubts: What of it is too little to judge a model by, a line each.
    """

    training: Source
    validation: Source | None
    image_shape: tuple[int, ...]
    noun: str
    description: dict[str, Any]
    identity: tuple[str, ...]
    location: str
    summary: str
    doubts: tuple[str, ...] = ()


def load_data(config: Config, device: torch.device | str = "cpu") -> TrainingData:
    """Read what a configuration trains on.

    Args:
        config: The run.
        device: Where benchmark images are put.

    Returns:
        The data.

    Raises:
        MedlangevinError: They cannot be read, in one line.
    """
    return _crops(config.data, device) if config.images is None else _images(config.images, device)


def _crops(settings: DataConfig, device: torch.device | str) -> TrainingData:
    index = read_index(settings.root)
    splits = choose_splits(index)
    training, validation = (
        CropDataset(ears, index.shape, window_hu=settings.window_hu, cache_mb=settings.cache_mb)
        for ears in (splits.training, splits.validation)
    )
    training.fill_cache()
    validation.fill_cache()
    description = describe_crops(index, splits, settings.window_hu)
    counts = description["counts"]
    doubt = "; with so few to validate on, which epoch is best is uncertain" if len(validation) < FEW else ""
    few = (
        few_people(splits.validation, "few people to choose the best epoch by"),
        few_people(index.test, "few people to test on"),
    )
    return TrainingData(
        training=CropSource(
            training,
            num_workers=settings.num_workers,
            shift_voxels=settings.shift_voxels,
            noise=settings.noise_hu / (settings.window_hu[1] - settings.window_hu[0]),
            deform_voxels=settings.deform_voxels,
            device=device,
        ),
        validation=CropSource(validation),
        image_shape=(1, *index.shape),
        noun="ear",
        description=description,
        identity=("shape", "affine", "ears_sha256"),
        location=f"the crops in {settings.root}",
        summary=f"ears: {counts['training']} to train on, {counts['validation']} to validate on "
        f"({splits.validation_source}), {counts['test']} kept for testing{doubt}",
        doubts=tuple(line for line in few if line),
    )


def _images(settings: ImagesConfig, device: torch.device | str) -> TrainingData:
    splits = load_splits(settings)
    description = describe_images(splits.source, settings)
    joined = settings.train_on == "all"
    if joined:
        splits = splits._replace(train=torch.cat([splits.train, splits.valid]))
    ready = model_images(splits, binarization=settings.binarization)
    held = "none to validate on" if joined else f"{len(ready.valid)} to validate on ({splits.source.validation})"
    return TrainingData(
        training=MemorySource(ready.train.to(device)),
        validation=None if joined else MemorySource(ready.valid.to(device)),
        image_shape=splits.source.shape,
        noun="image",
        description=description,
        identity=("shape", "sha256"),
        location=f"the images of {splits.source.name} in {splits.source.location}",
        summary=f"images: {len(ready.train)} to train on, {held}, {len(ready.test or ())} kept for testing",
    )
