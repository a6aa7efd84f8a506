from collections.abc import Sequence
from pathlib import Path

import pytest

from medlangevin.imaging.cohort.deidentify import series_hash
from medlangevin.imaging.cohort.series_choice import choose_named
from medlangevin.imaging.reading.ingest import Series
from medlangevin.imaging.reading.slice_header import SliceHeader
from medlangevin.system.errors import MedlangevinError

KEY = b"k" * 32


def series(raw: Path, person: str, uid: str, folder: str) -> Series:
    header = SliceHeader(
        path=raw / folder / "IM1",
        person=person,
        series_uid=uid,
        instance_uid="",
        acquisition="",
        position=(0, 0, 0),
        orientation=(1, 0, 0, 0, 1, 0),
        spacing_mm=(1, 1),
        shape=(8, 8),
        slope=1,
        intercept=0,
        padding=None,
    )
    return Series(person, uid, (header,))


@pytest.fixture
def found(tmp_path: Path) -> tuple[Series, ...]:
    """Two series of one person in one folder each below ``a``, one of another, and a volume file."""
    volume = Series("file:v.nii.gz", "file:v.nii.gz", volume_file=tmp_path / "raw" / "v.nii.gz")
    raw = tmp_path / "raw"
    return (
        series(raw, "A", "1.2.1", "a/x"),
        series(raw, "A", "1.2.10", "a/x2"),
        series(raw, "B", "1.2.2", "b"),
        volume,
    )


def kept(found: tuple[Series, ...], names: Sequence[str], tmp_path: Path, key: bytes | None = KEY) -> list[str]:
    choice = choose_named(found, names, tmp_path / "raw", key)
    assert set(choice.kept).isdisjoint(choice.left_out)
    assert set(choice.kept) | set(choice.left_out) == set(found)
    return [item.series_uid for item in choice.kept]


def test_of_a_person_of_whom_a_series_is_named_only_the_named_ones_are_used(
    found: tuple[Series, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = ["1.2.2", "file:v.nii.gz"]
    assert kept(found, [], tmp_path) == ["1.2.1", "1.2.10", *others]
    assert kept(found, ["1.2.1"], tmp_path) == ["1.2.1", *others]
    assert kept(found, [series_hash(KEY, "1.2.10")], tmp_path) == ["1.2.10", *others]
    assert kept(found, ["1.2.1", "1.2.10"], tmp_path) == ["1.2.1", "1.2.10", *others]
    assert kept(found, ["1.2.2"], tmp_path) == ["1.2.1", "1.2.10", *others]
    # A folder is itself and what is below it, not what begins with the same letters.
    assert kept(found, ["a/x"], tmp_path) == ["1.2.1", *others]
    assert kept(found, ["a"], tmp_path) == ["1.2.1", "1.2.10", *others]
    assert kept(found, [str(tmp_path / "raw" / "a" / "x2" / "IM1")], tmp_path) == ["1.2.10", *others]
    assert kept(found, ["v.nii.gz"], tmp_path) == ["1.2.1", "1.2.10", *others]
    monkeypatch.chdir(tmp_path)
    assert kept(found, ["raw/a/x"], tmp_path) == ["1.2.1", *others]


@pytest.mark.parametrize("name", ["1.2", "a/y", "0" * 16])
def test_a_name_that_no_series_has_is_one_line(found: tuple[Series, ...], tmp_path: Path, name: str) -> None:
    with pytest.raises(MedlangevinError, match=r"no CT series in .* is named") as caught:
        choose_named(found, ["1.2.1", name], tmp_path / "raw", KEY)
    assert "\n" not in str(caught.value)


def test_a_hash_needs_the_key(found: tuple[Series, ...], tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="is named"):
        choose_named(found, [series_hash(KEY, "1.2.1")], tmp_path / "raw", None)
