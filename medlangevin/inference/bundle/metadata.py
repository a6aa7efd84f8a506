"""What a bundle says of itself to MONAI: configs/metadata.json and configs/inference.json."""

from importlib.metadata import version
from typing import Any

from medlangevin._version import __version__
from medlangevin.inference.bundle.load import FORMAT, SECTION
from medlangevin.runs.folder import CheckpointName
from medlangevin.runs.run import Run

# The schema that MONAI's verify_metadata fetches.
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
VERSION = "1.0.0"
# Of ``python -m monai.bundle``, which MONAI does not install by itself.
FIRE = "0.5.0"


def metadata(run: Run, checkpoint: CheckpointName) -> dict[str, Any]:
    """The content of metadata.json: MONAI's keys, and ours in a section of their own. Nothing of a person."""
    grid, window, size = run.crop_grid(), run.config.data.window_hu, run.model.latent_dim
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "CT",
        "num_channels": 1,
        "spatial_shape": list(grid.shape),
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": f"HU from {window[0]:g} to {window[1]:g}, clipped, mapped linearly to 0 to 1"},
    }
    latent = {
        "type": "tuples",
        "format": "latent",
        "modality": "n/a",
        "num_channels": size,
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(index): f"z{index + 1}" for index in range(size)},
    }
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "changelog": {VERSION: f"exported by medlangevin {__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "medlangevin": __version__,
            "fire": FIRE,
            **{name: version(name) for name in ("nibabel", "safetensors")},
        },
        "supported_apps": {},
        "name": f"Synthetic cochlea CT ({run.name})",
        "task": "Draw synthetic CT crops of the cochlea, and encode crops as latent vectors",
        "description": (
            f"A latent-variable model ({run.config.model.kind}, {size} latent dimensions) of aligned cochlea crops "
            "from temporal-bone CT, trained with medlangevin. It draws new crops from its prior and gives the "
            "posterior mean of the latent of a crop on the same grid."
        ),
        "authors": "not stated",
        "copyright": "not stated",
        "data_source": "not stated",
        "data_type": "nibabel",
        "intended_use": "Research. Not a medical device; synthetic volumes show no person and support no diagnosis.",
        "references": [
            "Z. Wang and H. Delingette. Quasi-Symplectic Langevin Variational Autoencoder. 2021.",
            "S. Taniguchi, Y. Iwasawa, W. Kumagai and Y. Matsuo. Langevin Autoencoders for Learning Deep Latent "
            "Variable Models. NeurIPS 2022.",
        ],
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": latent}},
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


def inference() -> dict[str, Any]:
    """The content of inference.json: ``run`` draws ears, ``encode`` encodes them. No expression to evaluate."""
    home = "medlangevin.inference.bundle"
    common = {"bundle": "@bundle_root", "output_dir": "@output_dir"}
    return {
        "bundle_root": ".",
        "output_dir": "eval",
        "count": 1,
        "seed": 0,
        "noise": False,
        "image": None,
        "network_def": {"_target_": f"{home}.Encoder", "bundle": "@bundle_root"},
        "run": [{"_target_": f"{home}.sample", **common, "count": "@count", "seed": "@seed", "noise": "@noise"}],
        "encode": [{"_target_": f"{home}.encode", **common, "image": "@image"}],
    }
