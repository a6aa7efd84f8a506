"""A trained run as it is used from Python: ears in HU in and out, latents between them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medlangevin.datasets.window import to_unit
from medlangevin.inference import latents as sources
from medlangevin.inference.generation import draw_volume
from medlangevin.runs import run as training_run
from medlangevin.runs.ear_image import read_ear
from medlangevin.runs.randomness import generator
from medlangevin.shape.measure import Measures, measure
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import write_volume

Ear = Path | str | NDArray[np.generic]


@dataclass(frozen=True)
class TrainedRun(training_run.Run):
    """A run of crops with its model in evaluation mode.

    Volumes are HU, (i, j, k) float32, on the grid of the training crops. An ear is the path of a crop on that grid, or
    its HU. Latents are tensors with a last dimension d. ``model`` has all that does not depend on HU and files
    (``elbo``, ``log_likelihood``, ...), on images in [0, 1]; of a run of 2D images only it and ``config`` are of use.
    Raises MedlangevinError, one line, for an ear that cannot be read or lies on another grid.
    """

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel to RAS mm, (4, 4), of every volume."""
        return self.crop_grid().affine

    @property
    def window_hu(self) -> tuple[float, float]:
        """The HU that the model sees as 0 and 1."""
        return self.config.data.window_hu

    def image(self, ear: Ear) -> Tensor:
        """An ear as ``model`` takes it, (1, 1, i, j, k) in [0, 1]."""
        if isinstance(ear, Path | str):
            return read_ear(ear, self)
        shape = self.crop_grid().shape
        if ear.shape != shape:
            raise MedlangevinError(f"an ear of shape {ear.shape}; the crops of run {self.name} have {shape}")
        return to_unit(torch.from_numpy(ear.astype(np.float32)), self.window_hu)[None, None]

    def sample(self, count: int, *, seed: int = 0, noise: bool = False) -> NDArray[np.float32]:
        """``count`` new ears, (count, i, j, k): those of ``medlangevin generate --seed``, before they are rounded."""
        self.crop_grid()  # refuses a run of 2D images
        _require_some(count)
        at = sources.from_prior(self, count=count, seed=seed).at
        numbers = range(1, count + 1)
        return np.stack([draw_volume(self, at(number), number, seed=seed, noise=noise) for number in numbers])

    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """The mean ear of each latent, (n, d) -> (n, i, j, k)."""
        size = self.model.latent_dim
        if latents.ndim != 2 or latents.shape[1] != size or not len(latents):
            raise MedlangevinError(f"latents of shape {tuple(latents.shape)}; (n, {size}) is needed, z[None] for one")
        return np.stack([draw_volume(self, latent, 1, seed=0, noise=False) for latent in latents])

    def encode(self, ear: Ear) -> Tensor:
        """The mean (d,) of the model's posterior of the latent given an ear, over 64 draws; the same at each call."""
        return sources.posterior_mean(self.model, self.image(ear))

    def posterior_sample(self, ear: Ear, count: int, *, seed: int = 0) -> Tensor:
        """``count`` draws of the model's posterior given an ear, (count, d); each by its number and the seed alone."""
        _require_some(count)
        x = self.image(ear)
        streams = [generator(seed, "posterior", number) for number in range(1, count + 1)]
        return torch.cat([self.model.posterior_sample(x, 1, stream)[0] for stream in streams])

    def reconstruct(self, ear: Ear) -> NDArray[np.float32]:
        """The mean ear at the posterior mean, (i, j, k)."""
        return self.decode(self.encode(ear)[None])[0]

    def save(self, hu: NDArray[np.generic], path: Path | str) -> None:
        """Write a volume of the model as NIfTI, int16 HU, with ``affine``, marked SYNTHETIC."""
        write_volume(Path(path), hu, self.affine)

    def measure(self, hu: NDArray[np.generic]) -> Measures:
        """The shape measures of a volume; NaN, with a note, what is not found."""
        return measure(hu, self.affine)


def _require_some(count: int) -> None:
    if count < 1:
        raise MedlangevinError(f"count {count}: at least 1 has to be asked for")


def load_run(run_dir: Path | str, *, checkpoint: training_run.CheckpointName = "best") -> TrainedRun:
    """Load a run, on the CPU.

    Raises MedlangevinError, one line, when the folder is no run, has no such checkpoint or is damaged.
    """
    return TrainedRun(**vars(training_run.load_run(run_dir, checkpoint=checkpoint)))
