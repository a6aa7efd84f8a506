"""Files appear whole or not at all."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import (
    atomic_folder,
    atomic_path,
    read_json,
    recover_folder,
    sweep,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_only_at_the_end_and_nothing_is_left_over(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "image.nii.gz"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert not target.exists()
        assert temporary.name.endswith(".nii.gz")
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["image.nii.gz"]


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_files_and_folders_get_ordinary_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
        with atomic_folder(tmp_path / "d"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "last"
    with atomic_folder(target) as temporary:
        (temporary / "one").write_text("1")
    with atomic_folder(target) as temporary:
        (temporary / "two").write_text("2")
        assert names(target) == ["one"]
    assert names(target) == ["two"]
    assert names(tmp_path) == ["last"]


def test_failed_folder_keeps_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "last"
    with atomic_folder(target) as temporary:
        (temporary / "one").write_text("1")

    def fail() -> None:
        with atomic_folder(target) as temporary:
            (temporary / "two").write_text("2")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert names(target) == ["one"]
    assert names(tmp_path) == ["last"]


def test_recovery_puts_back_a_folder_lost_between_the_two_renames(tmp_path: Path) -> None:
    retired = tmp_path / ".partial-last-old-abc" / "last"
    retired.mkdir(parents=True)
    (retired / "one").write_text("1")
    unfinished = tmp_path / ".partial-last-new-abc"
    unfinished.mkdir()
    (tmp_path / ".partial-best-new-abc").mkdir()
    recover_folder(tmp_path / "last")
    assert names(tmp_path) == [".partial-best-new-abc", "last"]
    assert names(tmp_path / "last") == ["one"]


def test_recovery_keeps_the_new_folder_when_both_exist(tmp_path: Path) -> None:
    (tmp_path / ".partial-last-old-abc" / "last").mkdir(parents=True)
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "new").write_text("2")
    recover_folder(tmp_path / "last")
    assert names(tmp_path) == ["last"]
    assert names(tmp_path / "last") == ["new"]


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": "Ohr µ"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert list(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == ["b", "a"]


def test_nan_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b'{"a": ', b"\xff\xfe", b"", b"[" * 100_000])
def test_damaged_json_names_the_file_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(MedlangevinError, match=r"state\.json is not valid JSON") as error:
        read_json(path)
    assert "\n" not in str(error.value)


def test_json_that_is_absent_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="does not exist"):
        read_json(tmp_path / "none.json")
    with pytest.raises(MedlangevinError, match="cannot be read"):
        read_json(tmp_path)


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for writer in (atomic_path, atomic_folder):
        with pytest.raises(MedlangevinError, match="cannot write"), writer(tmp_path / "file" / "a" / "b"):
            pass


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "make room"), (errno.EDQUOT, "make room"), (errno.EROFS, "choose a folder you can write to")],
)
def test_a_disk_that_takes_no_more_is_one_line_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    write_text(tmp_path / "a.txt", "old")

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MedlangevinError, match=rf"cannot write .*a\.txt: {os.strerror(number)}; {advice}") as error:
            write_text(tmp_path / "a.txt", "new")
    assert "\n" not in str(error.value)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_sweep_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".partial-abc.nii.gz").write_text("half")
    (tmp_path / ".partial-last-new-x" / "deep").mkdir(parents=True)
    (tmp_path / "partial-notes.txt").write_text("mine")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / ".partial-abc").write_text("")
    sweep(tmp_path)
    sweep(tmp_path / "absent")
    assert names(tmp_path) == ["deeper", "partial-notes.txt"]
    assert names(tmp_path / "deeper") == [".partial-abc"]
