"""Images as a model sees them: x in [0, 1], grey or binarised."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from medlangevin.datasets.images.splits import ImageSplits
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.random import uniform

Binarization = Literal["none", "dynamic", "static"]
BINARIZATIONS: tuple[Binarization, ...] = get_args(Binarization)
SEEDS = {"valid": 1, "test": 2}  # fixed for ever: other values would make other validation and test images
CHUNK = 1000


@dataclass(frozen=True)
class ModelImages:
    """Images of which each batch becomes x in [0, 1].

    Attributes:
        images: uint8 (N, C, H, W).
        top: The value that becomes 1: 255 for grey levels, 1 for binary images.
        redrawn: Every batch is binarised anew.
    """

    images: Tensor
    top: int
    redrawn: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, positions: Tensor | Sequence[int] | slice, *, generator: torch.Generator | None = None) -> Tensor:
        """x of some images, on their device. Grey: k/255; binary: 0 or 1.

        Args:
            positions: Which images.
            generator: Used (and needed) by dynamic binarisation alone.

        Returns:
            float32 (n, C, H, W).

        Raises:
            ValueError: Dynamic binarisation without a generator.
        """
        images = self.images[positions]
        if not self.redrawn:
            return images.float() / self.top
        if generator is None:
            raise ValueError("dynamic binarisation draws from the generator passed in: give one")
        return bernoulli(images, generator).float()

    def mean(self) -> Tensor:
        """The mean of x over all images and, where it is redrawn, over all draws.

        Returns:
            (C, H, W) float32.
        """
        total = sum(part.sum(0, dtype=torch.int64) for part in self.images.split(CHUNK))
        return (torch.as_tensor(total).double() / (self.top * len(self.images))).float()

    def to(self, device: torch.device | str) -> "ModelImages":
        """The same with the uint8 images on another device.

        Args:
            device: The device.

        Returns:
            A copy.
        """
        return replace(self, images=self.images.to(device))


class ModelSplits(NamedTuple):
    """The splits of a set as a model sees them.

    Attributes:
        train: To train on.
        valid: To choose models on.
        test: To report the final figures on; None where there are none.
    """

    train: ModelImages
    valid: ModelImages
    test: ModelImages | None


def model_images(splits: ImageSplits, *, binarization: Binarization = "none") -> ModelSplits:
    """Turn the splits of a set into what a model sees.

    Args:
        splits: The images.
        binarization: ``none``: x = k/255. ``dynamic``: training images are Bernoulli(k/255) drawn anew for every batch,
            as in Burda et al. (2016); validation and test images are drawn once with a fixed seed, the same in every
            run. ``static``: images that are binary in the file, x = k in {0, 1}.

    Returns:
        The splits.

    Raises:
        MedlangevinError: The set is not of that kind.
    """
    name, is_binary = splits.source.name, splits.source.is_binary
    if binarization not in BINARIZATIONS:
        raise MedlangevinError(f"binarization '{binarization}' is not known; choose {', '.join(BINARIZATIONS)}")
    if binarization == "static" and not is_binary:
        raise MedlangevinError(f"{name} holds grey levels, not 0 and 1 alone; choose binarization dynamic or none")
    if binarization != "static" and is_binary:
        raise MedlangevinError(f"{name} holds 0 and 1 alone; choose binarization static, not {binarization}")
    if binarization == "dynamic":
        test = None if splits.test is None else _drawn_once(splits.test, SEEDS["test"])
        return ModelSplits(ModelImages(splits.train, 255, True), _drawn_once(splits.valid, SEEDS["valid"]), test)
    top = 1 if is_binary else 255
    test = None if splits.test is None else ModelImages(splits.test, top)
    return ModelSplits(ModelImages(splits.train, top), ModelImages(splits.valid, top), test)


def bernoulli(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw each pixel k as 1 with probability k/255, else 0.

    Args:
        images: uint8, any shape.
        generator: Where the numbers come from.

    Returns:
        uint8 of the same shape.
    """
    probability = images.float() / 255
    return (uniform(tuple(images.shape), like=probability, generator=generator) < probability).to(torch.uint8)


def _drawn_once(images: Tensor, seed: int) -> ModelImages:
    generator = torch.Generator().manual_seed(seed)
    return ModelImages(torch.cat([bernoulli(part, generator) for part in images.split(CHUNK)]), 1)
