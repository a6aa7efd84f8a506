"""A model that is fitted in closed form: the same folder, commands and promises as of any other run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from medlangevin.cli.main import main
from medlangevin.config import Config, dump_config, parse_config
from medlangevin.models import PPCA
from medlangevin.papers.table.prepare import prepare
from medlangevin.papers.table.run import run as run_table
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.data import load_data
from medlangevin.training.train import train

MakeConfig = Callable[..., Config]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    return make_config(kind="ppca")


def test_every_command_takes_the_run(config: Config, cohort: Path, tmp_path: Path) -> None:
    path, run = tmp_path / "ppca.yaml", config.run_dir
    path.write_text(dump_config(config))
    trained = call("train", path)
    assert trained.exit_code == 0, trained.output
    assert "ppca, 721 parameters" in trained.output
    assert "best epoch 1 of 1: validation ELBO" in trained.output
    assert {item.name for item in run.iterdir()} == {
        *("config.yaml", "data.json", "environment.json", "metrics.csv", "checkpoints", "samples", "tensorboard")
    }
    assert {item.name for item in (run / "checkpoints").iterdir()} == {"last", "best"}
    assert {item.name for item in (run / "samples").iterdir()} == {"curves.png", "reconstructions.png", "samples.png"}

    again = call("train", path, "--resume")
    assert again.exit_code == 0, again.output
    assert "finished already, after epoch 1" in again.output
    assert len(read_metrics(run / "metrics.csv")) == 1
    assert call("train", path).exit_code == 2

    ear = sorted(cohort.glob("*_ct.nii.gz"))[0]
    for command in (
        ("evaluate", run, "--split", "validation", "--samples", 20),
        ("generate", run, "--count", 2, "--out", tmp_path / "prior"),
        ("generate", run, "--count", 2, "--noise", "--fitted", "--out", tmp_path / "fitted"),
        ("generate", run, "--count", 2, "--like", ear, "--out", tmp_path / "like"),
        ("export", run, "--bundle", tmp_path / "bundle"),
        ("report", run, "--out", tmp_path / "report.html"),
    ):
        done = call(*command)
        assert done.exit_code == 0, (command, done.output)
    figures = json.loads((run / "evaluation.json").read_text())["validation"]
    assert figures["nll_encoder"]["mean"] == pytest.approx(-figures["elbo"]["mean"])
    assert figures["nll"]["mean"] == pytest.approx(-figures["elbo"]["mean"], abs=1.0)  # by importance samples
    row = read_metrics(run / "metrics.csv")[0]
    assert figures["elbo"]["mean"] == pytest.approx(row["validation_elbo"])
    assert nibabel.load(tmp_path / "prior" / "synthetic-0001_ct.nii.gz").shape == (8, 6, 5)


def test_the_run_is_the_fit_of_its_training_images(config: Config) -> None:
    run = load_run(train(config))
    assert isinstance(run.model, PPCA)
    training = load_data(config).training
    x = torch.cat(list(training.in_order(3)))
    expected = PPCA(image_shape=(1, 8, 6, 5), latent_dim=2)
    expected.fit(x, training.groups())
    for name, value in expected.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name
    (row,) = read_metrics(run.directory / "metrics.csv")
    assert row["epoch"] == 1
    assert row["step"] == 0
    assert row["loss"] == pytest.approx(-expected.log_prob(x).mean().item())
    assert row["likelihood_scale"] == pytest.approx(expected.likelihood.scale.item())
    assert run.state.early_stopping.best_elbo == row["validation_elbo"]


def test_both_ears_of_a_person_are_in_one_fold(
    make_config: MakeConfig, cohort: Path, tmp_path: Path, write_crops: Callable[..., list[Path]]
) -> None:
    volumes = [np.asarray(nibabel.load(path).dataobj) for path in sorted(cohort.glob("*_ct.nii.gz"))]
    write_crops(tmp_path, training=volumes[:8], validation=volumes[8:])
    listing = json.loads((tmp_path / "dataset.json").read_text())
    for number, ear in enumerate(listing["training"]):
        ear["subject"] = f"person-{number // 2}"
    (tmp_path / "dataset.json").write_text(json.dumps(listing))
    config = make_config(kind="ppca", data={"root": str(tmp_path)})
    training = load_data(config).training
    assert training.groups() == [f"person-{number // 2}" for number in range(8)]
    fitted = PPCA(image_shape=(1, 8, 6, 5), latent_dim=2)
    fitted.fit(torch.cat(list(training.in_order(3))), training.groups())
    assert torch.equal(load_run(train(config)).model.state_dict()["decoder.weight"], fitted.decoder.weight)


def test_too_many_axes_are_one_line_before_anything_is_written(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "ppca.yaml"
    path.write_text(dump_config(config))
    refused = call("train", path, "--set", "model.latent_dim=5")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: model.latent_dim 5: the most axes that 7 training images less those held ")
    assert refused.stderr.endswith("choose --set model.latent_dim=4\n")
    assert not config.run_dir.exists()
    assert call("train", path, "--set", "model.latent_dim=4").exit_code == 0


def test_what_gradient_steps_need_changes_nothing(make_config: MakeConfig) -> None:
    plain = train(make_config("plain", kind="ppca"))
    other = train(
        make_config(
            "other", kind="ppca", weight_averaging=0.9, precision="bf16", epochs=9, patience=1, validate_every=5
        )
    )
    for name in ("last", "best"):
        one, two = (load_file(run / "checkpoints" / name / "model.safetensors") for run in (plain, other))
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert read_metrics(other / "metrics.csv")[0].keys() >= {"validation_elbo"}
    train(make_config("other", kind="ppca", weight_averaging=0.9, precision="bf16", validate_every=5), resume=True)


@pytest.mark.parametrize("settings", [{}, {"train_on": "all"}, {"binarization": "dynamic"}])
def test_images_have_no_groups(tmp_path: Path, write_images: Callable[..., Path], settings: dict[str, Any]) -> None:
    """More images than pixels, of which each is held out on its own."""
    write_images(tmp_path / "dots.npz", (1, 4, 4), train=60, valid=20, test=20)
    config = parse_config(
        {
            "name": "dots",
            "output_dir": str(tmp_path / "runs"),
            "images": {"set": str(tmp_path / "dots.npz"), **settings},
            "model": {"kind": "ppca", "latent_dim": 3, "ppca": {"estimate": "maximum_likelihood"}},
            "training": {"accelerator": "cpu"},
        },
        source="test",
    )
    run = load_run(train(config))
    (row,) = read_metrics(run.directory / "metrics.csv")
    assert ("validation_elbo" in row) == (settings.get("train_on") != "all")
    assert list(load_data(config).training.groups()) == list(range(80 if "train_on" in settings else 60))
    evaluated = call("evaluate", run.directory, "--samples", 20)
    assert evaluated.exit_code == 0, evaluated.output


def test_images_without_any_difference_are_one_line(
    make_config: MakeConfig, tmp_path: Path, write_crops: Callable[..., list[Path]]
) -> None:
    write_crops(tmp_path, training=[np.full((8, 6, 5), 500.0)] * 6, validation=[np.full((8, 6, 5), 400.0)])
    with pytest.raises(MedlangevinError, match="leave nothing outside of so many axes"):
        train(make_config(kind="ppca", data={"root": str(tmp_path)}))


def test_it_is_a_row_of_a_table(tmp_path: Path, write_images: Callable[..., Path]) -> None:
    """Beside one of gradient steps, which has a network of its own and a schedule over the epochs that this has not."""
    write_images(tmp_path / "dots.npz", (1, 4, 4), train=30, valid=20, test=30)
    table = {
        "name": "linear",
        "title": "Linear",
        "figures": ["negative_elbo", "nll_encoder"],
        "base": {
            "model": {"latent_dim": 2, "likelihood": {"kind": "gaussian"}},
            "training": {"epochs": 2, "accelerator": "cpu", "learning_rate_schedule": "cosine"},
        },
        "evaluation": {"importance": {"samples": 3}},
        "data_sets": {"dots": {"images": {"set": "dots.npz"}}},
        "rows": {
            "vae": {
                "label": "VAE",
                "model": {"kind": "vae", "network": {"kind": "mlp", "widths": [3]}},
                "seeds": {"dots": [0]},
            },
            "ppca": {"label": "PPCA", "model": {"kind": "ppca"}, "seeds": {"dots": [0]}},
        },
    }
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    for _ in range(2):  # the second time all is there
        assert run_table(prepare(tmp_path / "table.yaml", tmp_path / "out", data_root=tmp_path)) == {}
    lines = [line.split(",") for line in (tmp_path / "out" / "table.csv").read_text().splitlines()]
    header = lines[0]
    figures = {
        line[header.index("figure")]: float(line[header.index("mean")])
        for line in lines
        if line[header.index("row")] == "ppca" and line[header.index("seed")] == "0"
    }
    assert figures["nll_encoder"] == pytest.approx(figures["negative_elbo"])
