"""Training, validation and test images, and the record of where they came from."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medlangevin.system.errors import MedlangevinError

SPLITS = ("train", "valid", "test")
HELD_OUT = 0.1  # of the training images, where a set has none to validate on
SPLIT_SEED = 20240229  # fixed for ever: another value would make another validation set


class Labels(NamedTuple):
    """Class labels (N,) int64 of each split; None where a set has none.

    Attributes:
        train: Of the training images.
        valid: Of the validation images.
        test: Of the test images.
    """

    train: Tensor | None = None
    valid: Tensor | None = None
    test: Tensor | None = None


class ImageSource(NamedTuple):
    """What a set of images is, for the folder of a run; ``as_json`` makes it plain values.

    Attributes:
        name: As it was asked for.
        origin: How the files are laid out, ``torchvision`` or ``npz``.
        location: The file or folder read.
        shape: (C, H, W).
        counts: Images by split.
        is_binary: Every value is 0 or 1 (else k = 0..255).
        validation: In words where the validation images come from.
        sha256: Of all images, split by split.
    """

    name: str
    origin: str
    location: str
    shape: tuple[int, int, int]
    counts: dict[str, int]
    is_binary: bool
    validation: str
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """The same as a dictionary that JSON can hold.

        Returns:
            The fields by name.
        """
        return self._asdict() | {"shape": list(self.shape)}


class Found(NamedTuple):
    """What the files of a set hold, checked.

    Attributes:
        images: uint8 (N, C, H, W) by split.
        labels: int64 (N,) by split.
        location: Where they lie.
        validation: In words where the validation images come from; empty where none are given.
    """

    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    location: Path
    validation: str = ""


class ImageSplits(NamedTuple):
    """Images by split. Models are chosen on ``valid``; ``test`` is for the final figures alone.

    Attributes:
        train: uint8 (N, C, H, W).
        valid: The same.
        test: The same; None where the set has no test images.
        source: Where they came from.
        labels: Their classes.
    """

    train: Tensor
    valid: Tensor
    test: Tensor | None
    source: ImageSource
    labels: Labels = Labels()

    def split(self, name: str) -> Tensor:
        """The images of one split.

        Args:
            name: ``train``, ``valid`` or ``test``.

        Returns:
            uint8 (N, C, H, W).

        Raises:
            MedlangevinError: The set has no test images.
        """
        images: Tensor | None = getattr(self, name)
        if images is None:
            missing = f"{self.source.name}: {self.source.location} holds no {name} images"
            raise MedlangevinError(f"{missing}; use the full set for figures on {name} data")
        return images


def make_splits(found: Found, *, name: str, origin: str) -> ImageSplits:
    """Put checked images on record.

    Args:
        found: Images of ``train``, ``valid`` and, where there are any, ``test``; there may be no labels.
        name: As the set was asked for.
        origin: How the files are laid out.

    Returns:
        The splits.
    """
    images, location = found.images, str(found.location)
    _, channels, height, width = images["train"].shape
    shape = channels, height, width
    counts = {split: len(images[split]) for split in SPLITS if split in images}
    is_binary = all(int(part.max()) <= 1 for part in images.values())
    source = ImageSource(name, origin, location, shape, counts, is_binary, found.validation, _digest(images))
    classes = Labels(*map(found.labels.get, SPLITS))
    return ImageSplits(images["train"], images["valid"], images.get("test"), source, classes)


def first_images(splits: ImageSplits, count: int) -> ImageSplits:
    """The first images of each split.

    Args:
        splits: All images.
        count: How many, or all where there are fewer.

    Returns:
        New splits with a digest of their own.
    """
    images, labels = (
        {name: part[:count] for name in SPLITS if (part := getattr(parts, name)) is not None}
        for parts in (splits, splits.labels)
    )
    source = splits.source
    found = Found(images, labels, Path(source.location), source.validation)
    return make_splits(found, name=source.name, origin=source.origin)


def hold_out_last(parts: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Make the last items of ``train`` the ``valid`` ones.

    Args:
        parts: Images or labels by split.
        count: How many to hold out.

    Returns:
        The same with both splits.
    """
    return parts | {"train": parts["train"][:-count], "valid": parts["train"][-count:]}


def held_out_positions(count: int) -> tuple[Tensor, Tensor]:
    """Divide positions into those to train on and those to validate on.

    The second part is the last tenth (rounded, at least one) of a permutation that depends on ``count`` alone.

    Args:
        count: How many positions, from 0.

    Returns:
        Two disjoint, ascending parts.

    Raises:
        MedlangevinError: Nothing would be left to train on.
    """
    held = max(1, round(HELD_OUT * count))
    if held >= count:
        raise MedlangevinError(
            f"holding out {HELD_OUT:g} of {count} training images leaves none to train on; give more images or x_valid"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return order[:-held].sort().values, order[-held:].sort().values


def _digest(images: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for split in SPLITS:
        if split in images:
            digest.update(f"{split} {tuple(images[split].shape)}\n".encode())
            digest.update(images[split].contiguous().view(-1).numpy().data)
    return digest.hexdigest()
