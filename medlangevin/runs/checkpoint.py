"""Checkpoints: a folder with weights and training state, safetensors and JSON only, so loading never runs code."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from medlangevin.runs.averaging import WeightAverage
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_folder, read_json, reading, write_json

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "training.safetensors", "training.json"
AVERAGE = "average.safetensors"
FORMAT = 1


class EarlyStopping(NamedTuple):
    """The best validation ELBO so far.

    Attributes:
        best_elbo: Nats per image; None before the first.
        best_epoch: Its epoch.
    """

    best_elbo: float | None = None
    best_epoch: int = 0

    def update(self, epoch: int, elbo: float) -> "EarlyStopping":
        """The state after one more epoch.

        Args:
            epoch: Its number.
            elbo: Its validation ELBO, nats per image. A new best has to be larger than the old one.

        Returns:
            The new state.
        """
        if self.best_elbo is None or elbo > self.best_elbo:
            return EarlyStopping(elbo, epoch)
        return self

    def should_stop(self, epoch: int, patience: int) -> bool:
        """Whether the best epoch lies too far back.

        Args:
            epoch: The last one.
            patience: How many epochs may pass since the best one.

        Returns:
            True where as many have passed.
        """
        return epoch - self.best_epoch >= patience


class TrainingState(NamedTuple):
    """Where a training stands.

    With the weights and the optimiser this is everything: orders and noise follow from the run's seed and the epoch.

    Attributes:
        epoch: Whole epochs done.
        step: Gradient steps done.
        early_stopping: The best epoch so far.
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
    """Write a checkpoint in one go.

    Args:
        folder: Where to.
        weights: Of the model.
        state: Where the training stands.
        optimizer: What a resume needs; without it the folder serves inference only.
        average: The state of the weights' average, where there is one.

    Raises:
        MedlangevinError: It cannot be written.
    """
    with atomic_folder(folder) as temporary:
        save_tensors(weights, temporary / WEIGHTS)
        if optimizer is not None:
            save_tensors(pack_optimizer(optimizer), temporary / OPTIMIZER)
        if average:
            save_tensors(average, temporary / AVERAGE)
        record = {"format": FORMAT, "epoch": state.epoch, "step": state.step}
        write_json(temporary / STATE, record | state.early_stopping._asdict())


def save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file.

    Args:
        tensors: By name.
        path: The file.

    Raises:
        MedlangevinError: The disk is full.
    """
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    except SafetensorError as error:  # no OSError, though it stands for one
        raise MedlangevinError(f"cannot write {path.name} to {path.parent.parent}: {error}; free some space") from error


def load_weights(folder: Path, model: torch.nn.Module) -> None:
    """Put a checkpoint's weights into a model.

    Args:
        folder: The checkpoint.
        model: What they are put into.

    Raises:
        MedlangevinError: They are damaged or another model's.
    """
    weights = _load_tensors(folder / WEIGHTS)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise _another_model(folder) from error


def load_state(folder: Path) -> TrainingState:
    """Epoch, step and early stopping of a checkpoint.

    Args:
        folder: The checkpoint.

    Returns:
        Where the training stood.

    Raises:
        MedlangevinError: They are damaged.
    """
    path = folder / STATE
    record = read_json(path)
    with reading(path, "restore it or train again under another name"):
        if record["format"] != FORMAT:
            raise MedlangevinError(f"{path} has format {record['format']}, this version reads {FORMAT}; train again")
        best = record["best_elbo"]
        stopping = EarlyStopping(None if best is None else float(best), int(record["best_epoch"]))
        state = TrainingState(int(record["epoch"]), int(record["step"]), stopping)
        if min(state.epoch, state.step, stopping.best_epoch) < 0 or not math.isfinite(stopping.best_elbo or 0.0):
            raise ValueError("not a state of a training")
    return state


def require_weights(folder: Path, model: torch.nn.Module) -> None:
    """Refuse a checkpoint of another model.

    Only the file's header is read, and ``model`` may be on torch's meta device: so a configuration that somebody has
    edited cannot ask for more memory than its weights take on the disk.

    Args:
        folder: The checkpoint.
        model: The model, weights or not.

    Raises:
        MedlangevinError: Its weights have other names or shapes, or are damaged.
    """
    with _readable(folder / WEIGHTS), safe_open(folder / WEIGHTS, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if shapes != {name: tuple(value.shape) for name, value in model.state_dict().items()}:
        raise _another_model(folder)


def load_training(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None = None
) -> TrainingState:
    """Restore what is trained from a checkpoint.

    Args:
        folder: The checkpoint.
        model: What the weights are put into.
        optimizer: What its state is put into.
        average: What the weights' average is put into, where there is one.

    Returns:
        Where the training stood.

    Raises:
        MedlangevinError: One line that names the file, where it is damaged or does not fit.
    """
    state = load_state(folder)
    path = folder / OPTIMIZER
    tensors = _load_tensors(path)
    load_weights(folder, model)
    try:
        unpack_optimizer(tensors, optimizer)
        if average is not None and average.state():
            path = folder / AVERAGE
            average.load(_load_tensors(path))
    except (KeyError, RuntimeError, ValueError) as error:
        remedy = "restore the checkpoint or train again under another name"
        raise MedlangevinError(f"{path} does not fit the model; {remedy}") from error
    return state


def _another_model(folder: Path) -> MedlangevinError:
    what = f"{folder / WEIGHTS} holds the weights of another model than config.yaml describes"
    return MedlangevinError(f"{what}; restore the run's own config.yaml")


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    with _readable(path):
        return load_file(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MedlangevinError(f"{path} is absent; the checkpoint is incomplete: restore it or train again") from error
    except (SafetensorError, OSError) as error:
        other = "best" if path.parent.name == "last" else "last"
        remedy = "restore it from a copy or train again under another name "
        remedy += f"(generate and evaluate can use --checkpoint {other})"
        raise MedlangevinError(f"{path} is damaged or cut short; {remedy}") from error


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors that an optimiser keeps.

    Args:
        optimizer: The optimiser.

    Returns:
        Each by ``<number of its parameter>.<name>``.
    """
    return {
        f"{parameter}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def unpack_optimizer(tensors: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Put back what ``pack_optimizer`` gave.

    Torch takes anything for a state and fails, or goes wrong, steps later; so shapes and names are checked here.

    Args:
        tensors: By name.
        optimizer: What they are put into.

    Raises:
        ValueError: This optimiser keeps something else.
    """
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    kept = _kept(type(optimizer))
    for number, values in state.items():
        if not 0 <= number < len(shapes) or values.keys() != kept.keys():
            raise ValueError(f"parameter {number} is not of this optimiser")
        for name, value in values.items():
            if value.shape != (shapes[number] if kept[name] else ()) or not value.is_floating_point():
                raise ValueError(f"{number}.{name} is not a tensor of its parameter")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, kept_of_it in optimizer.state.items():
        for name, value in kept_of_it.items():
            if kept[name]:  # fused optimisers walk through both in the order of memory
                kept_of_it[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _kept(kind: type[Any]) -> dict[str, bool]:
    """The names of what an optimiser keeps of a parameter, and whether it is of the parameter's shape: by a trial."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    optimizer = kind([parameter], lr=0.0)
    optimizer.step()
    return {name: value.shape == parameter.shape for name, value in optimizer.state[parameter].items()}
