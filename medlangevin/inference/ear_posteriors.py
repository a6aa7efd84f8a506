"""Posteriors of many ears under a run. Those found by gradients, seconds an ear, are kept beside the run."""

import hashlib
import logging
from collections.abc import Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medlangevin.datasets.crops import CropDataset
from medlangevin.datasets.datalist import Ear
from medlangevin.models.laplace import NormalPosterior
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path
from medlangevin.system.progress import progress

logger = logging.getLogger(__name__)

# In the folder of the run; may be deleted at any time.
KEPT = "posteriors.safetensors"
# Ears between two writes: what an interruption costs at most.
_EARS_A_WRITE = 16


def ear_posteriors(run: Run, ears: Sequence[Ear]) -> NormalPosterior:
    """The posterior of each ear; of what was found before only the ears that are new to it are made.

    Args:
        run: The run.
        ears: The ears.

    Returns:
        Of n ears: means (n, d) and factors (n, d, d).

    Raises:
        MedlangevinError: An ear cannot be read.
    """
    images = CropDataset(ears, run.crop_grid().shape, window_hu=run.config.data.window_hu, cache_mb=0)
    known = _read(run) if run.refine else {}
    weights = run.digest()[:32]
    rows: list[Tensor] = []
    unwritten, keeps = 0, run.refine
    with progress(len(ears), "training ear") as track:
        for number in range(len(ears)):
            x = images[number][None]
            key = f"{weights}-{hashlib.sha256(x.numpy().tobytes()).hexdigest()}"
            if key not in known:
                mean, factor = run.posterior(x)
                known[key] = torch.cat([mean[:, None], factor], 1)[0]
                unwritten += 1
            rows.append(known[key])
            if keeps and unwritten and (unwritten == _EARS_A_WRITE or number == len(ears) - 1):
                keeps = _write(run, {key: row for key, row in known.items() if key.startswith(weights)})
                unwritten = 0
            track.advance(number + 1)
    return NormalPosterior(torch.stack([row[0] for row in rows]), torch.stack([row[1:] for row in rows]))


def _read(run: Run) -> dict[str, Tensor]:
    """What is kept, or nothing where it is damaged: it can be made again."""
    size = run.model.latent_dim
    try:
        found = load_file(run.directory / KEPT)
    except (OSError, SafetensorError):
        return {}
    return {key: row for key, row in found.items() if row.shape == (size + 1, size) and bool(row.isfinite().all())}


def _write(run: Run, rows: dict[str, Tensor]) -> bool:
    """Whether they could be kept."""
    try:
        with atomic_path(run.directory / KEPT) as temporary:
            save_file(rows, temporary)
    except (MedlangevinError, SafetensorError) as error:
        logger.info(f"latents are not kept for the next time: {error}")
        return False
    return True
