"""Runs compared in pairs, with the answer worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medlangevin.config import Config, dump_config, parse_config
from medlangevin.evaluation.compare_runs import format_differences, noise_doubt, paired_differences, read_evaluation
from medlangevin.system.errors import MedlangevinError


def result(run: str, elbos: dict[str, float], **other: Any) -> dict[str, Any]:
    ears = [{"subject": name[:-1], "side": name[-1], "elbo": elbo, "nll": -elbo} for name, elbo in elbos.items()]
    return {"run": run, "samples": 50, "elbo": {}, "nll": {}, "effective_sample_size": {}, "ears": ears, **other}


@pytest.mark.claim("paired-runs")
def test_a_person_counts_once_however_many_ears() -> None:
    """Differences of 2 and 4 in one person's ears and 7 in the other's: 3 and 7, mean 5, standard error 2."""
    ours = result("ours", {"aL": 102.0, "aR": 204.0, "bL": 307.0})
    theirs = result("theirs", {"bL": 300.0, "aR": 200.0, "aL": 100.0})
    differences = paired_differences(ours, theirs)
    assert differences["elbo"][:3] == pytest.approx((5.0, 2.0, 2))
    assert differences["nll"][:3] == pytest.approx((-5.0, 2.0, 2))
    text = format_differences(differences, "theirs")
    assert "minus theirs, in pairs:" in text
    assert "+5.0 +- 2.0  n = 2 people" in text


def test_figures_measured_in_another_way_are_not_compared() -> None:
    ours = result("ours", {"aL": 1.0})
    assert set(paired_differences(ours, result("theirs", {"aL": 2.0}, samples=5))) == {"elbo"}
    assert paired_differences(ours, result("theirs", {"aL": 2.0}))["elbo"] == (-1.0, None, 1, None)
    assert "no figure was measured in the same way" in format_differences({}, "theirs")


@pytest.mark.claim("not-measured")
def test_ears_that_either_did_not_measure_are_left_out(tmp_path: Path) -> None:
    """Of three people the NLLs of two ears of b and of the left one of a: minus 2 in a's right ear, minus 7 in c's."""
    ours = result("ours", {"aL": 102.0, "aR": 202.0, "bL": 307.0, "cR": 57.0})
    theirs = result("theirs", {"aL": 100.0, "aR": 200.0, "bL": 300.0, "cR": 50.0})
    ours["ears"][0]["nll"] = theirs["ears"][2]["nll"] = None
    differences = paired_differences(ours, theirs)
    assert differences["elbo"].count == 3
    assert differences["nll"][:3] == pytest.approx((-4.5, 2.5, 2))
    for row in ours["ears"]:
        row["nll"] = None
    assert set(paired_differences(ours, theirs)) == {"elbo"}
    (tmp_path / "evaluation.json").write_text(json.dumps({"test": ours}))
    assert read_evaluation(tmp_path, "test") == ours


def test_what_former_versions_called_nll_is_not_compared() -> None:
    """It was by the encoder's samples, and nothing stood beside it."""
    former = result("former", {"aL": 2.0})
    del former["effective_sample_size"]
    assert set(paired_differences(result("ours", {"aL": 1.0}), former)) == {"elbo"}
    assert set(paired_differences(former, result("ours", {"aL": 1.0}))) == {"elbo"}


def test_rows_without_a_figure_of_their_result_are_damaged(tmp_path: Path) -> None:
    ours = result("ours", {"aL": 1.0, "bL": 1.0})
    del ours["ears"][1]["nll"]
    (tmp_path / "evaluation.json").write_text(json.dumps({"test": ours}))
    with pytest.raises(MedlangevinError, match="is damaged; delete it and evaluate again"):
        read_evaluation(tmp_path, "test")


def test_runs_of_other_noise_are_doubted(make_config: Callable[..., Config], tmp_path: Path) -> None:
    def written(name: str, kind: str = "vae", **likelihood: Any) -> Path:
        raw = make_config(name, kind=kind).model_dump(mode="json")
        raw["model"].setdefault("likelihood", {"kind": "gaussian"}).update(likelihood)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(dump_config(parse_config(raw, source="test")))
        return folder

    plain, pca = written("plain"), written("pca", "ppca")
    assert noise_doubt(plain, pca) is None
    assert noise_doubt(plain, written("wide", initial_scale=0.3)) is None
    assert noise_doubt(plain, tmp_path) is None
    for switch in ("scale_per_ear", "scale_map", "correlated"):
        doubt = noise_doubt(plain, written(switch, "vae", **{switch: True}))
        assert doubt is not None
        assert "other likelihoods" in doubt


def test_other_ears_are_refused(tmp_path: Path) -> None:
    ours = result("ours", {"aL": 1.0, "bL": 1.0})
    with pytest.raises(MedlangevinError, match=r"not evaluated on the same ears \(2 and 1, 1 in common\)"):
        paired_differences(ours, result("theirs", {"aL": 1.0}))
    with pytest.raises(MedlangevinError, match="not a run of ears"):
        paired_differences(ours, {"run": "digits"})
    with pytest.raises(MedlangevinError, match=r"not been evaluated on the test split; run medlangevin evaluate"):
        read_evaluation(tmp_path, "test")
    (tmp_path / "evaluation.json").write_text(json.dumps({"test": ours}))
    assert read_evaluation(tmp_path, "test") == ours
