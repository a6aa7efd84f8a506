import json
import logging

import pytest
from click.testing import CliRunner

from medlangevin.cli import demo
from medlangevin.cli.main import main
from medlangevin.config import demo as config
from medlangevin.system.errors import MedlangevinError


@pytest.fixture
def few_ears(monkeypatch):
    """The demo with four ears and two epochs: every step, none of the waiting. Two ears are to train on."""
    monkeypatch.setattr(demo, "EARS", 4)
    monkeypatch.setattr(
        config, "CONFIG", config.CONFIG.replace("epochs: 150", "epochs: 2").replace("vae_epochs: 90", "vae_epochs: 1")
    )
    assert "  epochs: 2\n" in config.CONFIG


@pytest.mark.slow(seconds=50)
def test_the_demo_runs_from_dicom_to_shape_and_makes_every_picture_it_names(few_ears, tmp_path):
    out = tmp_path / "a folder: with spaces"
    result = CliRunner().invoke(main, ["demo", "--out", str(out)])
    assert result.exit_code == 0, result.output
    for name in demo.PICTURES:
        assert (out / name).stat().st_size > 1000, name
        assert name in result.output
    sides = [path.name.split("side-")[1][0] for path in (out / "cochlea" / "crops").glob("*.nii.gz")]
    truth = [json.loads(path.read_text())["ears"][0]["side"] for path in (out / "phantom" / "truth").glob("*.json")]
    assert sorted(sides) == sorted(truth)
    assert len(list((out / "synthetic").glob("synthetic-*_ct.nii.gz"))) == 4


def test_the_demo_does_not_mix_with_other_files(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_interrupted_step_ends_the_demo(monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("medlangevin.phantom.write_cohort", interrupted)
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 130
    assert "preprocess" not in result.output


def test_a_line_of_a_step_is_shown_once(monkeypatch, tmp_path):
    def told(*args, **kwargs):
        logging.getLogger("medlangevin.phantom").info("one line")
        raise MedlangevinError("enough")

    handlers = list(logging.getLogger("medlangevin").handlers)
    monkeypatch.setattr("medlangevin.phantom.write_cohort", told)
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 2
    assert result.stdout.count("one line") == 1
    assert logging.getLogger("medlangevin").handlers == handlers
