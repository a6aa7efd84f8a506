"""Cochlea crops as tensors, cached in memory up to a limit."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from medlangevin.datasets.crop_arrays import to_unit
from medlangevin.datasets.datalist import CropIndex, Ear
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import open_nifti

SMALL_COHORT_VALIDATION = 0.1  # share of the training people held out when preprocess set none aside
FEWEST_PEOPLE = 3  # a mean over fewer says next to nothing about others


class Splits(NamedTuple):
    """The ears to train on and to validate on.

    Attributes:
        training: To train on.
        validation: To validate on.
        validation_source: In words where the validation ears come from.
    """

    training: tuple[Ear, ...]
    validation: tuple[Ear, ...]
    validation_source: str


def choose_splits(index: CropIndex) -> Splits:
    """Training and validation ears; the test ears are never touched.

    Where the validation split is empty, every tenth of the training people (in the order of their pseudonyms, at least
    one person) is held out; with fewer than three people the training ears themselves are used and
    ``validation_source`` says so.

    Args:
        index: All crops of a folder.

    Returns:
        The ears.

    Raises:
        MedlangevinError: There is nothing to train on.
    """
    if not index.training:
        raise MedlangevinError(f"{index.root}: the training split holds no ears; preprocess more scans")
    if index.validation:
        return Splits(index.training, index.validation, "the validation split")
    people = sorted({ear.subject for ear in index.training})
    if len(people) < 3:
        return Splits(
            index.training,
            index.training,
            "the training ears themselves, as there are fewer than three people (the ELBO is optimistic)",
        )
    held = set(people[-math.ceil(SMALL_COHORT_VALIDATION * len(people)) :])
    return Splits(
        tuple(ear for ear in index.training if ear.subject not in held),
        tuple(ear for ear in index.training if ear.subject in held),
        f"{len(held)} of {len(people)} training people, held out as the validation split is empty",
    )


def few_people(ears: Sequence[Ear], what: str) -> str | None:
    """A warning where ears are of too few people to judge a model by.

    Args:
        ears: The ears to judge it by.
        what: How the warning begins, as in "few people to test on".

    Returns:
        One line, or None where there are at least three people.
    """
    people = len({ear.subject for ear in ears})
    if people >= FEWEST_PEOPLE:
        return None
    return f"{what} ({people}): what comes out is little more than chance; preprocess more people"


class CropDataset(Dataset[torch.Tensor]):
    """Crops as float32 tensors (1, i, j, k) in [0, 1].

    Raises MedlangevinError that names the file when a crop cannot be read or holds NaN or infinity.

    Args:
        ears: Which crops, in this order.
        shape: (i, j, k) of every crop.
        window_hu: The HU that become 0 and 1.
        cache_mb: The first crops that fit into so many MB stay in memory, the others are read again at each use.
    """

    def __init__(
        self, ears: Sequence[Ear], shape: tuple[int, int, int], *, window_hu: tuple[float, float], cache_mb: int
    ) -> None:
        self.ears = tuple(ears)
        self._window_hu = window_hu
        # Not MONAI's CacheDataset: to load MONAI takes seconds in every process, and of it this would remain.
        self._cache: dict[int, torch.Tensor] = {}
        self._cached = min(cache_mb * 1_000_000 // (4 * math.prod(shape)), len(self.ears))

    def __len__(self) -> int:
        return len(self.ears)

    def __getitem__(self, position: int) -> torch.Tensor:
        if position in self._cache:
            return self._cache[position]
        try:
            crop = _read(self.ears[position].image, self._window_hu)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise MedlangevinError(
                f"{self.ears[position].image} cannot be read ({reason}); run medlangevin preprocess again"
            ) from error
        if position < self._cached:
            self._cache[position] = crop
        return crop

    def fill_cache(self) -> None:
        """Read every crop that fits the cache, so that a broken file shows before training starts."""
        for position in range(self._cached):
            self[position]

    def mean(self) -> torch.Tensor:
        """The mean of all crops.

        Returns:
            (1, i, j, k) float32, added up in float64.
        """
        total = torch.zeros(self[0].shape, dtype=torch.float64)
        for position in range(len(self)):
            total += self[position]
        return (total / len(self)).float()


def _read(path: Path, window_hu: tuple[float, float]) -> torch.Tensor:
    hu = torch.from_numpy(np.asarray(open_nifti(path).dataobj).astype(np.float32))
    if not bool(torch.isfinite(hu).all()):
        raise ValueError("it holds NaN or infinite values")
    return to_unit(hu, window_hu)[None]
