"""Loading a run: its settings, what it was trained on, and its model."""

from pathlib import Path

import torch

from medlangevin.config import ModelConfig, load_config
from medlangevin.models import LatentVariableModel, build
from medlangevin.runs.checkpoint import load_state, load_weights, require_weights
from medlangevin.runs.folder import CONFIG, DATA, CheckpointName, checkpoint_folder, read_grid, read_shape
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json


def load_run(
    run_dir: Path | str,
    *,
    checkpoint: CheckpointName = "best",
    device: torch.device | str = "cpu",
    refine: bool = True,
) -> Run:
    """Load a run.

    Args:
        run_dir: The folder that ``medlangevin train`` wrote.
        checkpoint: ``best`` or ``last``.
        device: Where the model is put.
        refine: Whether an ear's latent is found at the ear, or is the encoder's.

    Returns:
        The run.

    Raises:
        MedlangevinError: One line, when the folder is not a run, has no such checkpoint or is damaged.
    """
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
    path = run_dir / DATA
    data = read_json(path)
    image_shape = (1, *read_grid(data, path).shape) if config.images is None else read_shape(data, path)
    model, state = load_model(config.model, image_shape, folder).to(device), load_state(folder)
    model.start_epoch(state.epoch)
    return Run(run_dir, config, model, image_shape, data, state, refine)


def load_model(config: ModelConfig, image_shape: tuple[int, ...], folder: Path) -> LatentVariableModel:
    """A model with the weights in a folder, in evaluation mode.

    Args:
        config: What to build.
        image_shape: (C, *spatial).
        folder: The checkpoint.

    Returns:
        The model, on the CPU.

    Raises:
        MedlangevinError: The weights are damaged or another model's.
    """
    with torch.device("meta"):  # takes no memory
        require_weights(folder, build(config, image_shape))
    with torch.random.fork_rng(devices=[]):  # building draws weights that loading replaces
        model = build(config, image_shape)
    load_weights(folder, model)
    return model.eval()
