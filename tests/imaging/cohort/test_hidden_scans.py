"""Scans that cannot be opened for a while are failures, and what was made of them before stays."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from medlangevin.imaging.cohort import preprocess as pipeline
from medlangevin.imaging.cohort.merge import merge
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.status import Shard
from medlangevin.imaging.cohort.summary import describe, require_no_failures
from medlangevin.system.errors import PartialFailureError

pytestmark = pytest.mark.usefixtures("stubbed_pipeline")
PIXELS = np.full((40, 40), 700, np.int16)
PEOPLE = 6


@pytest.fixture
def raw(tmp_path: Path, write_slice) -> Path:
    """People of four slices each, and one as a volume file."""
    (tmp_path / "out.key").write_text("5e" * 32)
    for person in range(PEOPLE):
        for k in range(4):
            ids = {"PatientID": f"P{person}", "StudyInstanceUID": f"1.2.{person}", "series_uid": f"1.2.{person}.1"}
            write_slice(tmp_path / "raw" / f"person_{person}" / f"s{k}", PIXELS, (0, 0, k * 0.6), **ids)
    (tmp_path / "raw" / "volume.nii.gz").write_text("")
    return tmp_path / "raw"


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "closed",
    [("person_2/",), ("person_2/s1",), ("volume.nii.gz",), ("person_0/", "person_1/", "person_2/", "person_3/")],
)
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_nobody_loses_crops_while_files_cannot_be_opened(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    close_files: Callable[..., None],
    closed: tuple[str, ...],
    error: OSError,
) -> None:
    out = tmp_path / "out"
    preprocess(raw, out)
    before = contents(out)
    with monkeypatch.context() as patch:
        close_files(patch, *closed, error=error)
        summary = preprocess(raw, out)
        with pytest.raises(PartialFailureError):
            require_no_failures(summary)
    assert summary.removed == 0
    assert "failed   " in describe(summary)
    assert "cannot be opened" in describe(summary)
    after = contents(out)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed <= {"failures.tsv", "status.json", "qc/index.html"}
    assert "closed-file" in (out / "failures.tsv").read_text()
    # Opened again, all is as it was, and nothing is made twice.
    again = preprocess(raw, out)
    assert again.resumed == PEOPLE + 1
    assert contents(out) == before


def test_a_merge_keeps_them_too(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close_files: Callable[..., None]
) -> None:
    out = tmp_path / "out"
    preprocess(raw, out)
    before = contents(out)
    close_files(monkeypatch, "person_2/", "person_3/s1")
    for number in (1, 2):
        preprocess(raw, out, shard=Shard(number, 2))
    summary = merge(out)
    assert summary.removed == 0
    assert contents(out)["dataset.json"] == before["dataset.json"]
    assert {name: data for name, data in contents(out).items() if name.startswith("crops/")} == {
        name: data for name, data in before.items() if name.startswith("crops/")
    }


def test_new_people_are_made_though_others_cannot_be_opened(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close_files: Callable[..., None], write_slice
) -> None:
    out = tmp_path / "out"
    preprocess(raw, out)
    persons = set(json.loads((out / "status.json").read_text())["persons"])
    write_slice(raw / "person_9" / "s", PIXELS, (0, 0, 0), PatientID="P9", StudyInstanceUID="1.2.9")
    close_files(monkeypatch, "person_2/")
    summary = preprocess(raw, out)
    assert summary.kept == 1
    assert "kept     1 person as before" in describe(summary)
    assert len(set(json.loads((out / "status.json").read_text())["persons"]) - persons) == 1
    assert persons < set(json.loads((out / "status.json").read_text())["persons"])


def test_crops_of_other_settings_are_not_taken_for_these(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close_files: Callable[..., None]
) -> None:
    """Of whom a slice is missing is made again where the settings are others; nothing is removed all the same."""
    out = tmp_path / "out"
    preprocess(raw, out)
    crops = {name for name in contents(out) if name.startswith("crops/")}
    close_files(monkeypatch, "person_2/s1")
    summary = preprocess(raw, out, method="correlation")
    assert summary.resumed == 0
    assert crops <= set(contents(out))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may open everything")
def test_files_without_the_right_to_read(raw: Path, tmp_path: Path) -> None:
    preprocess(raw, tmp_path / "out")
    for path in (raw / "person_2").iterdir():
        path.chmod(0)
    assert preprocess(raw, tmp_path / "out").kept == 1


def test_files_that_are_gone_are_still_removed(raw: Path, tmp_path: Path, stubbed: ModuleType) -> None:
    preprocess(raw, tmp_path / "out")
    shutil.rmtree(raw / "person_2")
    assert pipeline.process_person is stubbed.stub_person
    assert preprocess(raw, tmp_path / "out").removed == 1
