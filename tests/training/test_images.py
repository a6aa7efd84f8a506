"""Training on benchmark images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from medlangevin.config import Config, dump_config, load_config, parse_config
from medlangevin.models import build
from medlangevin.runs import checkpoint
from medlangevin.runs.checkpoint import TrainingState
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.runs.randomness import derive_seed, generator
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.data import load_data
from medlangevin.training.sources import EpochBatches
from medlangevin.training.train import train
from medlangevin.training.trainer import Trainer

MakeConfig = Callable[..., Config]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """60 + 20 + 20 grey images 1 x 6 x 5: a bright row somewhere, on a dim background."""
    rng = np.random.default_rng(0)
    sets: dict[str, Any] = {}
    for split, count in (("train", 60), ("valid", 20), ("test", 20)):
        x = rng.integers(0, 60, (count, 1, 6, 5))
        x[np.arange(count), 0, rng.integers(0, 6, count)] += 150
        sets[f"x_{split}"] = x.astype(np.uint8)
    path = tmp_path / "rows.npz"
    np.savez(path, **sets)
    return path


@pytest.fixture
def make(images: Path, tmp_path: Path) -> MakeConfig:
    def config(
        name: str = "run", *, kind: str = "vae", settings: dict[str, Any] | None = None, **training: Any
    ) -> Config:
        return parse_config(
            {
                "name": name,
                "output_dir": str(tmp_path / "runs"),
                "images": {"set": str(images), **(settings or {})},
                "model": {"kind": kind, "latent_dim": 2, "network": {"kind": "mlp", "widths": [8]}},
                "training": {"epochs": 3, "batch_size": 16, "accelerator": "cpu", **training},
            },
            source="test",
        )

    return config


def test_a_run_of_images_knows_what_it_was_trained_on(make: MakeConfig) -> None:
    run = load_run(train(make()))
    assert run.image_shape == (1, 6, 5)
    assert run.data["counts"] == {"train": 60, "valid": 20, "test": 20}
    assert run.model.sample(2).shape == (2, 1, 6, 5)
    with pytest.raises(MedlangevinError, match="not on crops"):
        run.crop_grid()
    text = (run.directory / "config.yaml").read_text()
    assert "window_hu" not in text
    assert load_config(run.directory / "config.yaml") == run.config
    assert dump_config(run.config) == text


@pytest.mark.slow(seconds=0.8)
@pytest.mark.claim("image-training")
@pytest.mark.parametrize("kind", ["vae", "lae"])
@pytest.mark.parametrize("settings", [{"binarization": "dynamic"}, {"train_on": "all"}])
def test_a_resumed_run_of_images_ends_as_an_undisturbed_one(
    make: MakeConfig, kind: str, settings: dict[str, str]
) -> None:
    choice = {"settings": settings, "kind": kind}
    whole = load_run(train(make("whole", **choice)), checkpoint="last")
    halves = train(make("halves", **choice, epochs=1))
    assert train(make("halves", **choice), resume=True) == halves
    for name, value in load_run(halves, checkpoint="last").model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name]), name


def test_with_all_images_there_is_no_validation_and_the_last_epoch_is_the_model(make: MakeConfig) -> None:
    config = make(settings={"train_on": "all"}, patience=1)
    data = load_data(config)
    assert data.validation is None
    assert len(data.training) == 80
    run = load_run(train(config))
    rows = read_metrics(run.directory / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all("validation_elbo" not in row for row in rows)
    assert run.state.epoch == 3
    assert run.state.early_stopping.best_elbo is None


@pytest.mark.claim("image-training")
def test_training_images_are_binarised_anew_every_epoch_and_the_others_once(make: MakeConfig) -> None:
    data = load_data(make(settings={"binarization": "dynamic"}))
    order = EpochBatches(60, 60, seed=0)

    def epoch(number: int) -> torch.Tensor:
        (batch,) = data.training.shuffled(order, generator(0, "data", number))
        return batch

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))
    assert set(epoch(1).unique().tolist()) == {0.0, 1.0}
    assert data.validation is not None
    first, second = (torch.cat(list(data.validation.in_order(7))) for _ in range(2))
    assert torch.equal(first, second)
    assert len(first) == 20


def test_only_the_first_images_of_each_split_are_used(make: MakeConfig) -> None:
    data = load_data(make(settings={"first": 12}))
    everything = load_data(make())
    assert data.description["counts"] == {"train": 12, "valid": 12, "test": 12}
    (twelve,) = data.training.in_order(100)
    (sixty,) = everything.training.in_order(100)
    assert torch.equal(twelve, sixty[:12])
    assert data.description["sha256"] != everything.description["sha256"]


def test_other_images_under_the_same_name_are_refused_on_resume(make: MakeConfig, images: Path) -> None:
    run = train(make(epochs=1))
    with np.load(images) as archive:
        changed = dict(archive)
    changed["x_train"][0] = 0
    np.savez(images, **changed)
    with pytest.raises(MedlangevinError, match=r"not those that the run was trained on \(sha256"):
        train(make(epochs=2), resume=True)
    assert json.loads((run / "data.json").read_text())["name"] == str(images)


def test_gradient_descent_moves_by_the_rate_times_the_gradient(make: MakeConfig) -> None:
    rate = 1e-3
    config = make(
        optimizer="sgd", learning_rate=rate, gradient_clip=1e9, epochs=1, batch_size=80, settings={"train_on": "all"}
    )
    data = load_data(config)
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = build(config.model, data.image_shape, mean_image=data.training.images.mean(), data_size=80)
    order = EpochBatches(80, 80, seed=config.seed)
    order.set_epoch(1)
    (x,) = data.training.shuffled(order, generator(0, "data", 1))
    loss, _ = model(x, generator(config.seed, "noise", 1))
    loss.backward()
    trained = load_run(train(config)).model
    for (name, before), after in zip(model.named_parameters(), trained.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(after, before - rate * before.grad, msg=name)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": {"root": "x"}, "images": {"set": "mnist"}}, "both given"),
        ({"images": {"sett": "mnist"}}, "unknown key 'images.sett'; did you mean 'set'"),
        ({"images": {}}, "key 'images.set' is missing"),
        ({"images": {"set": "mnist"}, "training": {"optimizer": "sgd", "epsilon": 1e-7}}, "training.epsilon' has no"),
        ({"images": {"set": "mnist", "first": 0}}, "images.first"),
        ({"images": {"set": "mnisst"}}, r"no image set is called so; choose mnist, .* \(given: 'mnisst'\)"),
        (
            {"images": {"set": "mnist"}, "model": {"kind": "vae", "likelihood": {"kind": "bernoulli"}}},
            "bernoulli is for zeros and ones, the images are grey",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(MedlangevinError, match=words):
        parse_config({"name": "run", "model": {"kind": "vae"}, **settings}, source="test")


def test_missing_images_are_named_before_anything_is_written(tmp_path: Path) -> None:
    config = parse_config(
        {
            "name": "run",
            "output_dir": str(tmp_path / "runs"),
            "images": {"set": "mnist", "root": str(tmp_path / "none")},
            "model": {"kind": "vae"},
        },
        source="test",
    )
    with pytest.raises(MedlangevinError, match="the image set mnist is missing"):
        train(config)
    assert not (tmp_path / "runs").exists()


def test_weights_that_are_no_numbers_are_never_saved(make: MakeConfig) -> None:
    """Without validation images nothing else would see what the last step of an epoch did."""
    config = make(settings={"train_on": "all"}, optimizer="sgd", learning_rate=1e38, batch_size=80, gradient_clip=1e9)
    with pytest.raises(MedlangevinError, match=r"epoch 1\): .* is not finite; no checkpoint was made yet"):
        train(config)
    assert not (config.run_dir / "checkpoints").exists()


def test_the_precision_of_matrix_products_is_the_training_s_alone(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    run = Trainer.run

    def watched(trainer: Trainer) -> TrainingState:
        seen.append(torch.get_float32_matmul_precision())
        return run(trainer)

    monkeypatch.setattr(Trainer, "run", watched)
    before = torch.get_float32_matmul_precision()
    train(make(matmul_precision="medium", epochs=1))
    assert seen == ["medium"]
    assert torch.get_float32_matmul_precision() == before == "highest"


def test_a_finished_run_keeps_the_environment_that_trained_it(make: MakeConfig) -> None:
    run = train(make(epochs=1))
    environment = run / "environment.json"
    environment.write_text('{"device": "another"}')
    train(make(epochs=1), resume=True)
    assert json.loads(environment.read_text()) == {"device": "another"}
    train(make(epochs=2), resume=True)
    assert json.loads(environment.read_text())["device"].startswith("cpu")


def test_a_full_disk_is_one_line(make: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(MedlangevinError, match=r"^cannot write model.safetensors .*No space left .*; free some space$"):
        train(make(epochs=1))
