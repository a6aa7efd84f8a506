"""TensorBoard: every number of metrics.csv, and slices of reconstructions and samples."""

import logging
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from medlangevin.datasets.slices import strip
from medlangevin.training.metrics import Row


class EventLog:
    """TensorBoard events in ``folder``; events after ``epoch``, which a killed run wrote, are hidden."""

    def __init__(self, folder: Path, *, epoch: int) -> None:
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        self._writer = SummaryWriter(str(folder), purge_step=epoch + 1 if epoch else None)

    def scalars(self, epoch: int, row: Row) -> None:
        """Every entry of a row of metrics.csv but the epoch."""
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch)

    def volumes(self, epoch: int, name: str, images: torch.Tensor) -> None:
        """The middle slices of images (N, 1, i, j, k) in [0, 1], one row each."""
        rows = [strip(image[0].float().cpu()) for image in images]
        self._writer.add_image(name, torch.cat(rows)[None].clamp(0, 1), epoch)

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()
