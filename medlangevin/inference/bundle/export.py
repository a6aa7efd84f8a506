"""Writing a run as a MONAI bundle: whole or not at all, and with nothing of the ears that it was trained on."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medlangevin._version import __version__
from medlangevin.inference.bundle.load import FORMAT, METADATA, MODELS, SECTION
from medlangevin.runs.checkpoint import WEIGHTS
from medlangevin.runs.folder import CheckpointName, checkpoint_folder
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError, sizes
from medlangevin.system.files import PARTIAL, atomic_folder, read_json, recover_folder, write_json, write_text

INFERENCE = Path("configs/inference.json")
README, LICENSE = Path("docs/README.md"), Path("LICENSE")
# Of ``python -m monai.bundle``, which MONAI does not install by itself.
FIRE = "0.5.0"
FILES = {METADATA, INFERENCE, MODELS / WEIGHTS, README, LICENSE}

# What is the same in every bundle: null in metadata.json, and names in braces, stand for what is not.
_TEMPLATES = Path(__file__).with_name("files")


def export(run_dir: Path | str, bundle: Path | str, *, checkpoint: CheckpointName = "best") -> Path:
    """Write a checkpoint of a run as a MONAI bundle: weights, settings of the model and grid.

    It holds no ear, no pseudonym and no path. A bundle that ``export`` wrote before is replaced.

    Args:
        run_dir: The folder of the run.
        bundle: The folder to write.
        checkpoint: Which checkpoint.

    Returns:
        The folder of the bundle.

    Raises:
        MedlangevinError: Before anything is written: the run cannot be loaded, was trained on 2D images, or
            ``bundle`` holds other files.
    """
    bundle = Path(bundle)
    recover_folder(bundle)
    _require_ours(bundle)
    run = load_run(run_dir, checkpoint=checkpoint)
    about = metadata(run, checkpoint)
    low, high = run.config.data.window_hu
    grid = sizes(run.crop_grid().shape)
    words = {"name": run.name, "kind": run.config.model.kind, "grid": grid, "low": low, "high": high}
    words["version"] = __version__
    with atomic_folder(bundle) as folder:
        write_json(folder / METADATA, about)
        write_json(folder / INFERENCE, read_json(_TEMPLATES / INFERENCE.name))
        for path in (README, LICENSE):
            write_text(folder / path, (_TEMPLATES / path.name).read_text(encoding="utf-8").format(**words))
        (folder / MODELS).mkdir()
        shutil.copyfile(checkpoint_folder(run.directory, checkpoint) / WEIGHTS, folder / MODELS / WEIGHTS)
    return bundle


def metadata(run: Run, checkpoint: CheckpointName) -> dict[str, Any]:
    """The content of metadata.json: MONAI's keys, and ours in a section of their own. Nothing of a person.

    Args:
        run: The run.
        checkpoint: Which of its checkpoints the bundle holds.

    Returns:
        Plain values.
    """
    grid, window, size = run.crop_grid(), run.config.data.window_hu, run.model.latent_dim
    about = read_json(_TEMPLATES / METADATA.name)
    image, latent = about["network_data_format"]["inputs"]["image"], about["network_data_format"]["outputs"]["pred"]
    meaning = f"HU from {window[0]:g} to {window[1]:g}, clipped, mapped linearly to 0 to 1"
    image.update(spatial_shape=list(grid.shape), channel_def={"0": meaning})
    latent.update(num_channels=size, channel_def={str(index): f"z{index + 1}" for index in range(size)})
    return about | {
        "changelog": {about["version"]: f"exported by medlangevin {__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "medlangevin": __version__,
            "fire": FIRE,
            **{name: version(name) for name in ("nibabel", "safetensors")},
        },
        "name": f"Synthetic cochlea CT ({run.name})",
        "description": (
            f"A latent-variable model ({run.config.model.kind}, {size} latent dimensions) of aligned cochlea crops "
            "from temporal-bone CT, trained with medlangevin. It draws new crops from its prior and gives the "
            "latent that explains a crop on the same grid best, the mode of its posterior."
        ),
        "decoder_data_format": {"inputs": {"latent": latent}, "outputs": {"pred": image}},
        SECTION: {
            "format": FORMAT,
            "name": run.name,
            "checkpoint": checkpoint,
            "epoch": run.state.epoch,
            "window_hu": list(window),
            "affine": grid.affine.tolist(),
            "shape": list(grid.shape),
            "model": run.config.model.model_dump(mode="json"),
        },
    }


def _require_ours(bundle: Path) -> None:
    if bundle.exists() and not bundle.is_dir():
        raise MedlangevinError(f"{bundle} is a file; choose a folder with --bundle")
    paths = (path for path in bundle.rglob("*") if not path.is_dir() and not path.name.startswith(PARTIAL))
    other = next((path for path in paths if path.relative_to(bundle) not in FILES), None)
    if other is not None:
        raise MedlangevinError(f"{other} is there, which export did not write; choose another folder with --bundle")
    if any((bundle / path).exists() for path in FILES):
        before = read_json(bundle / METADATA) if (bundle / METADATA).is_file() else None
        if not isinstance(before, dict) or SECTION not in before:
            raise MedlangevinError(f"{bundle} holds a bundle of another program; choose another folder with --bundle")
