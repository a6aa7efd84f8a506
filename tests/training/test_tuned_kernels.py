"""Another memory layout changes no number, neither of a step nor of what a checkpoint keeps."""

from pathlib import Path

import pytest
import torch

from medlangevin.config import parse_config
from medlangevin.models import LatentVariableModel, build
from medlangevin.runs.averaging import WeightAverage
from medlangevin.runs.checkpoint import TrainingState, load_training, save_checkpoint
from medlangevin.runs.load import load_run
from medlangevin.training.gpu import put_channels_last, tunable, tuned_kernels
from medlangevin.training.train import train
from medlangevin.training.trainer import Trainer

SETTINGS = {"kind": "qsl_vae", "latent_dim": 3, "network": {"channels": [3, 4], "hidden": 8}}
SHAPE = (1, 9, 8, 7)


def model_and_optimizer(*, laid_out: bool) -> tuple[LatentVariableModel, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = build(parse_config({"name": "x", "model": SETTINGS}, source="test").model, SHAPE)
    if laid_out:
        put_channels_last(model)
    return model, torch.optim.Adam(model.parameters(), lr=1e-2)


def steps(model: LatentVariableModel, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    x = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    for seed in seeds:
        optimizer.zero_grad()
        model(x, torch.Generator().manual_seed(seed)).loss.backward()
        optimizer.step()


def is_channels_last(value: torch.Tensor) -> bool:
    return value.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_checkpoint_s_tensors_are_laid_out_as_the_weights_are(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(laid_out=True)
    steps(model, optimizer, range(3))
    save_checkpoint(tmp_path / "last", model.state_dict(), TrainingState(1, 3), optimizer)
    again, its_optimizer = model_and_optimizer(laid_out=True)
    load_training(tmp_path / "last", again, its_optimizer, WeightAverage(again, 0))
    for parameter in again.parameters():
        if parameter.ndim == 5:
            assert is_channels_last(parameter)
            assert all(is_channels_last(value) for value in its_optimizer.state[parameter].values() if value.ndim)
    steps(model, optimizer, range(3, 6))
    steps(again, its_optimizer, range(3, 6))
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_layout_changes_steps_by_rounding_alone() -> None:
    weights = []
    for laid_out in (False, True):
        model, optimizer = model_and_optimizer(laid_out=laid_out)
        steps(model, optimizer, range(2))
        weights.append([parameter.detach() for parameter in model.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_volumes_on_a_cuda_device_are_tuned_unless_asked_otherwise() -> None:
    volumes, _ = model_and_optimizer(laid_out=False)
    images = build(parse_config({"name": "x", "model": SETTINGS}, source="test").model, (1, 8, 8))
    cuda = torch.device("cuda")
    assert tunable(volumes, cuda, wanted=True)
    assert not tunable(volumes, cuda, wanted=False)
    assert not tunable(volumes, torch.device("cpu"), wanted=True)
    assert not tunable(images, cuda, wanted=True)


@pytest.mark.parametrize("before", [False, True])
def test_cudnn_is_left_as_it_was(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    with tuned_kernels(True):
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before
    with tuned_kernels(False):
        assert torch.backends.cudnn.benchmark == before


@pytest.mark.parametrize("tuned", [False, True])
def test_a_training_is_tuned_where_that_gains(cohort: Path, tmp_path: Path, tuned: bool, monkeypatch) -> None:
    seen = []

    class Looked(Trainer):
        def run(self) -> TrainingState:
            weights = [
                weight for weight in self.learner.model.parameters() if weight.ndim == 5 and min(weight.shape[:2]) > 1
            ]
            seen.append((torch.backends.cudnn.benchmark, {is_channels_last(weight) for weight in weights}))
            return super().run()

    monkeypatch.setattr("medlangevin.training.train.Trainer", Looked)
    monkeypatch.setattr("medlangevin.training.learner.tunable", lambda model, device, *, wanted: wanted)
    config = {
        "name": "a",
        "output_dir": str(tmp_path),
        "data": {"root": str(cohort)},
        "model": SETTINGS,
        "training": {"epochs": 1, "accelerator": "cpu", "tune_kernels": tuned},
    }
    train(parse_config(config, source="test"))
    assert seen == [(tuned, {tuned})]
    assert not torch.backends.cudnn.benchmark


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["vae", "qsl_vae", "lae"])
def test_a_tuned_training_is_that_of_single_steps(cohort: Path, tmp_path: Path, kind: str) -> None:
    """Recorded, in float32, with convolutions of their own; also taken up in the middle."""

    def trained(name: str, *, epochs: int = 3, resume: bool = False, **training: object) -> Path:
        config = {
            "name": name,
            "output_dir": str(tmp_path),
            "data": {"root": str(cohort)},
            "model": {**SETTINGS, "kind": kind},
            "training": {"epochs": epochs, "batch_size": 3, "learning_rate": 1e-3, **training},
        }
        return train(parse_config(config, source="test"), resume=resume)

    runs = [trained("cuda"), trained("single", cuda_graphs=False, tune_kernels=False)]
    trained("parts", epochs=2)
    runs.append(trained("parts", resume=True))
    expected = load_run(runs[1], checkpoint="last").model.state_dict()
    for run in runs:
        for key, value in load_run(run, checkpoint="last").model.state_dict().items():
            torch.testing.assert_close(value, expected[key], rtol=1e-2, atol=1e-4)
