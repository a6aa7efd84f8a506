"""Evaluation of a run: known statistics, agreement with training, and clear refusals."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medlangevin.datasets.crops import CropDataset, choose_splits
from medlangevin.datasets.datalist import read_index
from medlangevin.evaluation import crops
from medlangevin.evaluation.decoder_likelihood import DecoderLikelihood
from medlangevin.evaluation.evaluate import evaluate, evaluate_crops, format_result
from medlangevin.evaluation.evidence import Evidence
from medlangevin.evaluation.figure import figure_of
from medlangevin.models.laplace import NormalPosterior
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError


def test_mean_and_error_by_hand() -> None:
    assert figure_of([1.0, 2.0, 3.0, 4.0]).as_json() == {
        "mean": 2.5,
        "standard_error": pytest.approx((5 / 3) ** 0.5 / 2),
        "count": 4,
    }
    assert figure_of([7.0]).as_json() == {"mean": 7.0, "standard_error": None, "count": 1}


def test_validation_elbo_agrees_with_the_one_seen_in_training(run: Path) -> None:
    result = evaluate(run, split="validation", samples=200)
    best = max(row["validation_elbo"] for row in read_metrics(run / "metrics.csv"))
    # One draw of an ear's ELBO has a standard deviation of 1.2 nats. Two ears, 1 draw against 10: standard error 0.9
    # of the difference; 5 of them, a false alarm in 2 million.
    assert result["elbo"]["mean"] == pytest.approx(best, abs=4.5)
    # The encoder's samples lie 1.9 to 2.5 nats above these ears' ELBOs; mean of 10 draws: standard error 0.4.
    for ear in result["ears"]:
        assert 0 < -ear["nll_encoder"] - ear["elbo"] < 5
    for name in ("nll", "nll_encoder"):
        assert result[f"{name}_per_dim"]["mean"] == pytest.approx(result[name]["mean"] / 240)
        assert result[name]["mean"] == pytest.approx(sum(ear[name] for ear in result["ears"]) / 2)


def test_results_are_kept_by_split_and_reproducible(run: Path) -> None:
    first = evaluate(run, split="validation", samples=3, seed=1)
    evaluate(run, split="training", samples=3, seed=1)
    stored = json.loads((run / "evaluation.json").read_text())
    assert stored["validation"] == json.loads(json.dumps(first))
    assert len(stored["training"]["ears"]) == 6
    assert evaluate(run, split="validation", samples=3, seed=1) == first
    other = evaluate(run, split="validation", samples=3, seed=2)
    assert other["nll"] != first["nll"]
    assert other["nll_encoder"] != first["nll_encoder"]
    assert other["variance_explained"] == first["variance_explained"]  # nothing is drawn


def test_an_ear_s_numbers_do_not_depend_on_the_others(run: Path, tmp_path: Path) -> None:
    whole = evaluate(run, split="validation", samples=3)
    root = run.parents[1]
    listing = json.loads((root / "dataset.json").read_text())
    listing["validation"] = listing["validation"][1:]
    for entry in listing["training"] + listing["validation"]:
        entry["image"] = str(root / entry["image"])
    (tmp_path / "dataset.json").write_text(json.dumps(listing))
    alone = evaluate(run, split="validation", samples=3, data_root=tmp_path)
    assert alone["ears"] == whole["ears"][1:]


def test_an_ear_s_noise_is_its_own(run: Path, tmp_path: Path) -> None:
    """Both ears of two people, all four the same crop: what differs is the noise of the bound and of all NLLs."""
    root = run.parents[1]
    listing = json.loads((root / "dataset.json").read_text())
    crop = {"image": str(root / listing["validation"][0]["image"]), "split": "validation"}
    same = [{**crop, "subject": subject, "side": side} for subject in ("a", "b") for side in ("L", "R")]
    training = [{**entry, "image": str(root / entry["image"])} for entry in listing["training"]]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": training, "validation": same, "test": []}))
    options: dict[str, Any] = {"decoder_likelihood": True, "temperatures": 4, "chains": 2}
    ears = evaluate(run, split="validation", samples=3, data_root=tmp_path, **options)["ears"]
    for name in ("elbo", "nll", "nll_encoder", "nll_ais"):
        assert len({ear[name] for ear in ears}) == 4
    assert len({ear["variance_explained"] for ear in ears}) == 1


def test_table_shows_mean_error_and_number(run: Path) -> None:
    result = evaluate(run, split="validation", samples=3)
    table = format_result(result)
    assert f"{result['elbo']['mean']:,.1f}" in table
    error = result["nll"]["standard_error"]
    for line in (
        f"NLL, nats per ear (3 samples) {result['nll']['mean']:>19,.1f} +- {error:.1f}  n = 2",
        f"effective samples {result['effective_sample_size']['mean']:>29,.1f}",
        f"NLL by the encoder's samples {result['nll_encoder']['mean']:>20,.1f}",
        f"per voxel {result['nll_encoder_per_dim']['mean']:>37,.5f}",
        f"variance explained {result['variance_explained']['mean']:>30.3f}",
        f"by the encoder's latent {result['variance_explained_encoder']['mean']:>23.3f}",
    ):
        assert line in table


def test_empty_test_split_damaged_results_and_bad_samples(run: Path) -> None:
    with pytest.raises(MedlangevinError, match="holds no ears; choose --split validation"):
        evaluate(run, split="test")
    with pytest.raises(MedlangevinError, match="at least 1"):
        evaluate(run, split="validation", samples=0)
    (run / "evaluation.json").write_text('{"validation": ')
    try:
        with pytest.raises(MedlangevinError, match=r"evaluation\.json is not valid JSON"):
            evaluate(run, split="validation", samples=1)
    finally:
        (run / "evaluation.json").unlink()


def test_people_seen_in_training_are_no_test(run: Path, tmp_path: Path) -> None:
    root = tmp_path / "swapped"
    shutil.copytree(load_run(run).config.data.root, root)
    entries = json.loads((root / "dataset.json").read_text())
    entries["training"], entries["test"] = [], [{**entry, "split": "test"} for entry in entries["training"]]
    (root / "dataset.json").write_text(json.dumps(entries))
    with pytest.raises(MedlangevinError, match="were trained or validated on"):
        evaluate(run, split="test", samples=1, data_root=root)


def test_a_test_on_few_people_is_said_and_one_on_three_is_not(
    run: Path, tmp_path: Path, logged: Callable[[], str]
) -> None:
    """Of two people there are four ears, which do not help."""
    root = run.parents[1]
    crop = str(root / json.loads((root / "dataset.json").read_text())["validation"][0]["image"])
    for people, said in (("ab", True), ("abc", False)):
        ears = [{"image": crop, "subject": name, "side": side} for name in people for side in "LR"]
        (tmp_path / "dataset.json").write_text(json.dumps({"test": ears}))
        evaluate(run, split="test", samples=1, data_root=tmp_path)
        assert ("few people to test on (2): what comes out is little more than chance" in logged()) == said
    evaluate(run, split="validation", samples=1)
    assert "few people" not in logged()


@pytest.mark.slow
@pytest.mark.claim("evaluate-decoder")
def test_the_decoder_s_likelihood_is_added_on_request(run: Path) -> None:
    result = evaluate(run, split="validation", samples=200, decoder_likelihood=True, temperatures=60, chains=8)
    # The posteriors are so wide that 20,000 draws of the prior give log p(x) to 0.03 nats; 8 annealed chains have a
    # standard error of 0.2, and 200 samples about the mode one of 0.05. The encoder's importance samples are 4 nats
    # short, after 3 epochs and for any number.
    loaded = load_run(run)
    index = read_index(run.parents[1])
    ears = choose_splits(index).validation
    data = CropDataset(ears, index.shape, window_hu=loaded.config.data.window_hu, cache_mb=0)
    z = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    for position, ear in enumerate(result["ears"]):
        with torch.no_grad():
            x = data[position][None].expand(20_000, -1, -1, -1, -1)
            log_likelihoods = loaded.model.likelihood.log_prob(x, loaded.model.decoder(z))
        exact = log_likelihoods.logsumexp(0).item() - math.log(20_000)
        assert -ear["nll_ais"] == pytest.approx(exact, abs=1)
        assert -ear["nll"] == pytest.approx(exact, abs=0.4)
        assert ear["nll_ais"] < ear["nll_encoder"] - 1
        assert 1 <= ear["ais_effective_sample_size"] <= 8
        assert 0.4 < ear["ais_acceptance"] < 0.9
    assert result["nll_ais"]["mean"] == pytest.approx(sum(ear["nll_ais"] for ear in result["ears"]) / 2)
    assert json.loads((run / "evaluation.json").read_text())["validation"] == json.loads(json.dumps(result))
    table = format_result(result)
    assert "NLL by AIS (60 temperatures)" in table
    assert f"{result['nll_ais']['mean']:,.1f}" in table
    without = evaluate(run, split="validation", samples=200)
    assert without["nll"] == result["nll"]
    assert "AIS" not in format_result(without)
    with pytest.raises(MedlangevinError, match="belong to --decoder-likelihood"):
        evaluate(run, split="validation", chains=8)


ANNEALING = {"temperatures": 4, "chains": 2}


def test_ears_are_taken_to_the_model_s_device(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_run(run)
    model = loaded.model.to("meta")  # where nothing can be computed, as on a GPU that is not there
    seen = []

    def answer(x: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(x.device.type)
        return torch.zeros(len(x))

    def answer_twice(model: object, x: torch.Tensor, *rest: object, **options: object) -> Any:
        answer(x)
        ones = torch.ones(len(x))
        return NormalPosterior(ones, ones) if not options else Evidence(ones, 100 * ones)

    monkeypatch.setattr(model, "elbo", answer)
    monkeypatch.setattr(model, "log_likelihood", answer)
    for name in ("laplace", "evidence"):
        monkeypatch.setattr(crops, name, answer_twice)
    monkeypatch.setattr(model, "encode", answer)
    monkeypatch.setattr(model, "reconstruct", lambda x, z: x)
    monkeypatch.setattr(crops, "variance_explained", lambda x, decoded, mean: answer(mean[None]))
    monkeypatch.setattr(Run, "digest", lambda *_: "")
    monkeypatch.setattr(crops, "control_rows", lambda run, index, ears, mean: [{}] * len(ears))
    estimate = DecoderLikelihood(torch.zeros(1), torch.zeros(1), torch.zeros(1), num_gradients=0)

    def anneal(model: object, x: torch.Tensor, *rest: object, **options: object) -> DecoderLikelihood:
        seen.append(x.device.type)
        return estimate

    monkeypatch.setattr("medlangevin.evaluation.decoder_likelihood.decoder_log_likelihood", anneal)
    evaluate_crops(loaded, split="validation", samples=3, seed=0, data_root=None, annealing=ANNEALING)
    # Of each of two ears: the bound, the posterior, the evidence, the encoder, two means, its samples; and annealing.
    assert seen == ["meta"] * 16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_figures_on_a_gpu_are_those_on_a_cpu(run: Path) -> None:
    cpu, gpu = (
        evaluate_crops(
            load_run(run, device=device), split="validation", samples=3, seed=0, data_root=None, annealing=ANNEALING
        )
        for device in ("cpu", "cuda")
    )
    for name in ("elbo", "nll", "nll_encoder", "nll_ais"):
        assert gpu[name]["mean"] == pytest.approx(cpu[name]["mean"], abs=0.5)
