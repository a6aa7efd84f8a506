"""Whose a scan is: ids where they can be trusted, then study, series and folder, and each of these is said."""

import numpy as np
import pytest

from medlangevin.imaging.reading.birth_date import birth_date
from medlangevin.imaging.reading.ingest import ingest

PIXELS = np.full((40, 40), 700, np.int16)
NO_IDS = dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate"))
NO_UIDS = dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID"))
COUNT = 24


def scan(folder, write_slice, *, seed=0, start=(0.0, 0.0, 0.0), names=None, each=lambda k: {}, heights=None, **tags):
    """A series of one folder."""
    random = np.random.default_rng(seed)
    for k in range(COUNT):
        pixels = random.integers(0, 2000, (40, 40)).astype(np.int16)
        if heights is None or k in heights:
            write_slice(folder / f"IM{k:04d}", pixels, np.add(start, (0, 0, 0.6 * k)), **{**tags, **each(k)})


def people(raw):
    """Persons, with the sizes of their series and the codes of what is said of these."""
    found: dict[str, tuple[list[int], set[str]]] = {}
    for item in ingest(raw).series:
        sizes, codes = found.setdefault(item.person, ([], set()))
        sizes.append(len(item.slices))
        codes |= {reason.code for reason in item.doubts}
    return sorted((sorted(sizes), sorted(codes)) for sizes, codes in found.values())


@pytest.mark.parametrize("start", [(0, 0, 0), (0, 0, 300), (5, -7, 3), (0, 0, 0.3)])
@pytest.mark.parametrize("born", ["19510203", "19000101", None])
def test_one_constant_for_all_ids_makes_a_person_of_each_folder(tmp_path, write_slice, start, born):
    ids = {"PatientBirthDate": born, "SOPInstanceUID": "1.2.9"}
    scan(tmp_path / "a", write_slice, **ids)
    scan(tmp_path / "b", write_slice, seed=1, start=start, **ids)
    assert people(tmp_path) == [([COUNT], ["shared-ids"])] * 2
    series = ingest(tmp_path).series
    assert len({item.series_uid for item in series}) == 2


@pytest.mark.parametrize("more", [{}, {"spacing": (0.31, 0.31)}, {"orientation": (0, 1, 0, 0, 0, 1)}])
def test_scans_of_another_grid_are_not_one(tmp_path, write_slice, more):
    scan(tmp_path / "a", write_slice)
    scan(tmp_path / "b", write_slice, seed=1, start=(0, 0, 100), **more)
    assert people(tmp_path) == [([COUNT], ["shared-ids"])] * 2


def test_no_ids_at_all_make_a_person_of_each_folder(tmp_path, write_slice):
    for number, folder in enumerate(("a", "b/c")):
        scan(tmp_path / folder, write_slice, seed=number, **NO_IDS, **NO_UIDS)
    assert people(tmp_path) == [([COUNT], ["person-by-folder"])] * 2


def test_without_a_study_the_series_decides(tmp_path, write_slice):
    for number in range(2):
        uids = {"StudyInstanceUID": None, "SeriesInstanceUID": f"1.2.{number}"}
        scan(tmp_path / "a" / str(number), write_slice, **NO_IDS, **uids)
    assert people(tmp_path) == [([COUNT], ["person-by-series"])] * 2


def test_one_series_in_several_folders_is_one(tmp_path, write_slice):
    """In blocks, by turns, or twice: under their ids they are one scan of one person."""
    scan(tmp_path / "blocks" / "1", write_slice, heights=range(10), PatientID="A")
    scan(tmp_path / "blocks" / "2", write_slice, heights=range(10, COUNT), PatientID="A")
    scan(tmp_path / "turns" / "1", write_slice, heights=range(0, COUNT, 2), PatientID="B")
    scan(tmp_path / "turns" / "2", write_slice, heights=range(1, COUNT, 2), PatientID="B")
    scan(tmp_path / "twice" / "1", write_slice, PatientID="C")
    scan(tmp_path / "twice" / "2", write_slice, PatientID="C")
    assert people(tmp_path) == [([COUNT], []), ([COUNT], []), ([2 * COUNT], [])]


