"""An evaluation of ears that is interrupted, ears that cannot be measured, and what a reconstruction explains."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.config import parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.evaluation import crops, evidence, linear_control
from medlangevin.evaluation.compare_runs import paired_differences, read_evaluation
from medlangevin.evaluation.crops import PARTIAL, evaluate_ears
from medlangevin.evaluation.evaluate import evaluate, format_result
from medlangevin.inference.reconstruction import variance_explained
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.training.train import train

OPTIONS: dict[str, Any] = {"split": "training", "samples": 20}
TRAINING = 6


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """``measured``: the ears whose figures are computed, in order; None of them twice in a call."""
    ears: list[str] = []
    figures = crops._figures

    def recorded(*arguments: Any) -> dict[str, float]:
        ears.append(arguments[-1])
        return figures(*arguments)

    monkeypatch.setattr(crops, "_figures", recorded)
    return ears


def interrupted_after(count: int, run: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    figures = crops._figures
    left = [count]

    def stopped(*arguments: Any) -> dict[str, float]:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return figures(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(crops, "_figures", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(run, **OPTIONS | options)


def test_an_interrupted_evaluation_goes_on_and_ends_as_if_undisturbed(
    run: Path, monkeypatch: pytest.MonkeyPatch, measured: list[str]
) -> None:
    whole = evaluate(run, **OPTIONS)
    before = (run / "evaluation.json").read_bytes()
    assert not (run / PARTIAL).exists()
    interrupted_after(4, run, monkeypatch)
    assert len(json.loads((run / PARTIAL).read_text())["rows"]) == 4
    assert (run / "evaluation.json").read_bytes() == before
    measured.clear()
    assert evaluate(run, **OPTIONS) == whole
    assert len(measured) == TRAINING - 4
    assert not (run / PARTIAL).exists()
    assert (run / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize(
    "change", ["seed", "samples", "split", "checkpoint", "voxels", "damaged", "cut short", "not text"]
)
def test_rows_of_another_evaluation_are_not_used(
    run: Path, monkeypatch: pytest.MonkeyPatch, measured: list[str], change: str
) -> None:
    choices: dict[str, dict[str, Any]] = {
        "seed": {"seed": 1},
        "samples": {"samples": 21},
        "split": {"split": "validation"},
        "checkpoint": {"checkpoint": "last"},
        "voxels": {},
        "damaged": {},
        "cut short": {},
        "not text": {},
    }
    other = choices[change]
    if change == "checkpoint":
        # Of the same epoch and its figures: what differs is weights.
        loaded = load_run(run)
        with torch.no_grad():
            next(loaded.model.decoder.parameters()).mul_(1.01)
        two = {"best": load_run(run), "last": loaded}
        monkeypatch.setattr("medlangevin.evaluation.evaluate.load_run", lambda *_, checkpoint: two[checkpoint])
    expected = evaluate(run, **OPTIONS | other)
    first, second = (ear.image for ear in load_run(run).crops(None).training[:2])
    was = first.read_bytes()
    if change == "voxels":
        first.write_bytes(second.read_bytes())
    interrupted_after(3, run, monkeypatch)
    first.write_bytes(was)
    damage = {"damaged": b"[1, 2]", "cut short": (run / PARTIAL).read_bytes()[:-9], "not text": b"\xff"}
    if change in damage:
        (run / PARTIAL).write_bytes(damage[change])
    measured.clear()
    assert evaluate(run, **OPTIONS | other) == expected
    assert len(measured) == len(expected["ears"])


def test_ears_are_kept_where_annealing_is_interrupted(
    run: Path, monkeypatch: pytest.MonkeyPatch, measured: list[str]
) -> None:
    annealing: dict[str, Any] = {"decoder_likelihood": True, "temperatures": 3, "chains": 2}

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(crops, "annealed_figures", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(run, **OPTIONS, **annealing)
    measured.clear()
    result = evaluate(run, **OPTIONS, **annealing)
    assert measured == []
    assert result["nll_ais"]["count"] == TRAINING
    assert not (run / PARTIAL).exists()


@pytest.fixture
def half_measured(run: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An evaluation that counts as measured alone the ears of the training split with the most effective samples."""
    monkeypatch.setattr(evidence, "_DOUBLINGS", 0)
    monkeypatch.setattr(evidence, "ENOUGH", 0)
    found = sorted(ear["effective_sample_size"] for ear in evaluate(run, **OPTIONS)["ears"])
    monkeypatch.setattr(evidence, "ENOUGH", (found[2] + found[3]) / 2)
    return evaluate(run, **OPTIONS)


