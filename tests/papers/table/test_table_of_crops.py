"""A table of models of crops: measured as ``evaluate`` does, in pairs on the same ears, and resumed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from medlangevin.evaluation.evaluate import evaluate
from medlangevin.papers.table.pictures import draw_table
from medlangevin.papers.table.prepare import prepare, states
from medlangevin.papers.table.records import read_record, record_path
from medlangevin.papers.table.run import run
from medlangevin.system.errors import MedlangevinError

TABLE = {
    "name": "ears",
    "title": "Ears",
    "figures": ["negative_elbo", "nll", "nll_per_dim", "nll_encoder"],
    "base": {
        "model": {"latent_dim": 2, "network": {"channels": [2], "hidden": 4}},
        "training": {"epochs": 2, "batch_size": 3, "accelerator": "cpu"},
    },
    "evaluation": {"elbo_draws": 10, "evidence": {"samples": 40}, "importance": {"samples": 40}},
    "rows": {
        "vae": {"label": "VAE", "model": {"kind": "vae"}, "seeds": {"crops": [0]}},
        "qsl": {"label": "QSL", "model": {"kind": "qsl_vae", "flow": {"steps": 2}}, "seeds": {"crops": [0]}},
    },
    "controls": ["vae"],
}


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Path:
    root = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    ears = [random.normal(500, 400, (8, 6, 5)) + random.normal(0, 300) for _ in range(9)]
    write_crops(root, training=ears[:5], validation=ears[5:7], test=ears[7:])
    return root


def write(folder: Path, crops: Path, **changes: object) -> Path:
    path = folder / "table.yaml"
    table = TABLE | {"data_sets": {"crops": {"data": {"root": str(crops)}}}} | changes
    path.write_text(yaml.safe_dump(table, sort_keys=False))
    return path


@pytest.mark.slow
def test_every_cell_has_the_figures_of_evaluate_and_rows_are_compared_ear_by_ear(crops: Path, tmp_path: Path) -> None:
    table = prepare(write(tmp_path, crops), tmp_path / "out")
    assert run(table) == {}
    record = read_record(record_path(tmp_path / "out", "qsl-crops-seed0"))
    own = evaluate(tmp_path / "out" / "runs" / "qsl-crops-seed0", split="test", samples=40, seed=0)
    for name in ("nll", "nll_encoder", "effective_sample_size", "variance_explained"):
        assert record.figures[name].mean == pytest.approx(own[name]["mean"], rel=1e-12)
    assert record.figures["negative_elbo"].mean == pytest.approx(-own["elbo"]["mean"], rel=1e-12)
    assert record.figures["nll_per_dim"].mean == pytest.approx(own["nll"]["mean"] / 240, rel=1e-12)
    assert record.figures["nll"].count == 2
    assert not any("root" in key for key in record.configuration.get("data", {}))
    other = read_record(record_path(tmp_path / "out", "vae-crops-seed0"))
    own_values, other_values = record.figures["nll"].values, other.figures["nll"].values
    assert own_values is not None
    assert other_values is not None
    difference = float(np.mean(np.subtract(own_values, other_values)))
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert sum(line.startswith("Difference in NLL") for line in lines) == 2
    compared = next(line for line in lines if line.startswith("| QSL |") and line.count("|") == 3)
    assert float(compared.split("|")[2].split("±")[0]) == pytest.approx(difference, abs=0.06 * abs(difference) + 0.6)
    assert dict(states(table)) == {"vae-crops-seed0": "measured", "qsl-crops-seed0": "measured"}
    names = [path.name for path in draw_table(table)]
    assert names == ["curves-crops.png", "samples-crops.png"]


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"evaluation": {"importance": {"samples": 3, "images": 5}}}, {}, "importance.images has no effect on ears"),
        ({"evaluation": {"evidence": {"images": 5}}}, {}, "evidence.images has no effect on ears"),
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
