"""What a training does to its folder, and what it refuses before it touches anything."""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medlangevin.config import Config, load_config
from medlangevin.datasets.datalist import read_index
from medlangevin.likelihoods import Bernoulli
from medlangevin.models import LatentVariableModel, Loss
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.train import train

MakeConfig = Callable[..., Config]


class Constant(LatentVariableModel):
    """A model with one parameter whose loss, ELBO and calls are known: loss = parameter, the gradient is 1."""

    def __init__(self, elbos: list[float] | None = None, nan_at: Sequence[int] = (), nan_gradient_at: int = 0) -> None:
        super().__init__(decoder=torch.nn.Identity(), likelihood=Bernoulli(), latent_dim=1)
        self.parameter = torch.nn.Parameter(torch.tensor(5.0))
        self.elbos = elbos or []
        self.nan_at, self.nan_gradient_at = nan_at, nan_gradient_at
        self.calls: list[str] = []
        self.noise: list[float] = []
        self.training_noise: list[float] = []

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        self.calls.append("loss")
        self.training_noise.append(torch.rand(1, generator=generator).item())
        step = self.calls.count("loss")
        loss = self.parameter * (torch.nan if step in self.nan_at else 1.0)
        if step == self.nan_gradient_at:
            loss = loss + (self.parameter - self.parameter.detach()).sqrt()  # 0 with an infinite slope
        return Loss(loss, {"kl": loss.detach(), "elbo": torch.tensor(-5.0)})

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        self.noise.append(torch.rand(1, generator=generator).item())
        epoch = self.calls.count("loss") // 3  # seven ears in batches of three
        return torch.full((len(x),), self.elbos[epoch - 1] if self.elbos else float(epoch))

    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.elbo(x, generator)

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.zeros(len(x), 1)

    def decode(self, z: Tensor) -> Tensor:
        return torch.zeros(len(z), 1, 8, 6, 5)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[LatentVariableModel], None]:
    """Make ``train`` build the given model, whatever the configuration says."""

    def replace(model: LatentVariableModel) -> None:
        monkeypatch.setattr("medlangevin.training.learner.build", lambda *_, **__: model)
        # The configuration would not load it.
        monkeypatch.setattr("medlangevin.training.train._say_what_is_explained", lambda _: None)

    return replace