@pytest.mark.claim("not-measured")
def test_an_ear_that_is_not_measured_is_null_and_left_out_of_the_mean(run: Path, half_measured: dict[str, Any]) -> None:
    ears = half_measured["ears"]
    known = [ear["nll"] for ear in ears if ear["effective_sample_size"] >= evidence.ENOUGH]
    assert len(known) == 3
    assert [ear["nll"] for ear in ears if ear["effective_sample_size"] < evidence.ENOUGH] == [None] * 3
    assert half_measured["nll"]["mean"] == pytest.approx(sum(known) / 3)
    assert half_measured["nll"]["count"] == half_measured["nll_per_dim"]["count"] == 3
    for name in ("elbo", "nll_encoder", "effective_sample_size", "variance_explained"):
        assert half_measured[name]["count"] == TRAINING
    text = (run / "evaluation.json").read_text()
    assert '"nll": null' in text
    assert "NaN" not in text
    assert json.loads(text)["training"] == half_measured == read_evaluation(run, "training")
    line = next(line for line in format_result(half_measured).splitlines() if "NLL, nats per ear" in line)
    assert line.endswith("n = 3")


@pytest.mark.claim("not-measured")
def test_an_ear_that_is_not_measured_is_left_out_of_pairs(run: Path, half_measured: dict[str, Any]) -> None:
    other = json.loads(json.dumps(half_measured)) | {"run": "other"}
    for number, ear in enumerate(other["ears"]):
        ear["nll"] = None if ear["nll"] is None else ear["nll"] - number
        ear["elbo"] -= 1
    differences = paired_differences(half_measured, other)
    numbers = [number for number, ear in enumerate(half_measured["ears"]) if ear["nll"] is not None]
    assert differences["nll"].count == 3
    assert differences["nll"].mean == pytest.approx(sum(numbers) / 3)
    assert differences["elbo"][::2] == (pytest.approx(1), TRAINING)
    compared = CliRunner().invoke(
        main, ["evaluate", str(run), "--split", "training", "--samples", "20", "--compare", str(run)]
    )
    assert compared.exit_code == 0, compared.output
    lines = [line for line in compared.output.splitlines() if line.endswith("people")]
    # Beside PPCA, which has a figure of every ear, and then beside the other run.
    assert [line.rsplit("n = ", 1)[1] for line in lines] == ["3 people", "6 people", "3 people", "6 people"]


