"""The order in which an epoch visits the data."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from medlangevin.training.randomness import generator


class EpochBatches(Sampler[list[int]]):
    """Batches of positions 0..``count`` - 1 in random order; the last may be smaller.

    The order is a function of ``seed`` and the epoch alone: call ``set_epoch`` before each.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def order(self) -> torch.Tensor:
        """All positions in the order of the epoch, (count,) int64."""
        return torch.randperm(self.count, generator=generator(self.seed, "order", self.epoch))

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.order().split(self.batch_size):
            yield batch.tolist()