def test_run_folder_holds_what_it_should(make_config: MakeConfig, cohort: Path) -> None:
    config = make_config(epochs=2)
    run = train(config)
    assert run == config.run_dir
    assert load_config(run / "config.yaml") == config
    data = json.loads((run / "data.json").read_text())
    assert data["counts"] == {"training": 7, "validation": 2, "test": 2}
    assert data["shape"] == [8, 6, 5]
    assert data["window_hu"] == [-1000.0, 2500.0]
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"] == version("torch")
    rows = read_metrics(run / "metrics.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (2, 6)]
    assert {"loss", "kl", "elbo", "gradient_norm", "learning_rate", "validation_elbo"} <= rows[0].keys()
    assert list((run / "tensorboard").glob("events.*"))
    assert not list(run.rglob(".partial*"))
    loaded = load_run(run)
    np.testing.assert_allclose(loaded.crop_grid().affine, data["affine"])
    assert loaded.crop_grid().shape == (8, 6, 5)
    assert str(cohort) not in (run / "environment.json").read_text()


def test_a_training_ends_with_what_reconstructions_explain(
    make_config: MakeConfig, cohort: Path, logged: Callable[[], str]
) -> None:
    run = load_run(train(make_config(epochs=2)))
    last = logged().splitlines()[-1]
    index = read_index(cohort)
    mean = torch.cat([run.image(ear.image) for ear in index.training]).mean(0)
    shares = []
    for ear in index.validation:
        x = run.image(ear.image)
        decoded = run.model.decode(run.encode(ear.image)[None])
        shares.append(1 - ((x - decoded).square().sum() / (x - mean).square().sum()).item())
    share = sum(shares) / 2
    assert last == f"variance explained of 2 validation ears: {share:.2f} (1: all, 0: the mean ear)"


def test_few_ears_are_reconstructed_at_the_end(
    make_config: MakeConfig, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medlangevin.training.train._MOST_RECONSTRUCTED", 1)
    train(make_config(epochs=1))
    assert "variance explained of 1 validation ear: " in logged()


def test_loaded_best_model_has_the_elbo_that_metrics_say(make_config: MakeConfig) -> None:
    run = load_run(train(make_config(epochs=6, learning_rate=0.05)))
    rows = read_metrics(run.directory / "metrics.csv")
    best = max(rows, key=lambda row: row["validation_elbo"])
    assert run.state.epoch == best["epoch"] == run.state.early_stopping.best_epoch
    assert run.state.early_stopping.best_elbo == best["validation_elbo"]
    last = load_run(run.directory, checkpoint="last")
    assert last.state.epoch == 6
    weights = [loaded.model.state_dict()["decoder.dense.weight"] for loaded in (run, last)]
    different = not torch.equal(*weights)
    assert different == (best["epoch"] != 6)


def test_each_batch_makes_one_loss_and_one_gradient_step(make_config: MakeConfig, use: Callable[..., None]) -> None:
    model = Constant()
    use(model)
    train(make_config(epochs=2))
    assert model.calls == ["loss"] * 6
    assert model.parameter.item() < 5.0


def test_validation_noise_is_the_same_in_every_epoch(make_config: MakeConfig, use: Callable[..., None]) -> None:
    model = Constant()
    use(model)
    train(make_config(epochs=3))
    assert len(model.noise) == 3
    assert len(set(model.noise)) == 1
    assert len(set(model.training_noise)) == 9  # while that of training never repeats


def test_stops_early_and_keeps_the_best(make_config: MakeConfig, use: Callable[..., None]) -> None:
    use(Constant(elbos=[1.0, 3.0, 2.0, 2.5, 9.0]))
    run = train(make_config(epochs=5, patience=2))
    assert [row["validation_elbo"] for row in read_metrics(run / "metrics.csv")] == [1.0, 3.0, 2.0, 2.5]
    assert json.loads((run / "checkpoints/best/training.json").read_text())["epoch"] == 2
    assert json.loads((run / "checkpoints/last/training.json").read_text())["epoch"] == 4


def test_it_stops_after_a_look_alone(make_config: MakeConfig, use: Callable[..., None]) -> None:
    """Of nine epochs the third, the sixth and the ninth are looked at: patience that ends between two looks waits."""
    use(Constant(elbos=[9.0 - epoch for epoch in range(9)]))
    run = train(make_config(epochs=9, patience=2, validate_every=3))
    assert json.loads((run / "checkpoints/last/training.json").read_text())["epoch"] == 6
    assert json.loads((run / "checkpoints/best/training.json").read_text())["epoch"] == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"nan_at": (4, 5, 6)},
            r"step 6 \(epoch 2\): the loss is not finite \(kl = nan\), after 2 skipped steps of this epoch; "
            "checkpoints/last holds epoch 1",
        ),
        ({"nan_at": (1, 2, 3)}, r"step 3 .*no checkpoint was made yet"),
        ({"elbos": [1.0, float("nan")]}, r"\(validation ELBO = nan\); checkpoints/last holds epoch 1"),
    ],
)
def test_numbers_that_are_none_stop_the_training(
    make_config: MakeConfig, use: Callable[..., None], fault: dict[str, Any], message: str
) -> None:
    model = Constant(**fault)
    use(model)
    with pytest.raises(MedlangevinError, match=message) as error:
        train(make_config(epochs=2))
    assert "\n" not in str(error.value)
    assert torch.isfinite(model.parameter)  # the bad step was not taken


