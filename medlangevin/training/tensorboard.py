"""TensorBoard: every number of metrics.csv, and slices of reconstructions and samples."""

import logging
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from medlangevin.datasets.crop_arrays import strip
from medlangevin.runs.metrics import Row


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

    def pictures(self, epoch: int, name: str, images: torch.Tensor) -> None:
        """Images (N, C, H, W) in [0, 1] side by side, or the middle slices of volumes (N, 1, i, j, k), one row each."""
        images = images.float().cpu().clamp(0, 1)
        if images.ndim == 4:
            self._writer.add_image(name, torch.cat(list(images), dim=2), epoch)
            return
        self._writer.add_image(name, torch.cat([strip(image[0]) for image in images])[None], epoch)

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()
