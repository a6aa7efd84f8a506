"""Checkpoints: a folder with weights and training state, safetensors and JSON only, so loading never runs code."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from medlangevin.errors import MedlangevinError
from medlangevin.io import atomic_folder, read_json, write_json
from medlangevin.training.averaging import WeightAverage
from medlangevin.training.early_stopping import EarlyStopping
from medlangevin.training.optimizer import MACHINE_SETTINGS

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "training.safetensors", "training.json"
AVERAGE = "average.safetensors"
FORMAT = 1


class TrainingState(NamedTuple):
    """Where a training stands after ``epoch`` whole epochs and ``step`` gradient steps.

    With the weights and the optimiser this is everything: orders and noise follow from the run's seed and the epoch.
    """

    epoch: int = 0
    step: int = 0
    early_stopping: EarlyStopping = EarlyStopping()


def save_checkpoint(
    folder: Path,
    weights: dict[str, torch.Tensor],
    state: TrainingState,
    optimizer: torch.optim.Optimizer | None = None,
    average: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write ``folder`` in one go. ``optimizer`` is what a resume needs, and the state of the weights' ``average`` where
    there is one; without them the folder serves inference only.
    """
    with atomic_folder(folder) as temporary:
        save_tensors(weights, temporary / WEIGHTS)
        record: dict[str, Any] = {
            "format": FORMAT,
            "epoch": state.epoch,
            "step": state.step,
            "best_elbo": state.early_stopping.best_elbo,
            "best_epoch": state.early_stopping.best_epoch,
        }
        if optimizer is not None:
            tensors, record["optimizer_groups"] = _flatten(optimizer.state_dict())
            save_tensors(tensors, temporary / OPTIMIZER)
        if average:
            save_tensors(average, temporary / AVERAGE)
        write_json(temporary / STATE, record)


def save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file. Raises MedlangevinError when the disk is full."""
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    except SafetensorError as error:  # no OSError, though it stands for one
        raise MedlangevinError(f"cannot write {path.name} to {path.parent.parent}: {error}; free some space") from error


def load_weights(folder: Path, model: torch.nn.Module) -> None:
    """Put the checkpoint's weights into ``model``. Raises MedlangevinError when they are damaged or another model's."""
    path = folder / WEIGHTS
    weights = _load_tensors(path)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise MedlangevinError(
            f"{path} holds the weights of another model than config.yaml describes; restore the run's own config.yaml"
        ) from error


def load_state(folder: Path) -> TrainingState:
    """Epoch, step and early stopping of a checkpoint. Raises MedlangevinError when they are damaged."""
    return _parse_state(folder / STATE)[0]


def load_training(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None = None
) -> TrainingState:
    """Restore what is trained from a checkpoint. Raises MedlangevinError, one line that names the file."""
    state, record = _parse_state(folder / STATE)
    tensors = _load_tensors(folder / OPTIMIZER)
    load_weights(folder, model)
    try:
        groups = [
            {**saved, **{key: group[key] for key in MACHINE_SETTINGS if key in group}}
            for saved, group in zip(record["optimizer_groups"], optimizer.param_groups, strict=True)
        ]
        optimizer.load_state_dict(_unflatten(tensors, groups))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MedlangevinError(
            f"{folder / OPTIMIZER} does not fit the model; restore the checkpoint or train again under another name"
        ) from error
    if average is not None and average.state():
        try:
            average.load(_load_tensors(folder / AVERAGE))
        except (KeyError, RuntimeError) as error:
            raise MedlangevinError(
                f"{folder / AVERAGE} does not fit the model; restore the checkpoint or train again under another name"
            ) from error
    return state


def _parse_state(path: Path) -> tuple[TrainingState, dict[str, Any]]:
    record = read_json(path)
    try:
        if record["format"] != FORMAT:
            raise MedlangevinError(f"{path} has format {record['format']}, this version reads {FORMAT}; train again")
        best = record["best_elbo"]
        stopping = EarlyStopping(None if best is None else float(best), int(record["best_epoch"]))
        return TrainingState(int(record["epoch"]), int(record["step"]), stopping), record
    except (KeyError, TypeError, ValueError) as error:
        raise MedlangevinError(f"{path} is damaged; restore it or train again under another name") from error


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise MedlangevinError(f"{path} is absent; the checkpoint is incomplete: restore it or train again") from error
    except (SafetensorError, OSError) as error:
        other = "best" if path.parent.name == "last" else "last"
        raise MedlangevinError(
            f"{path} is damaged or cut short; restore it from a copy or train again under another name "
            f"(generate and evaluate can use --checkpoint {other})"
        ) from error


def _flatten(state: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    tensors = {
        f"{parameter}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for parameter, values in state["state"].items()
        for name, value in values.items()
    }
    groups = [
        {key: value for key, value in group.items() if key not in MACHINE_SETTINGS} for group in state["param_groups"]
    ]
    return tensors, groups


def _unflatten(tensors: dict[str, torch.Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = value
    return {"state": state, "param_groups": groups}
