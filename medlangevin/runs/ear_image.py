"""Ears as a model's input: on the grid of the crops that it was trained on, or refused in one line."""

from pathlib import Path

import numpy as np
import torch

from medlangevin.datasets.datalist import CropIndex, read_index
from medlangevin.datasets.window import to_unit
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import read_volume

# The tolerance of affines of one cohort, mm (datasets.datalist).
_SAME_GRID_MM = 1e-3


def read_crops(run: Run, data_root: Path | str | None) -> CropIndex:
    """The crops in ``data_root``, or where the run's config says. Raises MedlangevinError if not of its shape."""
    index = read_index(data_root or run.config.data.root)
    shape = run.crop_grid().shape
    if index.shape != shape:
        raise MedlangevinError(
            f"the crops in {index.root} have {_by(index.shape)} voxels, those of run {run.name} {_by(shape)}; "
            "give crops of the same reference with --data"
        )
    return index


def read_ear(path: Path | str, run: Run) -> torch.Tensor:
    """The crop ``path`` in the units of ``run``'s model, (1, 1, i, j, k) float32 in [0, 1].

    Raises MedlangevinError, one line, when it cannot be read or does not lie on the grid the run was trained on.
    """
    path, grid = Path(path), run.crop_grid()
    hu, affine = read_volume(path)
    advice = "give a crop that medlangevin preprocess wrote for the same reference"
    if hu.shape != grid.shape:
        raise MedlangevinError(
            f"{path} has {_by(hu.shape)} voxels, the crops of run {run.name} have {_by(grid.shape)}; {advice}"
        )
    if not np.allclose(affine, grid.affine, atol=_SAME_GRID_MM):
        raise MedlangevinError(f"{path} lies on another grid than the crops of run {run.name}; {advice}")
    return to_unit(torch.from_numpy(hu.copy()), run.config.data.window_hu)[None, None]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
