import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import read_headers
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.slice_pixels import read_slice

SLICE = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
HEIGHTS = np.arange(40) * 0.4


def series_of(folder, write_slice, heights=HEIGHTS, tags=lambda k: {}):
    """One series with slices at the given heights; the pixels of slice k are SLICE + k."""
    for k in np.random.default_rng(0).permutation(len(heights)):
        write_slice(folder / f"f{k}", SLICE + np.int16(k), (0, 0, heights[k]), **tags(int(k)))
    (series,) = ingest(folder).series
    return series


def reason_of(series):
    with pytest.raises(UnusableSeriesError) as caught:
        stacks(series.slices)
    return caught.value.reason


def test_series_is_sorted_by_position_whatever_the_names_and_numbers(tmp_path, write_slice):
    (stack,) = stacks(series_of(tmp_path, write_slice, tags=lambda k: {"InstanceNumber": (k * 7) % 40}).slices)
    image = read_stack(stack)
    assert np.array_equal(sitk.GetArrayFromImage(image)[:, 0, 0], np.arange(40))
    assert np.allclose(image.GetSpacing(), (0.3, 0.3, 0.4))
    assert np.allclose(image.GetOrigin(), (0, 0, 0))


def test_flipped_axes_keep_every_voxel_in_its_place(tmp_path, write_slice):
    # Columns run to -y: positions in space decide, so voxel (0, 5, k) lies at y = -5 * 0.3.
    (stack,) = stacks(series_of(tmp_path, write_slice, tags=lambda k: {"orientation": (1, 0, 0, 0, -1, 0)}).slices)
    image = read_stack(stack)
    assert np.allclose(image.TransformIndexToPhysicalPoint((0, 5, 0))[1], -1.5)
    # The normal points to -z, so the highest slice comes first and keeps its own place.
    assert np.isclose(image.TransformIndexToPhysicalPoint((0, 0, 0))[2], 15.6)
    assert sitk.GetArrayFromImage(image)[0, 0, 0] == 39


def test_pixel_spacing_names_the_distance_between_rows_first(tmp_path, write_slice):
    for k, height in enumerate(HEIGHTS):
        write_slice(tmp_path / f"{k}", SLICE, (0, 0, height), spacing=(0.5, 0.3))
    (stack,) = stacks(ingest(tmp_path).series[0].slices)
    image = read_stack(stack)
    assert np.allclose(image.TransformIndexToPhysicalPoint((1, 0, 0)), (0.3, 0, 0))
    assert np.allclose(image.TransformIndexToPhysicalPoint((0, 1, 0)), (0, 0.5, 0))


def test_slope_and_intercept_of_each_slice_and_padding_become_hu(tmp_path, write_slice):
    first = write_slice(tmp_path / "a", SLICE, (0, 0, 0), RescaleSlope=0.5, RescaleIntercept=-1000)
    second = write_slice(tmp_path / "b", SLICE, (0, 0, 1), RescaleSlope=2, RescaleIntercept=-1024, PixelPaddingValue=7)
    (one,), (two,) = read_headers(first).slices, read_headers(second).slices
    assert np.array_equal(read_slice(one), np.rint(SLICE * 0.5 - 1000).astype(np.int16))
    expected = np.maximum(SLICE.astype(int) * 2 - 1024, -1024)
    expected[SLICE == 7] = -1024
    assert np.array_equal(read_slice(two), expected)


def test_signed_values_survive(tmp_path, write_slice):
    (header,) = read_headers(write_slice(tmp_path / "a", SLICE - np.int16(900), (0, 0, 0))).slices
    assert read_slice(header).min() == -900


@pytest.mark.parametrize(
    ("heights", "code", "words"),
    [
        (np.delete(np.arange(20) * 0.6, 10), "missing-slice", "1 slice missing"),
        (np.cumsum(np.r_[np.full(10, 0.4), np.full(10, 0.55)]), "uneven-slices", "varies"),
        (np.arange(20) * 2.5, "too-coarse", "2.5 mm"),
        (np.arange(5) * 0.5, "too-small", "too small"),
        (np.zeros(4), "duplicate-position", "one position"),
        (np.r_[HEIGHTS, HEIGHTS[3]], "duplicate-position", "same position"),
        (np.zeros(1), "too-few-slices", "one slice only"),
    ],
)
def test_bad_geometry_is_refused_by_name(tmp_path, write_slice, heights, code, words):
    reason = reason_of(series_of(tmp_path, write_slice, heights))
    assert reason.code == code
    assert words in reason.text


def test_a_gap_costs_only_the_slices_beyond_it(tmp_path, write_slice):
    found = stacks(series_of(tmp_path, write_slice, np.delete(np.arange(80) * 0.4, 30)).slices)
    assert [len(stack.slices) for stack in found] == [30, 49]
    assert np.isclose(found[1].geometry.origin[2], 31 * 0.4)


