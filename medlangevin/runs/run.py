"""The folder of a run: what is in it, and how to load its model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from medlangevin.config import Config, ImagesConfig, ModelConfig, load_config
from medlangevin.datasets.crops import Splits
from medlangevin.datasets.datalist import CropIndex, Ear
from medlangevin.datasets.images import ImageSource
from medlangevin.models import LatentVariableModel, build
from medlangevin.runs.checkpoint import TrainingState, load_state, load_weights, require_weights
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json

CONFIG, DATA, ENVIRONMENT, METRICS = "config.yaml", "data.json", "environment.json", "metrics.csv"
# Crops beyond these are no crops but damage.
LARGEST, SMALLEST_VOXEL_MM3 = 1024, 1e-6
CheckpointName = Literal["best", "last"]


class CropGrid(NamedTuple):
    """The grid of crops: ``affine`` (4 x 4, RAS, mm) and ``shape`` (i, j, k)."""

    affine: np.ndarray
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Run:
    """A training that has at least one checkpoint.

    ``image_shape``: (C, *spatial) of what it was trained on; ``data``: all of data.json; ``state``: of the checkpoint
    that ``model`` was loaded from. The model is in evaluation mode.
    """

    directory: Path
    config: Config
    model: LatentVariableModel
    image_shape: tuple[int, ...]
    data: dict[str, Any]
    state: TrainingState

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.name

    def crop_grid(self) -> CropGrid:
        """The grid of the crops that it was trained on. Raises MedlangevinError when it was trained on 2D images."""
        if self.config.images is not None:
            raise MedlangevinError(
                f"run {self.directory} was trained on the images of {self.config.images.set}, not on crops of ears; "
                "choose a run that was trained on crops"
            )
        return read_grid(self.data, self.directory / DATA)


def checkpoint_folder(run_dir: Path, name: CheckpointName) -> Path:
    """Where a checkpoint of a run lives."""
    return run_dir / "checkpoints" / name


def load_run(run_dir: Path | str, *, checkpoint: CheckpointName = "best", device: torch.device | str = "cpu") -> Run:
    """Load a run. Raises MedlangevinError, one line, when the folder is no run, has no checkpoint or is damaged."""
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise MedlangevinError(f"run {run_dir} does not exist; medlangevin train CONFIG.yaml makes one")
    missing = [name for name in (CONFIG, DATA) if not (run_dir / name).is_file()]
    if missing:
        raise MedlangevinError(f"{run_dir} is not the folder of a run ({' and '.join(missing)} absent); see runs/")
    folder = checkpoint_folder(run_dir, checkpoint)
    if not folder.is_dir():
        raise MedlangevinError(f"run {run_dir} has no checkpoint '{checkpoint}' yet; train it with --resume first")
    config = load_config(run_dir / CONFIG)
    data = read_json(run_dir / DATA)
    if config.images is None:
        image_shape: tuple[int, ...] = (1, *read_grid(data, run_dir / DATA).shape)
    else:
        image_shape = _image_shape(data, run_dir / DATA)
    model = load_model(config.model, image_shape, folder).to(device)
    return Run(run_dir, config, model, image_shape, data, load_state(folder))


def load_model(config: ModelConfig, image_shape: tuple[int, ...], folder: Path) -> LatentVariableModel:
    """The model of ``config`` with the weights in ``folder``, in evaluation mode. Raises MedlangevinError."""
    with torch.device("meta"):  # takes no memory
        require_weights(folder, build(config, image_shape))
    with torch.random.fork_rng(devices=[]):  # building draws weights that loading replaces
        model = build(config, image_shape)
    load_weights(folder, model)
    return model.eval()


def describe_crops(index: CropIndex, splits: Splits, window_hu: tuple[float, float]) -> dict[str, Any]:
    """What data.json holds: the grid, the window, the number of ears, which ears (a digest) and whose they were."""
    return {
        "affine": index.affine.tolist(),
        "shape": list(index.shape),
        "window_hu": list(window_hu),
        "counts": {"training": len(splits.training), "validation": len(splits.validation), "test": len(index.test)},
        "validation_source": splits.validation_source,
        "ears_sha256": _digest(splits.training, splits.validation),
        "seen_subjects": sorted({ear.subject for ear in (*splits.training, *splits.validation)}),
    }


def describe_images(source: ImageSource, settings: ImagesConfig) -> dict[str, Any]:
    """What data.json holds of a run on benchmark images: which set, its shape and counts, and a digest of all of it."""
    description = source.as_json()
    del description["location"]  # another machine has it elsewhere
    return description | {"binarization": settings.binarization, "train_on": settings.train_on}


def _digest(*groups: Sequence[Ear]) -> str:
    text = "\n\n".join("\n".join(f"{ear.subject} {ear.side} {ear.image.name}" for ear in group) for group in groups)
    return hashlib.sha256(text.encode()).hexdigest()


def read_grid(data: Any, path: Path) -> CropGrid:
    """The grid in ``data``, as ``describe_crops`` wrote it. Raises MedlangevinError that names ``path``."""
    try:
        affine = np.array(data["affine"], dtype=np.float64)
        i, j, k = (int(size) for size in data["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise MedlangevinError(f"{path} is damaged; restore it or train again under another name") from error
    if (
        affine.shape != (4, 4)
        or not np.isfinite(affine).all()
        or affine[3].tolist() != [0, 0, 0, 1]
        or abs(np.linalg.det(affine)) < SMALLEST_VOXEL_MM3
        or not 1 <= min(i, j, k) <= max(i, j, k) <= LARGEST
    ):
        raise MedlangevinError(f"{path} is damaged; restore it or train again under another name")
    return CropGrid(affine, (i, j, k))


def _image_shape(data: Any, path: Path) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(size) for size in data["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise MedlangevinError(f"{path} is damaged; restore it or train again under another name") from error
    if not 1 <= min(channels, height, width) <= max(channels, height, width) <= LARGEST:
        raise MedlangevinError(f"{path} is damaged; restore it or train again under another name")
    return channels, height, width
