"""Checkpoints that somebody has made up: one line, before anything is loaded from them."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from medlangevin.runs.checkpoint import TrainingState, load_training, load_weights, require_weights, save_checkpoint
from medlangevin.system.errors import MedlangevinError

OPTIMIZERS = [torch.optim.Adam, torch.optim.Adamax, torch.optim.SGD]


def trained(kind: Callable[..., torch.optim.Optimizer] = torch.optim.Adam) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = kind(model.parameters(), lr=0.01)
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model, optimizer = trained()
    save_checkpoint(tmp_path / "last", model.state_dict(), TrainingState(1, 1), optimizer)
    return tmp_path / "last"


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def tensor(shape: list[int], end: int, dtype: str = "F32") -> bytes:
    return json.dumps({"0.weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        header(b"{}", 2**63),
        header(b"{}", 10**9),
        header(b"[" * 10**6),
        header(b"\xff" * 100),
        header(b'{"a": 1}'),
        header(tensor([10**6, 10**6], 4 * 10**12)),
        header(tensor([2**32, 2**32], 0)),
        header(tensor([4, 3], 10**15)) + bytes(48),
        header(tensor([4, 3], 48, "PICKLE")) + bytes(48),
        header(tensor([-4, 3], 48)) + bytes(48),
        header(tensor([4, 3], 48)) + bytes(10),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
def test_a_safetensors_file_that_lies_is_damaged(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    for read in (load_weights, require_weights):
        with pytest.raises(MedlangevinError, match=r"model\.safetensors (is damaged|holds the weights)") as error:
            read(folder, trained()[0])
        assert "\n" not in str(error.value)


def test_a_folder_in_place_of_a_file_is_told(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    with pytest.raises(MedlangevinError, match="damaged"):
        load_weights(folder, trained()[0])


def test_weights_are_compared_by_shape_without_reading_them(folder: Path) -> None:
    with torch.device("meta"):
        same = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        huge = nn.Sequential(nn.Linear(3, 2**40), nn.Linear(2**40, 2))
    require_weights(folder, same)
    with pytest.raises(MedlangevinError, match="another model"):
        require_weights(folder, huge)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update({"0.exp_avg": torch.zeros(7)}),
        lambda state: state.update({"0.step": torch.zeros(3)}),
        lambda state: state.update({"0.step": torch.zeros((), dtype=torch.int8)}),
        lambda state: state.update({"99.step": torch.zeros(())}),
        lambda state: state.update({"-1.step": torch.zeros(())}),
        lambda state: state.update({"x.step": torch.zeros(())}),
        lambda state: state.update({"0.surplus": torch.zeros(())}),
        lambda state: state.pop("1.exp_avg_sq"),
    ],
)
def test_an_optimiser_state_that_would_fail_steps_later_is_refused_now(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    path = folder / "training.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    with pytest.raises(MedlangevinError, match=r"training\.safetensors does not fit the model") as error:
        load_training(folder, *trained())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_state_of_each_optimiser_comes_back(tmp_path: Path, kind: Callable[..., torch.optim.Optimizer]) -> None:
    model, optimizer = trained(kind)
    save_checkpoint(tmp_path / "last", model.state_dict(), TrainingState(1, 1), optimizer)
    other = trained(kind)[0]
    fresh = kind(other.parameters(), lr=0.5)
    load_training(tmp_path / "last", other, fresh)
    left, right = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    assert left.keys() == right.keys()
    for number, values in left.items():
        assert values.keys() == right[number].keys()
        assert all(torch.equal(torch.as_tensor(values[name]), torch.as_tensor(right[number][name])) for name in values)
    assert fresh.param_groups[0]["lr"] == 0.5  # settings are the configuration's


@pytest.mark.parametrize("change", [{"epoch": -1}, {"step": -3}, {"best_elbo": "nan"}, {"best_epoch": None}])
def test_a_state_that_no_training_was_in_is_damage(folder: Path, change: dict[str, object]) -> None:
    path = folder / "training.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MedlangevinError, match=r"training\.json is damaged"):
        load_training(folder, *trained())
