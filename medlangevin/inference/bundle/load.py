"""Reading a bundle: its metadata and its weights are data, and nothing in it is executed."""

from pathlib import Path

from medlangevin.config import parse_config
from medlangevin.runs.checkpoint import TrainingState
from medlangevin.runs.folder import read_grid
from medlangevin.runs.load import load_model
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json

METADATA = Path("configs/metadata.json")
MODELS = Path("models")
# The key of metadata.json for what MONAI has no key for: the model's settings, the grid, the window, the checkpoint.
SECTION = "medlangevin"
FORMAT = 1


def load_bundle(bundle: Path | str) -> Run:
    """Load the run that ``medlangevin export`` made a bundle of, without what it knew of its training data.

    Args:
        bundle: The folder.

    Returns:
        The run; its ``data`` holds the grid and ``checkpoint``.

    Raises:
        MedlangevinError: One line, when the folder is not a bundle of medlangevin's or is damaged.
    """
    bundle = Path(bundle)
    path = bundle / METADATA
    if not path.is_file():
        raise MedlangevinError(f"{bundle} is no bundle ({METADATA} is absent); medlangevin export RUN makes one")
    metadata = read_json(path)
    section = metadata.get(SECTION) if isinstance(metadata, dict) else None
    if not isinstance(section, dict) or "format" not in section:
        raise MedlangevinError(f"{path} is not of a bundle that medlangevin export made; export the run again")
    if section["format"] != FORMAT:
        raise MedlangevinError(f"{path} has format {section['format']}, this version reads {FORMAT}; export again")
    if section.get("checkpoint") not in ("best", "last") or not isinstance(section.get("epoch"), int):
        raise MedlangevinError(f"{path} is damaged; export the run again")
    raw = {"name": section.get("name"), "data": {"window_hu": section.get("window_hu")}, "model": section.get("model")}
    config = parse_config(raw, source=str(path))
    image_shape = (1, *read_grid(section, path).shape)
    model = load_model(config.model, image_shape, bundle / MODELS)
    model.start_epoch(section["epoch"])
    data = {key: section[key] for key in ("affine", "shape", "checkpoint")}
    return Run(bundle, config, model, image_shape, data, TrainingState(epoch=section["epoch"]))
