"""A run of images from its training to the table of ``medlangevin evaluate``."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from medlangevin.cli.main import main
from medlangevin.config import parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.evaluation.evaluate import evaluate, format_result
from medlangevin.evaluation.images import evaluate_image_run, evaluate_images
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.train import train

COUNTS = {"train": 40, "valid": 30, "test": 21}
SIZE = (1, 6, 5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE trained for two epochs on grey images that are binarised anew for every batch."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    bright = random.integers(20, 236, SIZE)
    images: dict[str, Any] = {
        f"x_{split}": random.binomial(255, bright / 255, (n, *SIZE)).astype(np.uint8) for split, n in COUNTS.items()
    }
    np.savez(root / "made_up.npz", **images)
    config = parse_config(
        {
            "name": "binary",
            "output_dir": str(root / "runs"),
            "images": {"set": "made_up.npz", "root": str(root), "binarization": "dynamic"},
            "model": {
                "kind": "vae",
                "latent_dim": 2,
                "network": {"kind": "mlp", "widths": [8]},
                "likelihood": {"kind": "bernoulli"},
            },
            "training": {"epochs": 2, "batch_size": 20, "accelerator": "cpu"},
        },
        source="test",
    )
    return train(config)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def one_line_error(result: Result, words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def stored(run: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((run / "evaluation.json").read_text())
    return results


def test_the_validation_bound_is_the_one_seen_in_training(run: Path) -> None:
    result = evaluate(run, split="validation", samples=20)
    best = max(row["validation_elbo"] for row in read_metrics(run / "metrics.csv"))
    # The same images with other noise: over 50 seeds the mean has a standard deviation of 0.003 nats, a difference of
    # two 0.004; 5 of these. The mean of the test images lies 0.45 away.
    assert result["negative_elbo"]["mean"] == pytest.approx(-best, abs=0.02)
    assert result["negative_elbo"]["count"] == result["nll_encoder"]["count"] == COUNTS["valid"]
    assert 2 / 3 < result["nll"]["count"] / COUNTS["valid"] <= 1  # a posterior with kinks, by ReLU
    assert 0 < result["negative_elbo_per_dim"]["mean"] < 1  # nats of a pixel; a fair coin's are log 2
    for name in ("nll", "nll_encoder"):
        assert result[f"{name}_per_dim"]["mean"] == pytest.approx(result[name]["mean"] / math.prod(SIZE))


def test_the_command_prints_the_table_and_keeps_the_splits_apart(run: Path) -> None:
    assert call("evaluate", run, "--split", "validation", "--samples", 2).exit_code == 0
    annealing = ("--decoder-likelihood", "--temperatures", 3, "--chains", 2)
    result = call("evaluate", run, "--samples", 60, *annealing, "--seed", 5)
    assert result.exit_code == 0, result.output
    assert "on the test split of made_up.npz" in result.output
    kept = stored(run)
    assert kept["validation"]["samples"] == 2
    counts = dict.fromkeys(("negative_elbo", "nll_encoder", "nll_ais"), COUNTS["test"])
    counts["nll"] = kept["test"]["nll"]["count"]
    assert counts["nll"] > 2 / 3 * COUNTS["test"]
    assert "nll_ais" not in kept["validation"]
    figures = kept["test"]
    assert (figures["temperatures"], figures["chains"], figures["samples"], figures["seed"]) == (3, 2, 60, 5)
    assert format_result(figures) in result.output
    for label, name, digits in (
        ("negative ELBO, nats per image", "negative_elbo", 2),
        ("NLL, nats per image (60 samples)", "nll", 2),
        ("NLL by the encoder's samples", "nll_encoder", 2),
        ("NLL by AIS (3 temperatures)", "nll_ais", 2),
    ):
        lines = iter(result.output.splitlines())
        line = next(line for line in lines if label in line)
        for row, figure, places in ((line, name, digits), (next(lines), f"{name}_per_dim", 4)):
            mean, error = figures[figure]["mean"], figures[figure]["standard_error"]
            assert f"{mean:,.{places}f} +- {error:.{places}f}  n = {counts[name]}" in row
    assert f"effective samples {figures['effective_sample_size']['mean']:>29,.1f}" in result.output
    assert "effective chains of 2" in result.output
    assert "acceptance" in result.output


def test_the_command_s_figures_are_those_of_a_library_call(run: Path) -> None:
    result = evaluate(run, samples=4, decoder_likelihood=True, temperatures=3, chains=2, seed=6)
    settings = ImageEvaluation.model_validate(
        {"evidence": {"samples": 4}, "importance": {"samples": 4}, "annealing": {"temperatures": 3, "chains": 2}}
    )
    figures = evaluate_images(load_run(run), settings, seed=6, cache=run)
    assert {name: result[name] for name in figures} == {name: figure.as_json() for name, figure in figures.items()}
    assert stored(run)["test"] == json.loads(json.dumps(result))


def test_images_that_moved_are_found_with_data(run: Path, tmp_path: Path) -> None:
    source = run.parents[1] / "made_up.npz"
    moved = source.rename(tmp_path / source.name)
    try:
        one_line_error(call("evaluate", run), "does not exist")
        result = call("evaluate", run, "--data", tmp_path, "--samples", 1)
        assert result.exit_code == 0, result.output
    finally:
        moved.rename(source)


def test_what_makes_no_sense_for_images_is_one_line(run: Path) -> None:
    before = (run / "evaluation.json").read_bytes() if (run / "evaluation.json").exists() else None
    one_line_error(call("evaluate", run, "--split", "training"), "a run of images has validation and test")
    one_line_error(call("evaluate", run, "--samples", 2_000_000), "--samples 2000000: input should be less than")
    one_line_error(
        call("evaluate", run, "--decoder-likelihood", "--chains", 20_000), "--chains 20000: input should be less than"
    )
    one_line_error(call("evaluate", run, "--chains", 2), "belong to --decoder-likelihood")
    one_line_error(call("generate", run, "--count", 1, "--out", run.parent / "out"), "not on crops of ears")
    one_line_error(call("export", run, "--bundle", run.parent / "out"), "not on crops of ears")
    after = (run / "evaluation.json").read_bytes() if (run / "evaluation.json").exists() else None
    assert after == before
    assert not (run.parent / "out").exists()


def test_a_single_image_has_no_error(run: Path) -> None:
    result = evaluate(run, samples=1)
    for figure in result.values():
        if isinstance(figure, dict):
            figure.update(standard_error=None, count=1)
    assert "(one image: no standard error)  n = 1" in format_result(result)


def test_a_folder_for_images_that_are_named_in_full_is_refused(run: Path) -> None:
    loaded = load_run(run)
    assert loaded.config.images is not None
    images = loaded.config.images.model_copy(update={"set": "/elsewhere/made_up.npz"})
    elsewhere = replace(loaded, config=loaded.config.model_copy(update={"images": images}))
    with pytest.raises(MedlangevinError, match="--data has no effect"):
        evaluate_image_run(elsewhere, split="test", samples=1, seed=0, data_root=run, annealing=None)


def test_a_run_of_crops_is_not_taken_for_one_of_images(run: Path) -> None:
    loaded = load_run(run)
    of_crops = replace(loaded, config=loaded.config.model_copy(update={"images": None}))
    with pytest.raises(MedlangevinError, match="not on images"):
        evaluate_image_run(of_crops, split="test", samples=1, seed=0, data_root=None, annealing=None)
