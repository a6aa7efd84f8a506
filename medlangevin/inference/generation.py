"""Synthetic ears: volumes in HU drawn from a trained model, each marked as synthetic."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from medlangevin._version import __version__
from medlangevin.inference import latents as sources
from medlangevin.inference.latents import Latents
from medlangevin.runs.checkpoint import WEIGHTS
from medlangevin.runs.folder import CheckpointName, checkpoint_folder
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import foreign_files, read_json, require_folder, sweep, write_json
from medlangevin.system.nifti import write_volume
from medlangevin.system.progress import progress

logger = logging.getLogger(__name__)

# GENERATED: how the volumes beside it were drawn.
GENERATED, PICTURE = "generation.json", "montage.png"


def generate(
    run_dir: Path | str,
    out: Path | str,
    *,
    count: int | None = None,
    seed: int = 0,
    noise: bool = False,
    checkpoint: CheckpointName = "best",
    like: Path | None = None,
    strength: float = 1.0,
    between: tuple[Path, Path] | None = None,
    traverse: tuple[int, int] | None = None,
    fitted: bool = False,
    data_root: Path | None = None,
    refine: bool = True,
) -> list[Path]:
    """Write synthetic ears into a folder.

    They are ``synthetic-0001_ct.nii.gz`` (int16 HU, on the grid of the crops that the run was trained on), a JSON
    sidecar each, and generation.json: mean images of the decoder, of latents from the prior or from one other source
    of ``medlangevin.inference.latents``. Volume n depends on the run, the arguments and n alone. One volume is in
    memory at a time. What the same call wrote before it was interrupted is kept.

    Args:
        run_dir: The folder of the run.
        out: The folder to write.
        count: The number of volumes, at least 1; without meaning for ``traverse``.
        seed: Chooses the latents and the noise.
        noise: Add the noise that the likelihood has learned.
        checkpoint: The checkpoint of the run.
        like: Draw from the posterior of this ear.
        strength: With ``like``, the share of the posterior's deviations, 0 to 1.
        between: Go from one ear to another.
        traverse: Directions and steps of a traversal of the training crops.
        fitted: Draw from a Gaussian fitted to the latents of the training crops.
        data_root: Where the training crops are; by default where the run's config says.
        refine: Find the latents of ears at each ear rather than by the encoder (``load_run``).

    Returns:
        The paths of the volumes.

    Raises:
        MedlangevinError: Before anything is written, when the input is wrong or ``out`` holds other files.
    """
    if traverse is None and (count is None or count < 1):
        raise MedlangevinError(f"--count {count}: at least 1 volume has to be asked for")
    if sum(choice is not None for choice in (like, between, traverse, fitted or None)) > 1:
        raise MedlangevinError("--fitted, --like, --between and --traverse exclude one another; give one of them")
    out = Path(out)
    require_ours(out)
    run = load_run(run_dir, checkpoint=checkpoint, refine=refine)
    run.crop_grid()  # refuses a run of 2D images before anything is drawn
    if like is not None:
        latents = sources.like(run, Path(like), strength=strength, count=count or 1, seed=seed)
    elif between is not None:
        latents = sources.between(run, *between, count=count or 1)
    elif traverse is not None:
        latents = sources.traverse(run, directions=traverse[0], steps=traverse[1], data_root=data_root)
    elif fitted:
        latents = sources.fitted(run, count=count or 1, seed=seed, data_root=data_root)
    else:
        latents = sources.from_prior(run, count=count or 1, seed=seed)
    weights = checkpoint_folder(run.directory, checkpoint) / WEIGHTS
    return write_volumes(run, latents, out, weights=weights, checkpoint=checkpoint, seed=seed, noise=noise)


def write_volumes(
    run: Run, latents: Latents, out: Path, *, weights: Path, checkpoint: CheckpointName, seed: int, noise: bool
) -> list[Path]:
    """Write the volumes of given latents as ``generate`` does.

    Args:
        run: The run.
        latents: What to decode.
        out: A folder that ``require_ours`` has approved.
        weights: The file that the model was loaded from.
        checkpoint: The checkpoint that it belongs to.
        seed: Chooses the noise.
        noise: Add the noise that the likelihood has learned.

    Returns:
        The paths of the volumes.

    Raises:
        MedlangevinError: For a run of 2D images, or one that draws NaN or infinity.
    """
    affine = run.crop_grid().affine
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
        **latents.about,
    }
    run.draw(latents.at(1), 1, seed=seed, noise=noise)  # a run that cannot draw must not cost what is there
    replaced = _make_room(out, about, latents.count)
    if replaced:
        logger.info(f"{replaced} volumes in {out}, drawn with other settings, are replaced")
    write_json(out / GENERATED, about | {"count": latents.count, "window_hu": list(run.config.data.window_hu)})
    paths = []
    with progress(latents.count, "volume") as track:
        for index in range(1, latents.count + 1):
            path, sidecar = _names(out, index)
            paths.append(path)
            if not (path.is_file() and sidecar.is_file()):
                latent = latents.at(index)
                write_volume(path, run.draw(latent, index, seed=seed, noise=noise), affine)
                # The sidecar comes last: where it is, its volume is whole.
                write_json(sidecar, about | {"index": index, **latents.note(index), "latent": latent.tolist()})
            track.advance(index)
    return paths


def _names(out: Path, index: int) -> tuple[Path, Path]:
    stem = f"synthetic-{index:04d}_ct"
    return out / f"{stem}.nii.gz", out / f"{stem}.json"


def _make_room(out: Path, about: dict[str, Any], count: int) -> int:
    """Remove what another call wrote; of an earlier call with the same settings keep the first ``count`` volumes.

    Returns how many volumes of other settings there were.
    """
    before = read_json(out / GENERATED) if (out / GENERATED).is_file() else {}
    # Where the count is a setting, as of a path, whose points depend on it, it has to agree as well.
    ignored = {"count", "window_hu"} - about.keys()
    is_same = {key: value for key, value in before.items() if key not in ignored} == about
    kept = {path for index in range(1, count + 1) for path in _names(out, index)} if is_same else set()
    volumes = list(out.glob("synthetic-*_ct.nii.gz"))
    for stale in [*volumes, *out.glob("synthetic-*_ct.json"), out / PICTURE]:
        if stale not in kept:
            stale.unlink(missing_ok=True)
    if out.is_dir():
        sweep(out)
    return 0 if is_same else len(volumes)


def require_ours(out: Path) -> None:
    """Refuse a folder that ``generate`` must not write into.

    Args:
        out: The folder.

    Raises:
        MedlangevinError: Unless it is absent, empty or a folder that ``generate`` wrote.
    """
    require_folder(out)
    if not out.is_dir() or not foreign_files(out, set()):
        return
    marker = read_json(out / GENERATED) if (out / GENERATED).is_file() else None
    if not isinstance(marker, dict) or marker.get("SYNTHETIC") is not True:
        raise MedlangevinError(f"{out} holds files that generate did not write; choose an empty folder with --out")


def origin(folder: Path) -> str | None:
    """A hash that tells whether volumes of ``generate`` have been replaced.

    Args:
        folder: Folder of volumes.

    Returns:
        The SHA-256 of its ``generation.json``; None where there is none, so in folders of others.
    """
    record = folder / GENERATED
    return hashlib.sha256(record.read_bytes()).hexdigest() if record.is_file() else None
