"""Checkpoints come back exactly, and a damaged one is one clear line."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from medlangevin.runs.checkpoint import (
    EarlyStopping,
    TrainingState,
    load_state,
    load_training,
    load_weights,
    save_checkpoint,
)
from medlangevin.system.errors import MedlangevinError

STATE = TrainingState(7, 140, EarlyStopping(-12.25, 5))


def trained(seed: int) -> tuple[nn.Module, torch.optim.Adam]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model, optimizer = trained(0)
    save_checkpoint(tmp_path / "last", model.state_dict(), STATE, optimizer)
    return tmp_path / "last"


def test_weights_optimiser_and_state_come_back_exactly(folder: Path) -> None:
    model, optimizer = trained(0)
    other, other_optimizer = trained(1)
    assert load_training(folder, other, other_optimizer) == STATE == load_state(folder)
    torch.manual_seed(9)
    x = torch.randn(5, 3)
    for network, adam in ((model, optimizer), (other, other_optimizer)):
        adam.zero_grad()
        network(x).square().sum().backward()
        adam.step()  # equal only if the moments and the step count are
    for left, right in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json"])
def test_file_cut_in_half_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(MedlangevinError, match=name) as error:
        load_training(folder, *trained(1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json"])
def test_absent_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MedlangevinError, match=name):
        load_training(folder, *trained(1))


@pytest.mark.parametrize(
    ("before", "after"), [('"epoch": 7', '"epoch": "x"'), ('"format": 1', '"format": 2'), ('"step"', '"stop"')]
)
def test_edited_state_is_refused(folder: Path, before: str, after: str) -> None:
    text = (folder / "training.json").read_text()
    assert before in text
    (folder / "training.json").write_text(text.replace(before, after))
    with pytest.raises(MedlangevinError, match=r"training\.json"):
        load_state(folder)


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    with pytest.raises(MedlangevinError, match="another model") as error:
        load_weights(folder, nn.Linear(3, 4))
    assert "\n" not in str(error.value)


def test_a_pickle_is_never_run(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return Path.mkdir, (tmp_path / "sprung",)

    for name in ("model.safetensors", "training.safetensors"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(MedlangevinError, match="damaged"):
        load_training(folder, *trained(1))
    assert not (tmp_path / "sprung").exists()
