"""Synthetic ears: volumes in HU drawn from a trained model, each marked as synthetic."""

import hashlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from medlangevin import __version__
from medlangevin.datasets.window import to_hu
from medlangevin.errors import MedlangevinError
from medlangevin.io import atomic_path, read_json, write_json
from medlangevin.progress import progress
from medlangevin.training.checkpoint import WEIGHTS
from medlangevin.training.randomness import generator
from medlangevin.training.run import CheckpointName, Run, checkpoint_folder, load_run

MARKER = "generation.json"
PICTURE = "montage.png"


def generate(
    run_dir: Path | str,
    out: Path | str,
    *,
    count: int,
    seed: int = 0,
    noise: bool = False,
    checkpoint: CheckpointName = "best",
) -> list[Path]:
    """Write ``count`` synthetic ears into ``out``; the paths of the volumes.

    ``synthetic-0001_ct.nii.gz`` (int16 HU, on the grid of the crops the run was trained on), a JSON sidecar each, and
    generation.json. Mean images of the decoder; ``noise`` adds the noise the likelihood has learned. Volume n depends
    on the run, ``seed`` and n alone. Raises MedlangevinError before anything is written when ``out`` holds other files.
    """
    if count < 1:
        raise MedlangevinError(f"--count {count}: at least 1 volume has to be asked for")
    out = Path(out)
    _require_ours(out)
    run = load_run(run_dir, checkpoint=checkpoint)
    affine = run.crop_grid().affine
    weights = checkpoint_folder(run.directory, checkpoint) / WEIGHTS
    about: dict[str, Any] = {
        "SYNTHETIC": True,
        "description": "Synthetic volume drawn from a generative model; it shows no person.",
        "run": run.name,
        "model": run.config.model.kind,
        "checkpoint": checkpoint,
        "epoch": run.state.epoch,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "seed": seed,
        "noise": noise,
        "software": f"medlangevin {__version__}",
    }
    draw_volume(run, 1, seed=seed, noise=noise)  # a run that cannot draw must not cost the volumes that are there
    for stale in [*out.glob("synthetic-*_ct.nii.gz"), *out.glob("synthetic-*_ct.json"), out / PICTURE]:
        stale.unlink(missing_ok=True)
    write_json(out / MARKER, about | {"count": count, "window_hu": list(run.config.data.window_hu)})
    paths = []
    with progress(count, "volume") as track:
        for index in range(1, count + 1):
            hu, latent = draw_volume(run, index, seed=seed, noise=noise)
            path = out / f"synthetic-{index:04d}_ct.nii.gz"
            write_volume(path, hu, affine)
            write_json(out / f"synthetic-{index:04d}_ct.json", about | {"index": index, "latent": latent.tolist()})
            paths.append(path)
            track.advance(index)
    return paths


@torch.no_grad()
def draw_volume(run: Run, index: int, *, seed: int, noise: bool) -> tuple[np.ndarray, torch.Tensor]:
    """Synthetic volume number ``index``: HU (i, j, k) float32, and its latent vector (d,).

    Each is decoded alone from its own generators, so that it does not depend on how many are drawn together.
    """
    latent = torch.randn(run.model.latent_dim, generator=generator(seed, "latent", index))
    if noise:
        output = run.model.decoder(latent[None])
        image = run.model.likelihood.sample(output, generator(seed, "noise", index))
    else:
        image = run.model.decode(latent[None])
    hu = to_hu(image[0, 0], run.config.data.window_hu)
    if not torch.isfinite(hu).all():
        raise MedlangevinError(f"run {run.directory} draws volumes with NaN or infinite values; train it again")
    return hu.numpy(), latent


def write_volume(path: Path, hu: np.ndarray, affine: np.ndarray) -> None:
    """Write HU (i, j, k), rounded to int16, as NIfTI with a RAS ``affine`` in mm, marked SYNTHETIC in the header."""
    limits = np.iinfo(np.int16)
    image = nibabel.Nifti1Image(np.clip(np.rint(hu), limits.min, limits.max).astype(np.int16), affine)
    image.set_sform(affine, code="aligned")
    image.set_qform(affine, code="aligned")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"SYNTHETIC medlangevin {__version__}".encode()
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def _require_ours(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise MedlangevinError(f"{out} is a file; choose a folder with --out")
    if not out.is_dir() or all(entry.name.startswith(".partial-") for entry in out.iterdir()):
        return
    marker = read_json(out / MARKER) if (out / MARKER).is_file() else None
    if not isinstance(marker, dict) or marker.get("SYNTHETIC") is not True:
        raise MedlangevinError(f"{out} holds files that generate did not write; choose an empty folder with --out")
