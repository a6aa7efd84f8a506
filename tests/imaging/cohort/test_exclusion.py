"""Persons and scans that the user leaves out, and the private table that leads back from pseudonyms."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medlangevin.imaging.cohort.merge import merge
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.status import Shard
from medlangevin.imaging.cohort.summary import describe
from medlangevin.system.errors import MedlangevinError

pytestmark = pytest.mark.usefixtures("stubbed_pipeline")
PIXELS = np.full((40, 40), 700, np.int16)
PEOPLE = 5


@pytest.fixture
def raw(tmp_path: Path, write_slice) -> Path:
    (tmp_path / "out.key").write_text("5e" * 32)
    for person in range(PEOPLE):
        for series in (1, 2):
            ids = {"PatientID": f"P{person}", "StudyInstanceUID": f"1.2.{person}"}
            where = tmp_path / "raw" / f"surname_{person}" / str(series)
            write_slice(where / "s", PIXELS, (0, 0, 0), series_uid=f"1.2.{person}.{series}", **ids)
    (tmp_path / "raw" / "volume.nii.gz").write_text("")
    return tmp_path / "raw"


def people(out: Path) -> set[str]:
    return set(json.loads((out / "status.json").read_text())["persons"])


def table(tmp_path: Path) -> list[dict[str, str]]:
    header, *rows = (tmp_path / "out.key.tsv").read_text().splitlines()
    return [dict(zip(header.split("\t"), row.split("\t"), strict=True)) for row in rows]


def test_the_private_table_leads_from_a_pseudonym_to_study_series_and_folder(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = preprocess(raw, out)
    rows = table(tmp_path)
    assert stat.S_IMODE((tmp_path / "out.key.tsv").stat().st_mode) == 0o600
    assert {row["participant_id"].removeprefix("sub-") for row in rows} == people(out)
    assert len(rows) == 2 * PEOPLE + 1
    row = next(row for row in rows if row["series_uid"] == "1.2.3.2")
    assert row["study_uid"] == "1.2.3"
    assert row["folder"] == str(raw / "surname_3" / "2")
    assert row["series"] in summary.folders
    assert f"table    {tmp_path / 'out.key.tsv'}" in describe(summary)
    assert not any(b"surname_" in path.read_bytes() for path in out.rglob("*") if path.is_file())
    # Shares write the same one, and a merge leaves it alone.
    before = (tmp_path / "out.key.tsv").read_bytes()
    for number in (1, 2):
        preprocess(raw, out, shard=Shard(number, 2))
    merge(out)
    assert (tmp_path / "out.key.tsv").read_bytes() == before


def test_the_table_keeps_people_whose_scans_cannot_be_opened(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close_files: Callable[..., None]
) -> None:
    preprocess(raw, tmp_path / "out")
    before = table(tmp_path)
    close_files(monkeypatch, "surname_2")
    preprocess(raw, tmp_path / "out")
    assert table(tmp_path) == before


def test_another_folder_that_is_refused_leaves_the_table_alone(raw: Path, tmp_path: Path) -> None:
    preprocess(raw, tmp_path / "out")
    before = table(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "else.nii.gz").write_text("")
    with pytest.raises(MedlangevinError, match="are not among the scans"):
        preprocess(tmp_path / "other", tmp_path / "out")
    assert table(tmp_path) == before


def test_a_key_in_the_output_folder_is_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="which may be passed on"):
        preprocess(raw, tmp_path / "out", key_file=tmp_path / "out" / "key")
    assert not (tmp_path / "out").exists()


def test_a_person_left_out_stays_out_until_another_list_is_given(raw: Path, tmp_path: Path) -> None:
    out, listed = tmp_path / "out", tmp_path / "exclude.txt"
    preprocess(raw, out)
    before = people(out)
    first, second = sorted(before)[:2]
    listed.write_text(f"\ufeff# withdrew\nsub-{first}\n\n{second}  # implant\n", encoding="utf-8")
    summary = preprocess(raw, out, exclude=listed)
    assert people(out) == before - {first, second}
    assert summary.removed == 2
    assert not [path for path in out.rglob(f"*{first}*") if path.is_file()]
    assert "excluded " in describe(summary)
    assert all(first not in (out / name).read_text() for name in ("dataset.json", "participants.tsv"))
    # Reruns, shares and a merge know it.
    assert preprocess(raw, out).excluded > 0
    for number in (1, 2):
        preprocess(raw, out, shard=Shard(number, 2))
    merge(out)
    merge(out)
    preprocess(raw, out)
    assert people(out) == before - {first, second}
    listed.write_text("")
    assert preprocess(raw, out, exclude=listed).excluded == 0
    assert people(out) == before


@pytest.mark.parametrize("name", ["surname_2/1", "1.2.2.1", "{raw}/surname_2/1", "hash"])
def test_a_scan_left_out_leaves_the_persons_others(raw: Path, tmp_path: Path, name: str) -> None:
    out, listed = tmp_path / "out", tmp_path / "exclude.txt"
    preprocess(raw, out)
    number = next(row["series"] for row in table(tmp_path) if row["series_uid"] == "1.2.2.1")
    listed.write_text(number if name == "hash" else name.format(raw=raw))
    for exclude in (listed, None):
        summary = preprocess(raw, out, exclude=exclude)
        assert summary.excluded == 1
        assert number not in summary.folders
        assert len(people(out)) == PEOPLE + 1


def test_all_scans_of_most_people_may_be_left_out(raw: Path, tmp_path: Path) -> None:
    out, listed = tmp_path / "out", tmp_path / "exclude.txt"
    listed.write_text("surname_0\nsurname_1\nsurname_2\nsurname_3\n")
    preprocess(raw, tmp_path / "out", exclude=listed)
    assert len(people(out)) == 2
    listed.write_text("")
    preprocess(raw, out, exclude=listed)
    listed.write_text("\n".join(sorted(people(out))[:4]))
    preprocess(raw, out, exclude=listed)
    assert len(people(out)) == 2


def test_who_is_left_out_is_removed_also_while_something_cannot_be_opened(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close_files: Callable[..., None]
) -> None:
    out, listed = tmp_path / "out", tmp_path / "exclude.txt"
    preprocess(raw, out)
    subject = next(row["participant_id"] for row in table(tmp_path) if row["study_uid"] == "1.2.2")
    listed.write_text(subject)
    close_files(monkeypatch, "surname_2")
    preprocess(raw, out, exclude=listed)
    assert subject.removeprefix("sub-") not in people(out)
    assert not [path for path in out.rglob(f"{subject}_*") if path.is_file()]


@pytest.mark.parametrize("text", ["0123456789", "nobody", "surname_9", "sub-zzz"])
def test_a_name_that_is_nobodys_is_refused_before_anything_is_written(raw: Path, tmp_path: Path, text: str) -> None:
    listed = tmp_path / "exclude.txt"
    listed.write_text(f"surname_1\n{text}\n")
    with pytest.raises(MedlangevinError, match=f"--exclude names {text}, which is neither a person nor a CT series"):
        preprocess(raw, tmp_path / "out", exclude=listed)
    assert not (tmp_path / "out").exists()


def test_a_list_that_cannot_be_read_is_named(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff\xfe\x80")
    for name in ("none", "latin", "raw"):
        with pytest.raises(MedlangevinError, match="cannot be read; give a text file"):
            preprocess(raw, tmp_path / "out", exclude=tmp_path / name)