@pytest.mark.claim("skipped-steps")
@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"nan_at": (5,)}, "the loss is not finite (kl = nan)"),
        ({"nan_gradient_at": 5}, "the gradient of parameter is not finite"),
    ],
)
def test_a_step_that_is_no_number_is_left_out(
    make_config: MakeConfig, use: Callable[..., None], fault: dict[str, Any], problem: str, logged: Callable[[], str]
) -> None:
    """Plain descent along a slope of one: five of six steps are made."""
    model = Constant(**fault)
    use(model)
    rows = read_metrics(train(make_config(epochs=2, optimizer="sgd", learning_rate=0.125)) / "metrics.csv")
    assert model.parameter.item() == 5 - 5 * 0.125
    assert [row.get("skipped_steps") for row in rows] == [None, 1]
    assert rows[1]["kl"] == pytest.approx((3 * (5 - 3 * 0.125) + 1 * (5 - 4 * 0.125)) / 4)
    assert f"step 5 (epoch 2) skipped: {problem}" in logged()


@pytest.mark.claim("skipped-steps")
def test_the_fourth_such_step_of_an_epoch_ends_the_training(make_config: MakeConfig, use: Callable[..., None]) -> None:
    use(Constant(nan_at=(1, 3, 5, 8, 9, 11, 13)))  # seven steps an epoch
    with pytest.raises(MedlangevinError, match=r"step 13 \(epoch 2\): .*, after 3 skipped steps of this epoch"):
        train(make_config(epochs=2, batch_size=1))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_existing_run_is_not_touched_without_resume(make_config: MakeConfig) -> None:
    config = make_config(epochs=1)
    before = snapshot(train(config))
    with pytest.raises(MedlangevinError, match="exists; go on with --resume or choose another name"):
        train(config)
    assert snapshot(config.run_dir) == before


def test_resume_of_nothing_starts_and_of_a_finished_run_does_nothing(
    make_config: MakeConfig, logged: Callable[[], str]
) -> None:
    config = make_config(epochs=1)
    train(config, resume=True)
    assert "nothing to resume" in logged()
    weights = (config.run_dir / "checkpoints/last/model.safetensors").read_bytes()
    train(config, resume=True)
    assert "finished already, after epoch 1" in logged()
    assert (config.run_dir / "checkpoints/last/model.safetensors").read_bytes() == weights


def test_resume_with_other_settings_is_refused_and_more_epochs_are_welcome(make_config: MakeConfig) -> None:
    train(make_config(epochs=1))
    with pytest.raises(MedlangevinError, match=r"training\.batch_size = 3, not 4"):
        train(make_config(epochs=1, batch_size=4), resume=True)
    run = train(make_config(epochs=2, patience=7), resume=True)
    assert len(read_metrics(run / "metrics.csv")) == 2


def test_resume_on_other_crops_is_refused(make_config: MakeConfig, cohort: Path, tmp_path: Path) -> None:
    config = make_config(epochs=1)
    train(config)
    other = shutil.copytree(cohort, tmp_path / "other")
    moved = config.model_copy(update={"data": config.data.model_copy(update={"root": other})})
    train(moved, resume=True)  # the same crops elsewhere
    listing = json.loads((other / "dataset.json").read_text())
    listing["training"].pop()
    (other / "dataset.json").write_text(json.dumps(listing))
    with pytest.raises(MedlangevinError, match="not those that the run was trained on"):
        train(moved, resume=True)


def test_folder_of_somebody_else_is_refused(make_config: MakeConfig) -> None:
    config = make_config()
    config.run_dir.mkdir(parents=True)
    (config.run_dir / "thesis.txt").write_text("mine")
    with pytest.raises(MedlangevinError, match="not the folder of a run"):
        train(config)
    assert [path.name for path in config.run_dir.iterdir()] == ["thesis.txt"]