def test_copies_of_a_slice_are_dropped_if_they_show_the_same(tmp_path, write_slice):
    for number, (extra, uid) in enumerate([(SLICE + np.int16(3), "1.2.3"), (SLICE + np.int16(3), "1.2.99")]):
        folder = tmp_path / str(number)
        write_slice(folder / "again", extra, (0, 0, HEIGHTS[3]), SOPInstanceUID=uid)
        series = series_of(folder, write_slice, tags=lambda k: {"SOPInstanceUID": f"1.2.{k}"})
        (stack,) = stacks(series.slices)
        assert len(stack.slices) == 40
    # The same id with other pixels: an anonymiser's doing, and which of the two is meant nobody knows.
    write_slice(tmp_path / "other" / "again", SLICE, (0, 0, HEIGHTS[3]), SOPInstanceUID="1.2.3")
    series = series_of(tmp_path / "other", write_slice, tags=lambda k: {"SOPInstanceUID": f"1.2.{k}"})
    assert reason_of(series).code == "duplicate-position"


def test_one_id_for_all_slices_makes_them_no_copies(tmp_path, write_slice):
    series = series_of(tmp_path, write_slice, tags=lambda k: {"SOPInstanceUID": "1.2.3"})
    assert len(stacks(series.slices)[0].slices) == 40


def test_two_acquisitions_in_one_series_are_parted(tmp_path, write_slice):
    twice = np.r_[HEIGHTS, HEIGHTS]
    series = series_of(tmp_path, write_slice, twice, tags=lambda k: {"AcquisitionNumber": 1 + k // 40})
    assert [len(stack.slices) for stack in stacks(series.slices)] == [40, 40]


def test_two_studies_that_use_one_series_id_are_two_series(tmp_path, write_slice):
    for study in (1, 2):
        for k, height in enumerate(HEIGHTS):
            write_slice(
                tmp_path / f"{study}-{k}", SLICE + np.int16(study), (0, 0, height), StudyInstanceUID=f"1.9.{study}"
            )
    found = ingest(tmp_path).series
    assert len({item.person for item in found}) == 1
    assert [[len(stack.slices) for stack in stacks(item.slices)] for item in found] == [[len(HEIGHTS)]] * 2


def test_acquisitions_of_one_slice_each_are_no_volume(tmp_path, write_slice):
    series = series_of(tmp_path, write_slice, np.zeros(4), tags=lambda k: {"AcquisitionNumber": k})
    assert reason_of(series).code == "duplicate-position"


def test_two_fields_of_view_side_by_side_in_one_series_are_parted(tmp_path, write_slice):
    for k, height in enumerate(HEIGHTS):
        for side in (-40, 40):
            write_slice(tmp_path / f"{k}{side}", SLICE + np.int16(side), (side, 0, height))
    left, right = stacks(ingest(tmp_path).series[0].slices)
    assert {left.geometry.origin[0], right.geometry.origin[0]} == {-40, 40}
    assert len(left.slices) == len(right.slices) == 40


def test_gantry_tilt_stays_in_the_grid_as_shear_up_to_a_limit(tmp_path, write_slice):
    def tilted(folder, degrees):
        angle = np.radians(degrees)
        row_column = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
        for k, height in enumerate(HEIGHTS):
            write_slice(folder / f"f{k}", SLICE, (0, 0, height), orientation=row_column)
        return ingest(folder).series[0]

    (stack,) = stacks(tilted(tmp_path / "a", 15.0).slices)
    assert np.isclose(stack.geometry.tilt_deg, 15.0, atol=0.01)
    image = read_stack(stack)
    assert np.allclose(image.TransformIndexToPhysicalPoint((0, 0, 10)), (0, 0, 4.0))
    assert reason_of(tilted(tmp_path / "b", 35.0)).code == "tilt"


def test_two_persons_in_one_folder_are_two_series(tmp_path, write_slice):
    for k, height in enumerate(HEIGHTS):
        write_slice(tmp_path / f"a{k}", SLICE, (0, 0, height))
        write_slice(tmp_path / f"b{k}", SLICE, (0, 0, height), PatientBirthDate="19600101")
    assert [len(series.slices) for series in ingest(tmp_path).series] == [40, 40]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "not-ct"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"}, "not-ct"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "frame-count"),
        ({"NumberOfFrames": 2}, "multi-frame"),
        ({"ImagePositionPatient": None}, "no-geometry"),
        ({"Rows": None}, "no-pixels"),
    ],
)
def test_files_that_are_no_ct_slices_are_named(tmp_path, write_slice, tags, code):
    found = read_headers(write_slice(tmp_path / "x", SLICE, (0, 0, 0), **tags))
    assert not found.slices
    assert found.reason is not None
    assert found.reason.code == code


def test_damaged_and_foreign_files_never_raise(tmp_path, write_slice):
    whole = write_slice(tmp_path / "whole", SLICE, (0, 0, 0)).read_bytes()
    (tmp_path / "text").write_text("no picture")
    (tmp_path / "empty").write_bytes(b"")
    rng = np.random.default_rng(0)
    for number in range(200):
        damaged = bytearray(whole)
        for at in rng.integers(0, 900, size=6):
            damaged[at] = rng.integers(256)
        (tmp_path / f"d{number}").write_bytes(bytes(damaged[: rng.integers(10, len(damaged))]))
    assert ingest(tmp_path).files == 203


