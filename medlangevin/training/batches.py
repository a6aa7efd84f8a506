"""The order in which an epoch visits the data, and how its batches are split among processes."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from medlangevin.samplers import Rows
from medlangevin.training.randomness import generator


class EpochBatches(Sampler[list[int]]):
    """Batches of positions 0..``count`` - 1 in random order; the last may be smaller.

    The order is a function of ``seed`` and the epoch alone: call ``set_epoch`` before each. Of every batch the process
    ``rank`` of ``processes`` gets its share, as even as possible. A last batch with fewer images than processes is left
    out.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        return full * (self.batch_size >= self.processes) + (rest >= self.processes)

    def rows(self) -> list[Rows]:
        """Which part of each batch is this process's."""
        sizes = [min(self.batch_size, self.count - first) for first in range(0, self.count, self.batch_size)]
        return [self._share(size) for size in sizes if size >= self.processes]

    def positions(self) -> Iterator[Tensor]:
        """This process's part of each batch of the epoch, int64."""
        order = torch.randperm(self.count, generator=generator(self.seed, "order", self.epoch))
        for batch, rows in zip(order.split(self.batch_size), self.rows(), strict=False):
            yield batch[rows.start : rows.start + rows.size]

    def __iter__(self) -> Iterator[list[int]]:
        for part in self.positions():
            yield part.tolist()

    def _share(self, size: int) -> Rows:
        start, end = (size * rank // self.processes for rank in (self.rank, self.rank + 1))
        return Rows(start, end - start, size)
