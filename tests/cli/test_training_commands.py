"""train, evaluate and generate from the command line: output, exit codes, and nothing written on bad input."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from medlangevin.runs.load import load_run

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    ears = np.random.default_rng(0).normal(500, 300, (6, 8, 6, 5))
    write_crops(root, training=ears[:4], validation=ears[4:])
    path = root / "tiny.yaml"
    path.write_text(
        f"name: tiny\noutput_dir: {root / 'runs'}\ndata: {{root: {root}}}\n"
        "model: {kind: vae, latent_dim: 2, network: {channels: [2], hidden: 4}}\n"
        "training: {epochs: 1, accelerator: cpu}\n"
    )
    return path


@pytest.fixture(scope="module")
def run(config: Path, call: Call) -> Path:
    result = call("train", config)
    assert result.exit_code == 0, result.output
    assert "4 to train on, 2 to validate on (the validation split)" in result.output
    assert "best epoch 1 of 1" in result.output
    assert "variance explained of 2 validation ears: " in result.output
    return config.parent / "runs" / "tiny"


@pytest.mark.slow
def test_train_writes_pictures_and_says_where(run: Path) -> None:
    assert {path.name for path in (run / "samples").iterdir()} == {"curves.png", "reconstructions.png", "samples.png"}


def test_evaluate_prints_a_table(run: Path, call: Call) -> None:
    result = call("evaluate", run, "--split", "validation", "--samples", 2)
    assert result.exit_code == 0, result.output
    assert "NLL, nats per ear (2 samples)" in result.output
    assert (run / "evaluation.json").is_file()


@pytest.mark.slow
def test_evaluate_compares_runs_in_pairs(run: Path, call: Call) -> None:
    """With itself, where every difference is nothing; a run that was not evaluated is an error before any work."""
    command = ("evaluate", run, "--split", "validation", "--samples", 2)
    call(*command)
    result = call(*command, "--compare", run)
    assert f"minus {run}, in pairs:" in result.output
    assert "+0.0" in result.output
    one_line_error(call(*command, "--compare", run.parent), "has not been evaluated on the validation split")


def test_evaluate_adds_the_likelihood_of_the_decoder(run: Path, call: Call) -> None:
    annealing = ("--decoder-likelihood", "--temperatures", 3, "--chains", 2)
    result = call("evaluate", run, "--split", "validation", "--samples", 2, *annealing)
    assert result.exit_code == 0, result.output
    assert "NLL by AIS (3 temperatures)" in result.output
    assert "effective chains of 2" in result.output
    one_line_error(call("evaluate", run, "--split", "validation", "--chains", 2), "belong to --decoder-likelihood")


def test_generate_writes_volumes_and_a_montage(run: Path, call: Call, tmp_path: Path) -> None:
    result = call("generate", run, "--count", 3, "--out", tmp_path / "out", "--noise")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "out").glob("*"))
    assert len(names) == 3 * 2 + 2
    assert "montage.png" in names


def test_generate_takes_latents_found_at_the_ear_or_the_encoder_s(
    run: Path, config: Path, call: Call, tmp_path: Path
) -> None:
    ear = sorted(config.parent.glob("*_ct.nii.gz"))[0]
    latents = {}
    for option in ("--refine", "--no-refine"):
        out = tmp_path / option
        result = call("generate", run, "--like", ear, "--strength", 0, "--count", 1, "--out", out, option)
        assert result.exit_code == 0, result.output
        sidecar = json.loads((out / "synthetic-0001_ct.json").read_text())
        assert sidecar["refined"] is (option == "--refine")
        latents[option] = torch.tensor(sidecar["latent"])
        torch.testing.assert_close(latents[option], load_run(run, refine=sidecar["refined"]).encode(ear))
    assert (latents["--refine"] - latents["--no-refine"]).norm() > 0.05


def one_line_error(result: Result, words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_bad_input_is_one_line_with_exit_code_2_and_writes_nothing(
    config: Path, run: Path, call: Call, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = ("--set", f"output_dir={out}")
    one_line_error(call("train", config, *settings, "--set", "training.epoch=5"), "did you mean 'epochs'?")
    one_line_error(call("train", config, *settings, "--set", "training.epochs=0"), "(given: 0)")
    one_line_error(call("train", config, *settings, "--set", f"data.root={out}"), "run medlangevin preprocess")
    one_line_error(call("train", tmp_path / "none.yaml"), "does not exist")
    one_line_error(call("train", config), "go on with --resume")
    one_line_error(call("generate", config.parent, "--count", 2, "--out", out), "is not the folder of a run")
    one_line_error(call("evaluate", out), "does not exist")
    assert not out.exists()


def test_checkpoint_cut_in_half(run: Path, call: Call, tmp_path: Path) -> None:
    weights = run / "checkpoints" / "best" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    try:
        one_line_error(call("generate", run, "--count", 2, "--out", tmp_path / "out"), "model.safetensors is damaged")
        one_line_error(call("evaluate", run, "--split", "validation"), "--checkpoint last")
        assert not (tmp_path / "out").exists()
    finally:
        weights.write_bytes(content)