def test_an_interruption_keeps_what_is_not_measured(
    run: Path, half_measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(5, run, monkeypatch)
    assert evaluate(run, **OPTIONS) == half_measured


def test_where_no_ear_is_measured_there_is_no_nll(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_DOUBLINGS", 0)
    monkeypatch.setattr(evidence, "ENOUGH", 21)
    result = evaluate(run, **OPTIONS)
    assert {"nll", "nll_per_dim"} & result.keys() == set()
    table = format_result(result)
    assert "NLL, nats per ear" not in table
    assert "NLL: not measured" in table
    assert "more --samples" in table
    assert "NLL by the encoder's samples" in table
    # A table keeps the values of a figure where all ears have one, for comparisons in pairs.
    settings = ImageEvaluation.model_validate({"split": "validation", "evidence": {"samples": 20}})
    assert "nll" not in evaluate_ears(load_run(run), settings, seed=0)
    monkeypatch.setattr(evidence, "ENOUGH", 0)
    values = evaluate_ears(load_run(run), settings, seed=0)["nll"].values
    assert values is not None
    assert len(values) == 2


def test_the_table_of_a_split_with_ears_not_measured_has_no_values(run: Path, half_measured: dict[str, Any]) -> None:
    settings = ImageEvaluation.model_validate({"split": "validation", "evidence": {"samples": 20}})
    evaluated: Run = load_run(run)
    found = sorted(ear["effective_sample_size"] for ear in evaluate(run, split="validation", samples=20)["ears"])
    assert found[0] < found[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "ENOUGH", sum(found) / 2)
        figure = evaluate_ears(evaluated, settings, seed=0)["nll"]
    assert (figure.count, figure.values) == (1, None)


def test_the_variance_explained_by_hand() -> None:
    """A copy, the mean, an image half-way in every pixel, and one as far beyond."""
    x = torch.tensor([[[1.0, 3.0]]]).expand(4, 1, 2)
    mean = torch.tensor([[0.0, 1.0]])
    decoded = torch.stack([x[0], mean, (x[0] + mean) / 2, 2 * mean - x[0]])
    explained = variance_explained(x, decoded, mean)
    assert explained.dtype == torch.float64
    assert explained.tolist() == [1, 0, 0.75, -3]


def test_the_variance_explained_is_about_the_mean_training_ear(run: Path) -> None:
    loaded = load_run(run)
    result = evaluate(run, split="validation", samples=2)
    index = loaded.crops(None)
    training = torch.cat([loaded.image(ear.image) for ear in index.training])
    for ear, row in zip(index.validation, result["ears"], strict=True):
        x = loaded.image(ear.image)
        for name, z in (
            ("variance_explained", loaded.encode(ear.image)[None]),
            ("variance_explained_encoder", loaded.model.encode(x)),
        ):
            error = (loaded.model.decode(z) - x).square().sum() / (training.mean(0) - x).square().sum()
            assert row[name] == pytest.approx(1 - error.item(), abs=1e-5)
        assert row["variance_explained"] > row["variance_explained_encoder"]


def test_of_an_ear_that_is_the_mean_no_variance_can_be_explained(
    tmp_path: Path, write_crops: Callable[..., list[Path]], logged: Callable[[], str]
) -> None:
    ear = np.random.default_rng(0).normal(500, 400, (8, 6, 5))
    write_crops(tmp_path, training=[ear], test=[ear, ear + 100])
    config = parse_config(
        {
            "name": "one",
            "output_dir": str(tmp_path / "runs"),
            "data": {"root": str(tmp_path)},
            "model": {"kind": "vae", "latent_dim": 2, "network": {"channels": [2], "hidden": 4}},
            "training": {"epochs": 1, "batch_size": 1, "accelerator": "cpu"},
        },
        source="test",
    )
    run = train(config)
    assert "variance explained" not in logged()
    assert "variance_explained" not in evaluate(run, split="training", samples=20)
    result = evaluate(run, split="test", samples=20)
    assert result["variance_explained"]["count"] == result["variance_explained_encoder"]["count"] == 1
    assert [row["variance_explained"] is None for row in result["ears"]] == [True, False]


def test_the_linear_control_is_about_the_same_mean_ear(
    tmp_path: Path, write_crops: Callable[..., list[Path]], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where training people are held out as there is no validation split, their ears are in no mean."""
    random = np.random.default_rng(0)
    write_crops(tmp_path, training=[random.normal(500, 400, (8, 6, 5)) for _ in range(6)])
    means = []

    def kept(x: torch.Tensor, decoded: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        means.append(mean)
        return variance_explained(x, decoded, mean)

    for module in (crops, linear_control):
        monkeypatch.setattr(module, "variance_explained", kept)
    result = evaluate(run, split="validation", samples=2, data_root=tmp_path)
    assert result["variance_explained_ppca"]["count"] == len(result["ears"]) == 1
    assert len(means) == 3
    assert all(torch.equal(mean, means[0]) for mean in means)


def test_ears_are_kept_where_the_control_is_interrupted(
    run: Path, monkeypatch: pytest.MonkeyPatch, measured: list[str]
) -> None:
    interrupted_after(4, run, monkeypatch)

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(crops, "control_rows", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(run, **OPTIONS)
    assert (run / PARTIAL).is_file()
    measured.clear()
    evaluate(run, **OPTIONS)
    assert len(measured) <= TRAINING - 4