def test_two_acquisitions_of_one_series_in_two_folders_are_one_persons(tmp_path, write_slice):
    scan(tmp_path / "a", write_slice, AcquisitionNumber=1)
    scan(tmp_path / "b", write_slice, seed=1, AcquisitionNumber=2)
    assert people(tmp_path) == [([2 * COUNT], [])]


def test_two_series_of_a_study_are_one_persons(tmp_path, write_slice):
    for number, ids in enumerate(({}, {"PatientBirthDate": None})):
        for series in "12":
            uids = {"StudyInstanceUID": f"1.{number}", "SeriesInstanceUID": f"1.{number}.{series}"}
            scan(tmp_path / str(number) / series, write_slice, seed=int(series), **ids, **uids)
    assert people(tmp_path) == [([COUNT, COUNT], [])] * 2


@pytest.mark.parametrize("renewed", [("Series",), ("Study", "Series"), ("Study", "Series", "Patient")])
@pytest.mark.parametrize("born", ["19510203", None])
def test_uids_renewed_in_every_file_are_one_series_of_one_person(tmp_path, write_slice, renewed, born):
    def each(k):
        uids = {f"{name}InstanceUID": f"1.2.{folder}{k}.{len(name)}" for name in renewed if name != "Patient"}
        return uids | ({"PatientID": f"{folder}-{k}", "PatientName": f"{folder}-{k}"} if "Patient" in renewed else {})

    for folder in (1, 2):
        ids = {"PatientBirthDate": born, "PatientID": f"P{folder}", "StudyInstanceUID": f"1.2.{folder}"}
        scan(tmp_path / str(folder), write_slice, seed=folder, each=each, **ids)
    assert [sizes for sizes, _ in people(tmp_path)] == [[COUNT]] * 2
    assert all("renewed-uids" in codes for _, codes in people(tmp_path))


def test_single_slices_at_one_place_are_not_a_renewed_series(tmp_path, write_slice):
    for k in range(COUNT):
        write_slice(tmp_path / f"IM{k}", PIXELS, (0, 0, 0), series_uid=f"1.2.{k}")
    assert people(tmp_path) == [([1] * COUNT, [])]


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        *((text, "19510203") for text in ("19510203", " 19510203 ", "1951-02-03", "1951.02.03", "1951/2/3")),
        *((text, "19510203") for text in ("19510203120000", "1951-02-03T12:00", "03.02.1951", "3.2.1951")),
        *((text, "19510203") for text in ("03-FEB-1951", "3 Feb 1951", "3 february 1951")),
        *((text, "19511213") for text in ("12/13/1951", "13/12/1951")),
        *((text, text) for text in ("1951", "195102", "19510000")),
        ("02/03/1951", "02/03/1951"),
        ("02/02/1951", "19510202"),
        *((text, "") for text in ("", "19000101", "1900-01-01", "01.01.1900", "18000101", "00010101")),
        *((text, "") for text in ("99991231", "00000000", "1900")),
        *((text, None) for text in ("ANONYMIZED", "XXXX", "3.2.51", "born in May", "0", "12345")),
    ],
)
def test_birth_dates_in_other_forms(written, understood):
    assert birth_date(written) == understood


def test_a_birth_date_that_is_not_understood_is_said_and_merges_nobody(tmp_path, write_slice):
    for study in "12":
        uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.1", "PatientBirthDate": "ANON"}
        scan(tmp_path / study, write_slice, **uids)
    assert people(tmp_path) == [([COUNT], ["birth-date"])] * 2


def test_one_person_with_a_date_in_two_forms_is_one(tmp_path, write_slice):
    for study, born in (("1", "19510203"), ("2", "1951-02-03")):
        uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.1", "PatientBirthDate": born}
        scan(tmp_path / study, write_slice, **uids)
    assert people(tmp_path) == [([COUNT, COUNT], [])]
