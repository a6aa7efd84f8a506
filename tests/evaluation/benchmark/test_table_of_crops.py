"""A table of models of crops: measured as ``evaluate`` does, in pairs on the same ears, and resumed."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from medlangevin.errors import MedlangevinError
from medlangevin.evaluation.benchmark.prepare import prepare, states
from medlangevin.evaluation.benchmark.records import read_record, record_path
from medlangevin.evaluation.benchmark.run import run
from medlangevin.evaluation.likelihood import evaluate
from medlangevin.reports.benchmark import draw_benchmark

SHAPE = (8, 6, 5)
TABLE = {
    "name": "ears",
    "title": "Ears",
    "figures": ["negative_elbo", "nll", "nll_per_dim"],
    "base": {
        "model": {"latent_dim": 2, "network": {"channels": [2], "hidden": 4}},
        "training": {"epochs": 2, "batch_size": 3, "accelerator": "cpu"},
    },
    "evaluation": {"elbo_draws": 10, "importance": {"samples": 3}},
    "rows": {
        "vae": {"label": "VAE", "model": {"kind": "vae"}, "seeds": {"balls": [0]}},
        "qsl": {"label": "QSL", "model": {"kind": "qsl_vae", "flow": {"steps": 2}}, "seeds": {"balls": [0]}},
    },
    "controls": ["vae"],
}


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("balls")
    random = np.random.default_rng(0)
    listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    for number in range(9):
        hu = random.normal(500, 400, SHAPE) + random.normal(0, 300)
        nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), np.diag([0.2, 0.2, 0.2, 1])), root / f"{number}.nii.gz")
        split = "training" if number < 5 else "validation" if number < 7 else "test"
        listing[split].append({"image": f"{number}.nii.gz", "subject": str(number), "side": "R", "split": split})
    (root / "dataset.json").write_text(json.dumps(listing))
    return root


def write(folder: Path, crops: Path, **changes: object) -> Path:
    path = folder / "table.yaml"
    table = TABLE | {"data_sets": {"balls": {"data": {"root": str(crops)}}}} | changes
    path.write_text(yaml.safe_dump(table, sort_keys=False))
    return path


def test_every_cell_has_the_figures_of_evaluate_and_rows_are_compared_ear_by_ear(crops: Path, tmp_path: Path) -> None:
    table = prepare(write(tmp_path, crops), tmp_path / "out")
    assert run(table) == {}
    record = read_record(record_path(tmp_path / "out", "qsl-balls-seed0"))
    own = evaluate(tmp_path / "out" / "runs" / "qsl-balls-seed0", split="test", samples=3, seed=0)
    assert record.figures["nll"].mean == pytest.approx(own["nll"]["mean"], rel=1e-12)
    assert record.figures["negative_elbo"].mean == pytest.approx(-own["elbo"]["mean"], rel=1e-12)
    assert record.figures["nll_per_dim"].mean == pytest.approx(own["nll"]["mean"] / 240, rel=1e-12)
    assert record.figures["nll"].count == 2
    assert not any("root" in key for key in record.configuration.get("data", {}))
    other = read_record(record_path(tmp_path / "out", "vae-balls-seed0"))
    difference = np.mean(np.subtract(record.figures["nll"].values, other.figures["nll"].values))
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    compared = next(line for line in lines if line.startswith("| QSL |") and line.count("|") == 3)
    assert float(compared.split("|")[2].split("±")[0]) == pytest.approx(difference, abs=0.06 * abs(difference) + 0.6)
    assert dict(states(table)) == {"vae-balls-seed0": "measured", "qsl-balls-seed0": "measured"}
    names = [path.name for path in draw_benchmark(table)]
    assert names == ["curves-balls.png", "samples-balls.png"]


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"evaluation": {"importance": {"samples": 3, "images": 5}}}, {}, "no effect on ears"),
        ({"evaluation": {"inception": {"samples": 10}}}, {}, "for digits"),
        ({}, {"download": True}, "not downloaded"),
    ],
)
def test_what_would_have_no_effect_on_ears_is_refused(
    crops: Path, tmp_path: Path, changes: dict, arguments: dict, message: str
) -> None:
    changes = {"figures": ["negative_elbo"], **changes}
    with pytest.raises(MedlangevinError, match=message):
        prepare(write(tmp_path, crops, **changes), tmp_path / "out", **arguments)


def test_absent_crops_fail_before_any_training(tmp_path: Path) -> None:
    table = prepare(write(tmp_path, tmp_path / "nowhere"), tmp_path / "out")
    with pytest.raises(MedlangevinError, match="preprocess"):
        run(table)
    assert not (tmp_path / "out").exists()
