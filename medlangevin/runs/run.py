"""A training as it is used: its model and what it was trained on; ears in HU in and out, latents between them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medlangevin.config import Config
from medlangevin.datasets.crop_arrays import to_hu, to_unit
from medlangevin.datasets.datalist import CropIndex, read_index
from medlangevin.models import LatentVariableModel
from medlangevin.models.laplace import NormalPosterior, encoder_posterior, find_mode, laplace
from medlangevin.runs.checkpoint import TrainingState
from medlangevin.runs.folder import DATA, CropGrid, read_grid
from medlangevin.runs.randomness import generator
from medlangevin.system.errors import MedlangevinError, sizes
from medlangevin.system.nifti import read_volume, write_volume

if TYPE_CHECKING:
    from medlangevin.shape.measure import Measures

PathOrHU = Path | str | NDArray[np.generic]

# The tolerance of affines of one cohort, mm (datasets.datalist).
_SAME_GRID_MM = 1e-3


@dataclass(frozen=True)
class Run:
    """A training that has at least one checkpoint, and its model in evaluation mode.

    Volumes are HU, (i, j, k) float32, on the grid of the training crops. An ear is the path of a crop on that grid, or
    its HU. Latents are tensors with a last dimension d. What takes or gives ears works on the CPU, and raises
    MedlangevinError, one line, for a run of 2D images, and for an ear that cannot be read or lies on another grid.

    Attributes:
        directory: The run's folder, or the folder of a bundle.
        config: All its settings.
        model: What does not depend on HU and files (``elbo``, ``log_likelihood``, ...), on images in [0, 1].
        image_shape: (C, *spatial) of what it was trained on.
        data: All of data.json.
        state: Of the checkpoint that ``model`` was loaded from.
        refine: Whether an ear's latent is found at the ear, by following the gradient of log p(x, z) from the encoder's
            estimate to the mode, or is the encoder's.
    """

    directory: Path
    config: Config
    model: LatentVariableModel
    image_shape: tuple[int, ...]
    data: dict[str, Any]
    state: TrainingState
    refine: bool = True

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.name

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel to RAS mm, (4, 4), of every volume."""
        return self.crop_grid().affine

    @property
    def window_hu(self) -> tuple[float, float]:
        """The HU that the model sees as 0 and 1."""
        return self.config.data.window_hu

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def digest(self, *of: object) -> str:
        """What a result depends on that is kept for the next time, in short.

        Args:
            of: Beside the weights: tensors by their values, anything else by its text.

        Returns:
            A SHA-256.
        """
        digest = hashlib.sha256()
        for part in (*self.model.state_dict().values(), *of):
            if isinstance(part, Tensor):
                digest.update(part.detach().cpu().contiguous().numpy().tobytes())
            else:
                digest.update(f"{part}\0".encode())
        return digest.hexdigest()

    def crop_grid(self) -> CropGrid:
        """The grid of the crops that it was trained on.

        Returns:
            Their affine and shape.

        Raises:
            MedlangevinError: It was trained on 2D images.
        """
        if self.config.images is not None:
            images = f"run {self.directory} was trained on the images of {self.config.images.set}, not on crops of ears"
            raise MedlangevinError(f"{images}; choose a run that was trained on crops")
        return read_grid(self.data, self.directory / DATA)

    def crops(self, data_root: Path | str | None) -> CropIndex:
        """The crops in a folder that ``medlangevin preprocess`` wrote.

        Args:
            data_root: The folder; None: where the run's config says.

        Returns:
            Their index.

        Raises:
            MedlangevinError: They cannot be read, or have another shape than those it was trained on.
        """
        index = read_index(data_root or self.config.data.root)
        shape = self.crop_grid().shape
        if index.shape != shape:
            differ = f"have {sizes(index.shape)} voxels, those of run {self.name} {sizes(shape)}"
            remedy = "give crops of the same reference with --data"
            raise MedlangevinError(f"the crops in {index.root} {differ}; {remedy}")
        return index

    def image(self, ear: PathOrHU) -> Tensor:
        """An ear as ``model`` takes it.

        Args:
            ear: The path of a crop, or its HU (i, j, k).

        Returns:
            (1, 1, i, j, k) float32 in [0, 1].

        Raises:
            MedlangevinError: It cannot be read, or does not lie on the grid that the run was trained on.
        """
        grid, crops = self.crop_grid(), f"the crops of run {self.name}"
        if isinstance(ear, Path | str):
            hu, affine = read_volume(ear)
            hint = "give a crop that medlangevin preprocess wrote for the same reference"
            if hu.shape != grid.shape:
                raise MedlangevinError(f"{ear} has {sizes(hu.shape)} voxels, {crops} have {sizes(grid.shape)}; {hint}")
            if not np.allclose(affine, grid.affine, atol=_SAME_GRID_MM):
                raise MedlangevinError(f"{ear} lies on another grid than {crops}; {hint}")
        elif ear.shape != grid.shape:
            raise MedlangevinError(f"an ear of shape {ear.shape}; {crops} have {grid.shape}")
        else:
            hu = ear.astype(np.float32)
        return to_unit(torch.from_numpy(np.array(hu)), self.window_hu)[None, None]

    def prior_latent(self, number: int, *, seed: int) -> Tensor:
        """z ~ N(0, I).

        Args:
            number: Which of the latents, from 1.
            seed: With ``number`` alone it decides the latent.

        Returns:
            (d,).
        """
        return torch.randn(self.model.latent_dim, generator=generator(seed, "latent", number))

    @torch.no_grad()
    def draw(self, latent: Tensor, number: int, *, seed: int, noise: bool) -> NDArray[np.float32]:
        """The ear of a latent.

        Each is decoded alone, so that it does not depend, even by rounding, on how many are drawn together.

        Args:
            latent: (d,).
            number: Which of the ears, from 1.
            seed: With ``number`` it chooses the noise.
            noise: Add the noise that the likelihood has learned to the decoder's mean image.

        Returns:
            HU (i, j, k).

        Raises:
            MedlangevinError: The model draws NaN or infinity.
        """
        if noise:
            output = self.model.decoder(latent[None])
            image = self.model.likelihood.sample(output, generator(seed, "noise", number))
        else:
            image = self.model.decode(latent[None])
        hu = to_hu(image[0, 0], self.window_hu)
        if not torch.isfinite(hu).all():
            raise MedlangevinError(f"run {self.directory} draws volumes with NaN or infinite values; train it again")
        return hu.numpy()

    def sample(self, count: int, *, seed: int = 0, noise: bool = False) -> NDArray[np.float32]:
        """New ears: those of ``medlangevin generate --seed``, before they are rounded.

        Args:
            count: How many, at least 1.
            seed: Ear n depends on it and on n alone.
            noise: Add the noise that the likelihood has learned.

        Returns:
            HU (``count``, i, j, k).
        """
        self.crop_grid()  # refuses a run of 2D images
        _require_some(count)
        numbers = range(1, count + 1)
        return np.stack([self.draw(self.prior_latent(n, seed=seed), n, seed=seed, noise=noise) for n in numbers])

    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """The mean ear of each latent.

        Args:
            latents: (n, d).

        Returns:
            HU (n, i, j, k).

        Raises:
            MedlangevinError: The latents have another shape.
        """
        size = self.model.latent_dim
        if latents.ndim != 2 or latents.shape[1] != size or not len(latents):
            raise MedlangevinError(f"latents of shape {tuple(latents.shape)}; (n, {size}) is needed, z[None] for one")
        return np.stack([self.draw(latent, 1, seed=0, noise=False) for latent in latents])

    def encode(self, ear: PathOrHU) -> Tensor:
        """The latent of an ear: the mode of its posterior, or the encoder's mean without ``refine``.

        Args:
            ear: The path of a crop, or its HU.

        Returns:
            (d,), the same at each call.
        """
        x = self.image(ear)
        return find_mode(self.model, x)[0] if self.refine else self.posterior(x).mean[0]

    def posterior(self, x: Tensor) -> NormalPosterior:
        """Normal approximations of the posteriors of ears: Laplace's, or the encoder's without ``refine``.

        Args:
            x: Of ``image``, (n, 1, i, j, k).

        Returns:
            Their means and the factors of their covariances, the same at each call.
        """
        if self.refine:
            return laplace(self.model, x)
        return encoder_posterior(self.model, x, generator(0, "posterior mean"))

    def posterior_sample(self, ear: PathOrHU, count: int, *, seed: int = 0) -> Tensor:
        """Draws of the approximate posterior of the latent given an ear.

        Args:
            ear: The path of a crop, or its HU.
            count: How many, at least 1.
            seed: Draw n depends on it and on n alone.

        Returns:
            (``count``, d).
        """
        _require_some(count)
        posterior = self.posterior(self.image(ear))
        return torch.cat([posterior.sample(generator(seed, "posterior", number)) for number in range(1, count + 1)])

    def reconstruct(self, ear: PathOrHU) -> NDArray[np.float32]:
        """The mean ear at the latent of an ear.

        Args:
            ear: The path of a crop, or its HU.

        Returns:
            HU (i, j, k).
        """
        return self.decode(self.encode(ear)[None])[0]

    def save(self, hu: NDArray[np.generic], path: Path | str) -> None:
        """Write a volume of the model as NIfTI, int16 HU, with ``affine``, marked SYNTHETIC.

        Args:
            hu: (i, j, k).
            path: Where to, ``.nii`` or ``.nii.gz``.
        """
        write_volume(path, hu, self.affine)

    def measure(self, hu: NDArray[np.generic]) -> "Measures":
        """The shape measures of a volume.

        Args:
            hu: (i, j, k).

        Returns:
            The measures; NaN, with a note, what is not found.
        """
        from medlangevin.shape.measure import measure

        return measure(hu, self.affine)


def _require_some(count: int) -> None:
    if count < 1:
        raise MedlangevinError(f"count {count}: at least 1 has to be asked for")
