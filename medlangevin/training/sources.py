"""Where batches come from: crops read from disk, or images in memory."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from medlangevin.datasets.crop_arrays import augment
from medlangevin.datasets.crops import CropDataset
from medlangevin.datasets.images import ModelImages
from medlangevin.runs.randomness import generator
from medlangevin.system.distributed import Rows


class EpochBatches(Sampler[list[int]]):
    """Batches of positions 0..``count`` - 1 in random order; the last may be smaller.

    The order is a function of ``seed`` and the epoch alone: call ``set_epoch`` before each. Of every batch the process
    gets its share, as even as possible. A last batch with fewer images than processes is left out.

    Args:
        count: The number of images.
        batch_size: Images of a batch, of all processes together.
        seed: The run's.
        rank: The number of this process, from 0.
        processes: How many there are.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.processes, self.epoch = rank, processes, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next.

        Args:
            epoch: Its number.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        return full * (self.batch_size >= self.processes) + (rest >= self.processes)

    def rows(self) -> list[Rows]:
        """Which part of each batch is this process's.

        Returns:
            A part for each batch.
        """
        sizes = [min(self.batch_size, self.count - first) for first in range(0, self.count, self.batch_size)]
        return [self._share(size) for size in sizes if size >= self.processes]

    def positions(self) -> Iterator[Tensor]:
        """This process's part of each batch of the epoch.

        Yields:
            Positions, int64.
        """
        order = torch.randperm(self.count, generator=generator(self.seed, "order", self.epoch))
        for batch, rows in zip(order.split(self.batch_size), self.rows(), strict=False):
            yield batch[rows.start : rows.start + rows.size]

    def __iter__(self) -> Iterator[list[int]]:
        for part in self.positions():
            yield part.tolist()

    def _share(self, size: int) -> Rows:
        start, end = (size * rank // self.processes for rank in (self.rank, self.rank + 1))
        return Rows(start, end - start, size)


class Source(ABC):
    """Images that a model can be trained or validated on: batches x (n, C, *spatial), float32, in [0, 1].

    Args:
        images: The images.
    """

    def __init__(self, images: CropDataset | ModelImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    @abstractmethod
    def shuffled(self, order: EpochBatches, noise: torch.Generator) -> Iterator[Tensor]:
        """The batches of the epoch that ``order`` stands at.

        Args:
            order: Which images are in which batch.
            noise: For what is drawn anew every epoch.

        Yields:
            The batches x (n, C, *spatial).
        """

    @abstractmethod
    def in_order(self, batch_size: int, noise: torch.Generator | None = None) -> Iterator[Tensor]:
        """All images, always the same.

        Args:
            batch_size: Images of a batch.
            noise: Needed by images that are binarised anew whenever they are seen, and by no others.

        Yields:
            The batches x (n, C, *spatial).
        """

    def groups(self) -> Sequence[Hashable]:
        """Whose each image is, in the order of ``in_order``: images of one person are not independent.

        Returns:
            (n,); here each image is on its own.
        """
        return range(len(self))


class CropSource(Source):
    """Crops of ears; for training changed a little, see ``augment``.

    Args:
        crops: The crops.
        num_workers: Processes that read them; 0: this one does.
        shift_voxels: How far training crops are moved, at most.
        noise: Standard deviation of white noise on training crops, in units of x.
        deform_voxels: How far they are deformed, see ``augment``.
        device: Where training batches are changed.
    """

    images: CropDataset

    def __init__(
        self,
        crops: CropDataset,
        *,
        num_workers: int = 0,
        shift_voxels: float = 0.0,
        noise: float = 0.0,
        deform_voxels: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(crops)
        self._num_workers, self._device = num_workers, device
        self._changes = {"shift_voxels": shift_voxels, "noise": noise, "deform_voxels": deform_voxels}
        self._loader: tuple[EpochBatches, DataLoader[Tensor]] | None = None

    def shuffled(self, order: EpochBatches, noise: torch.Generator) -> Iterator[Tensor]:
        """See ``Source``; the batches are on the device, as they are changed there.

        Args:
            order: Which images are in which batch.
            noise: For what is drawn anew every epoch.

        Yields:
            The batches x (n, C, *spatial).
        """
        if self._loader is None or self._loader[0] is not order:
            workers = self._num_workers
            loader: DataLoader[Tensor] = DataLoader(
                self.images, batch_sampler=order, num_workers=workers, persistent_workers=workers > 0
            )
            self._loader = (order, loader)
        for batch in self._loader[1]:
            x = batch.to(self._device, non_blocking=True)
            yield augment(x, noise, **self._changes)

    def in_order(self, batch_size: int, noise: torch.Generator | None = None) -> Iterator[Tensor]:
        """See ``Source``; the crops are as they were read.

        Args:
            batch_size: Images of a batch.
            noise: Not used.

        Returns:
            The batches x (n, C, *spatial).
        """
        return iter(DataLoader(self.images, batch_size=batch_size))

    def groups(self) -> Sequence[Hashable]:
        """The person whose ear each crop is.

        Returns:
            Pseudonyms, (n,).
        """
        return [ear.subject for ear in self.images.ears]


class MemorySource(Source):
    """Images held as uint8, on the device that they are trained on.

    Args:
        images: The images.
    """

    images: ModelImages

    def shuffled(self, order: EpochBatches, noise: torch.Generator) -> Iterator[Tensor]:
        """See ``Source``; ``noise`` binarises the images where that is done anew every time.

        Args:
            order: Which images are in which batch.
            noise: For what is drawn anew every epoch.

        Yields:
            The batches x (n, C, *spatial).
        """
        for positions in order.positions():
            yield self.images.batch(positions.to(self.images.images.device), generator=noise)

    def in_order(self, batch_size: int, noise: torch.Generator | None = None) -> Iterator[Tensor]:
        """See ``Source``.

        Args:
            batch_size: Images of a batch.
            noise: Needed where images are binarised anew every time.

        Yields:
            The batches x (n, C, *spatial).
        """
        for first in range(0, len(self), batch_size):
            yield self.images.batch(slice(first, first + batch_size), generator=noise)
