"""Writing a run as a MONAI bundle: whole or not at all, and with nothing of the ears that it was trained on."""

import shutil
from pathlib import Path

from medlangevin._version import __version__
from medlangevin.inference.bundle.load import METADATA, MODELS, SECTION
from medlangevin.inference.bundle.metadata import inference, metadata
from medlangevin.runs.checkpoint import WEIGHTS
from medlangevin.runs.folder import CheckpointName, checkpoint_folder
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError, sizes
from medlangevin.system.files import PARTIAL, atomic_folder, read_json, recover_folder, write_json, write_text

INFERENCE = Path("configs/inference.json")
README, LICENSE = Path("docs/README.md"), Path("LICENSE")
FILES = {METADATA, INFERENCE, MODELS / WEIGHTS, README, LICENSE}

_README = """\
# Synthetic cochlea CT: {name}

A {kind} of aligned cochlea crops from temporal-bone CT, trained with medlangevin. {grid} voxels, CT numbers from
{low:g} to {high:g} HU. In this folder, with medlangevin {version} or later and fire installed:

    python -m monai.bundle run --config_file configs/inference.json --count 10 --seed 0 --output_dir out
    python -m monai.bundle run encode --config_file configs/inference.json --image ear_ct.nii.gz --output_dir out

The first writes out/samples/synthetic-0001_ct.nii.gz and so on: HU on the grid of the training crops, each with a JSON
file that says SYNTHETIC. The second writes out/latents.tsv: the posterior mean of the latent of a crop (or of each crop
in a folder) that medlangevin preprocess wrote for the same reference. Elsewhere than in this folder add --bundle_root.

In Python: `medlangevin.load_bundle("FOLDER").sample(10)`.

The weights are safetensors; the configuration holds no expressions. There is no model.pt, as nothing here is unpickled.
Not a medical device. Who trained the model knows the data; metadata.json has room for authors and copyright.
"""
_LICENSE = """\
The configuration and the text of this bundle come from medlangevin {version}, under the Apache License, Version 2.0:
https://www.apache.org/licenses/LICENSE-2.0

That licence does not cover the weights in models/. They were made by whoever trained the model, from their own data.
Their terms: not stated.
"""


def export(run_dir: Path | str, bundle: Path | str, *, checkpoint: CheckpointName = "best") -> Path:
    """Write a checkpoint of a run as a MONAI bundle; the folder.

    Weights, the settings of the model and the grid: no ear, no pseudonym, no path. A bundle that ``export`` wrote
    before is replaced. Raises MedlangevinError before anything is written when the run cannot be loaded, was trained on
    2D images, or ``bundle`` holds other files.
    """
    bundle = Path(bundle)
    recover_folder(bundle)
    _require_ours(bundle)
    run = load_run(run_dir, checkpoint=checkpoint)
    about = metadata(run, checkpoint)
    with atomic_folder(bundle) as folder:
        write_json(folder / METADATA, about)
        write_json(folder / INFERENCE, inference())
        write_text(folder / README, _readme(run))
        write_text(folder / LICENSE, _LICENSE.format(version=__version__))
        (folder / MODELS).mkdir()
        shutil.copyfile(checkpoint_folder(run.directory, checkpoint) / WEIGHTS, folder / MODELS / WEIGHTS)
    return bundle


def _readme(run: Run) -> str:
    low, high = run.config.data.window_hu
    grid = sizes(run.crop_grid().shape)
    return _README.format(name=run.name, kind=run.config.model.kind, grid=grid, low=low, high=high, version=__version__)


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