def test_missing_crops_point_to_preprocess_and_write_nothing(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    config = config.model_copy(update={"data": config.data.model_copy(update={"root": tmp_path / "none"})})
    with pytest.raises(MedlangevinError, match="run medlangevin preprocess"):
        train(config)
    assert not config.run_dir.exists()


@pytest.mark.parametrize(
    "name",
    ["checkpoints/last/model.safetensors", "checkpoints/last/training.safetensors", "checkpoints/last/training.json",
     "data.json", "metrics.csv", "config.yaml"],
)  # fmt: skip
def test_damaged_run_is_named_and_left_alone(make_config: MakeConfig, name: str) -> None:
    config = make_config(epochs=1)
    run = train(config)
    content = (run / name).read_bytes()
    damage = {"metrics.csv": b"\n3,x", "config.yaml": b"\n\t["}.get(name, b"")
    (run / name).write_bytes(content[: len(content) // 2] + damage)
    before = snapshot(run)
    with pytest.raises(MedlangevinError, match=Path(name).name) as error:
        train(config, resume=True)
    assert "\n" not in str(error.value)
    assert snapshot(run) == before


def test_load_run_names_what_is_wrong(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="does not exist"):
        load_run(tmp_path / "none")
    with pytest.raises(MedlangevinError, match="is not the folder of a run"):
        load_run(tmp_path)
    run = train(make_config(epochs=1))
    (run / "data.json").write_text('{"affine": [[1, 0], [0, 1]], "shape": [8, 6, 5]}')
    with pytest.raises(MedlangevinError, match=r"data\.json is damaged"):
        load_run(run)
    (run / "data.json").write_text(json.dumps({"affine": np.eye(4).tolist(), "shape": [9, 9, 9]}))
    with pytest.raises(MedlangevinError, match="another model"):
        load_run(run)
    shutil.rmtree(run / "checkpoints")
    (run / "data.json").write_text(json.dumps({"affine": np.eye(4).tolist(), "shape": [8, 6, 5]}))
    with pytest.raises(MedlangevinError, match="no checkpoint 'best' yet"):
        load_run(run)


def test_learning_rate_follows_the_schedule(make_config: MakeConfig) -> None:
    run = train(make_config(learning_rate=0.01, learning_rate_schedule="cosine", warmup_epochs=1))
    with (run / "metrics.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    # The rate of each epoch's last step; 3 steps of warm-up, then 9 along the cosine.
    expected = [0.01, *(0.005 * (1 + np.cos(np.pi * step / 9)) for step in (2, 5, 8))]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_few_ears_to_validate_on_are_said(
    make_config: MakeConfig, write_crops: Callable[..., list[Path]], tmp_path: Path, logged: Callable[[], str]
) -> None:
    train(make_config("few", epochs=1))
    assert "2 to validate on (the validation split), 2 kept for testing; with so few" in logged()
    crops = np.random.default_rng(0).normal(0, 100, (13, 8, 6, 5))
    write_crops(tmp_path, training=crops[:3], validation=crops[3:])
    train(make_config("enough", epochs=1, data={"root": str(tmp_path)}))
    assert "with so few" not in logged()


def test_too_few_people_to_judge_by_are_said_in_a_line_each(
    make_config: MakeConfig, write_crops: Callable[..., list[Path]], tmp_path: Path, logged: Callable[[], str]
) -> None:
    """Of two people to validate on and one to test on both are said; of three people neither is."""
    crops = np.random.default_rng(0).normal(0, 100, (9, 8, 6, 5))
    for folder in ("few", "enough"):
        (tmp_path / folder).mkdir()
    write_crops(tmp_path / "few", training=crops[:6], validation=crops[6:8], test=crops[8:])
    train(make_config("few", epochs=1, data={"root": str(tmp_path / "few")}))
    few = [line for line in logged().splitlines() if line.startswith("few people")]
    chance = "what comes out is little more than chance; preprocess more people"
    assert few == [
        f"few people to choose the best epoch by (2): {chance}",
        f"few people to test on (1): {chance}",
    ]
    write_crops(tmp_path / "enough", training=crops[:3], validation=crops[3:6], test=crops[6:])
    train(make_config("enough", epochs=1, data={"root": str(tmp_path / "enough")}))
    assert "few people" not in logged()
