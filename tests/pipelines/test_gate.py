"""What the last step lets pass, and what not."""

import json
import runpy
from pathlib import Path

import pytest

GATE = Path(__file__).resolve().parents[2] / "pipelines" / "scripts" / "gate.py"
verdict = runpy.run_path(str(GATE))["verdict"]


def crops(folder: Path, *, scans: int = 0, persons_scans: int = 0, ears: int = 0) -> Path:
    person: dict[str, list[dict[str, str]]] = {"failures": [{}] * persons_scans, "failed": [{}] * ears}
    (folder / "status.json").write_text(json.dumps({"persons": {"ab": person}, "failures": [{}] * scans}))
    return folder


def test_nothing_failed(tmp_path):
    assert verdict(crops(tmp_path), [tmp_path], 0) == (True, "gate: passed\n")


@pytest.mark.parametrize("failed", [{"scans": 1}, {"persons_scans": 1}, {"ears": 1}])
def test_every_failure_counts_and_as_many_as_are_allowed_pass(tmp_path, failed):
    passed, text = verdict(crops(tmp_path, **failed), [tmp_path], 0)
    assert not passed
    assert "NOT PASSED" in text
    assert "failures.tsv" in text
    assert "allowed_failures: 1" in text
    assert verdict(tmp_path, [], 1)[0]
    assert not verdict(crops(tmp_path, scans=1, ears=1), [], 1)[0]


def test_a_volume_that_shape_could_not_read_never_passes(tmp_path):
    (tmp_path / "failures.tsv").write_text("population\tvolume\treason\n")
    passed, text = verdict(crops(tmp_path), [tmp_path], 9)
    assert not passed
    assert str(tmp_path / "failures.tsv") in text