def test_all_lossless_transfer_syntaxes_give_the_same_pixels(shared_data: Path):
    (series,) = ingest(shared_data / "data" / "ct" / "transfer_syntaxes").series
    slices = [read_slice(item) for item in series.slices]
    assert len(slices) == 6
    for other in slices[1:]:
        assert np.array_equal(other, slices[0])


def test_without_a_birth_date_every_study_is_a_person(tmp_path, write_slice):
    def people(**tags):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for study in ("1.2.3", "1.2.4"):
            uids = {"series_uid": f"{study}.1", "StudyInstanceUID": study}
            write_slice(folder / study, SLICE, (0, 0, 0), **uids, PatientID="ANON", **tags)
        return len({series.person for series in ingest(folder).series})

    assert people(PatientBirthDate="") == 2
    assert people(PatientBirthDate="19000101") == 2
    assert people(PatientBirthDate="19700101") == 1


def test_linked_folders_are_read_once(tmp_path, write_slice):
    write_slice(tmp_path / "store" / "slice", SLICE, (0, 0, 0))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "study").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "ring").symlink_to(tmp_path / "links")
    (series,) = ingest(tmp_path / "links").series
    assert len(series.slices) == 1


@pytest.mark.parametrize(
    "tags",
    [
        {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Zoë", "PatientID": "../../etc/passwd"},
        {"SpecificCharacterSet": "ISO 2022 IR 87", "PatientName": "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), "PatientID": "a/b\\c"},
        {"SpecificCharacterSet": "KLINGON", "PatientName": b"\xff\xfe^\x80", "PatientID": " "},
        {"PatientName": "", "PatientID": "", "PatientBirthDate": "not a date"},
        {"PatientName": None, "PatientID": None, "PatientBirthDate": None, "SeriesInstanceUID": None},
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_odd_names_and_ids_stop_nothing(tmp_path, write_slice, tags):
    odd = Path(os.fsdecode(b"M\xfcller\\ \xe8\x80\xb3"))
    for k, height in enumerate(HEIGHTS):
        write_slice(tmp_path / odd / f"{k}", SLICE, (0, 0, height), **tags)
    (series,) = ingest(tmp_path).series
    (stack,) = stacks(series.slices)
    assert sitk.GetArrayFromImage(read_stack(stack)).shape == (40, 64, 64)


def test_a_series_without_an_id_is_what_lies_together(tmp_path, write_slice):
    for folder in "ab":
        for k, height in enumerate(HEIGHTS):
            write_slice(tmp_path / folder / f"{k}", SLICE, (0, 0, height), SeriesInstanceUID=None)
    assert [len(series.slices) for series in ingest(tmp_path).series] == [40, 40]


def test_noise_in_the_last_digits_of_a_header_parts_no_series(tmp_path, write_slice):
    noise = np.random.default_rng(0).normal(0, 1e-5, (40, 6))
    angle = np.arcsin(0.2005)  # rounds up or down by the noise
    for k, height in enumerate(HEIGHTS):
        orientation = np.array([1, 0, 0, 0, np.cos(angle), np.sin(angle)]) + noise[k]
        write_slice(tmp_path / f"{k}", SLICE, (0, 0, height), orientation=orientation, spacing=(0.3 + 1e-6 * k, 0.3))
    (series,) = ingest(tmp_path).series
    assert len(stacks(series.slices)[0].slices) == 40


@pytest.mark.parametrize("degrees", [0, 25, 60, 90])
def test_oblique_slices_keep_their_place(tmp_path, write_slice, degrees):
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix()
    for k in range(40):
        write_slice(tmp_path / f"{k}", SLICE + np.int16(k), turn @ (1, 2, 0.4 * k), orientation=turn[:, :2].T.ravel())
    (stack,) = stacks(ingest(tmp_path).series[0].slices)
    image = read_stack(stack)
    assert stack.geometry.tilt_deg < 0.01
    for index in ((0, 0, 0), (7, 0, 0), (0, 9, 0), (3, 5, 39)):
        place = turn @ (np.array(index) * (0.3, 0.3, 0.4) + (1, 2, 0))
        assert np.allclose(image.TransformIndexToPhysicalPoint(index), place, atol=1e-4)
    assert np.array_equal(sitk.GetArrayViewFromImage(image)[:, 3, 5] - SLICE[3, 5], np.arange(40))


@pytest.mark.parametrize(("written", "read"), [("0.625", 0.625), (None, 0.0), ("", 0.0), ("0", 0.0), ("-1", 0.0)])
def test_slice_thickness_is_that_of_the_thickest_and_0_if_unknown(tmp_path, write_slice, written, read):
    write_slice(tmp_path / "a", SLICE, (0, 0, 0), SliceThickness=written)
    write_slice(tmp_path / "b", SLICE, (0, 0, 1), SliceThickness=written and "0.3" if read else written)
    (series,) = ingest(tmp_path).series
    assert series.thickness_mm == read
