"""From stored values to HU: rescale, padding, signs, transfer syntaxes, and files that are cut off."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import read_headers
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.slice_pixels import read_slice

PIXELS = np.random.default_rng(0).integers(0, 3000, (24, 32)).astype(np.int16)
LOSSLESS = ["JPEG2000LosslessOnly", "JPEGLSLossless", "JPEGProcess14SV1", "RLELossless"]


@pytest.fixture
def hu(tmp_path, write_slice):
    """The HU of one slice with the given stored values and tags."""

    def read(pixels=PIXELS, **tags):
        (header,) = read_headers(write_slice(tmp_path / "slice", pixels, (0, 0, 0), **tags)).slices
        return read_slice(header)

    return read


def refusal(path: Path) -> str:
    """The code with which a file is refused, by its header or by its pixels."""
    found = read_headers(path)
    if found.reason is not None:
        return found.reason.code
    with pytest.raises(UnusableSeriesError) as caught:
        read_slice(found.slices[0])
    return caught.value.reason.code


@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, -1024), (2, -1024), (0.5, -1500), (1, -8192), (0.1, 0), (-1, 500)]
)
def test_hu_are_slope_times_stored_plus_intercept(hu, slope, intercept):
    expected = np.maximum(np.rint(PIXELS * float(slope) + intercept), -1024).astype(np.int16)
    assert np.array_equal(hu(RescaleSlope=slope, RescaleIntercept=intercept), expected)


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"RescaleSlope": 0}, "bad-rescale"),
        ({"RescaleSlope": None}, "no-rescale"),
        ({"RescaleIntercept": None}, "no-rescale"),
        ({"RescaleType": "Z_EFF"}, "not-hu"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "eight-bit"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}, "projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "secondary-capture"),
        ({"PixelSpacing": [0, 0.3]}, "no-geometry"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]}, "orientation"),
        ({"ImageOrientationPatient": [0] * 6}, "orientation"),
        ({"PixelData": None}, "no-pixels"),
        ({"PixelData": PIXELS[1:].tobytes()}, "truncated"),
        ({"Rows": 25}, "truncated"),
    ],
)
def test_headers_that_say_no_hu_or_no_place_are_refused_by_name(tmp_path, write_slice, tags, code):
    assert refusal(write_slice(tmp_path / "slice", PIXELS, (0, 0, 0), **tags)) == code


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize(
    ("signed", "value", "limit", "air"),
    [
        (True, -2000, None, [-2000]),
        (False, 63536, None, [63536]),
        (True, -2000, -1990, [-2000, -1995, -1990]),
        (True, -1990, -2000, [-2000, -1995, -1990]),
        (True, None, -1990, []),
    ],
)
def test_padding_values_become_air_and_nothing_else_does(tmp_path, write_slice, signed, value, limit, air, vr):
    pixels = np.full((8, 8), 100, np.int16)
    pixels[0, :6] = [-2000, -1995, -1990, -1989, 0, 5]
    pixels = pixels if signed else pixels.view(np.uint16)
    # A slope of 0.01 keeps other low values clear of the floor at air.
    path = write_slice(tmp_path / "slice", pixels, (0, 0, 0), RescaleSlope=0.01, RescaleIntercept=0)
    data = pydicom.dcmread(path)
    for tag, number in ((0x00280120, value), (0x00280121, limit)):
        if number is not None:
            # Writers give the value as its bits are read with a sign or without, whatever the pixels are.
            bits = np.int64(number).astype(np.uint16)
            data.add_new(tag, vr, int(bits if vr == "US" else bits.astype(np.int16)))
    data.save_as(path)
    expected = np.rint(pixels * 0.01)
    expected[np.isin(pixels, air)] = -1024
    assert np.array_equal(read_slice(read_headers(path).slices[0]), expected)


def test_bits_beyond_those_stored_do_not_count(hu):
    stored = (PIXELS & 0xFFF).astype(np.uint16)
    marked = stored | np.uint16(0xA000)
    assert np.array_equal(hu(marked, BitsStored=12, HighBit=11), stored.astype(np.int16))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, "headless"]
)
def test_every_writable_transfer_syntax_gives_the_same_hu(tmp_path, write_slice, syntax):
    path = write_slice(tmp_path / "slice", PIXELS - np.int16(900), (0, 0, 0), PixelPaddingValue=-900)
    expected = read_slice(read_headers(path).slices[0])
    data = pydicom.dcmread(path)
    if syntax == "headless":
        # Neither preamble nor file meta group, as from the network.
        del data.file_meta
        data.preamble = None
        pydicom.dcmwrite(path, data, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    elif syntax == RLELossless:
        data.compress(RLELossless)
        data.save_as(path)
    else:
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            data.PixelData = (PIXELS - np.int16(900)).astype(">i2").tobytes()
            pydicom.dcmwrite(path, data, implicit_vr=False, little_endian=False)
        else:
            pydicom.dcmwrite(path, data)
    (header,) = read_headers(path).slices
    assert np.array_equal(read_slice(header), expected)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("keep", [0.999, 0.9, 0.7])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, write_slice, syntax, keep):
    path = write_slice(tmp_path / "slice", PIXELS, (0, 0, 0))
    data = pydicom.dcmread(path)
    if syntax == RLELossless:
        data.compress(RLELossless)
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path)
    whole = path.read_bytes()
    # The last eight bytes of a compressed file only say that it ends here.
    path.write_bytes(whole[: int((len(whole) - 8) * keep)])
    assert refusal(path) in {"truncated", "unreadable", "not-dicom"}


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_code_stream_cut_off_inside_a_whole_file_is_refused(tmp_path, shared_data: Path, name):
    (path,) = (shared_data / "data" / "ct" / "transfer_syntaxes").glob(f"*{name}*")
    data = pydicom.dcmread(path)
    code = next(generate_frames(data.PixelData, number_of_frames=1))
    for keep in (0.98, 0.6):
        data.PixelData = encapsulate([code[: int(len(code) * keep) // 2 * 2]])
        data.save_as(tmp_path / "cut")
        assert refusal(tmp_path / "cut") in {"decode", "truncated"}


def test_a_cut_off_file_costs_its_slice_and_not_the_series(tmp_path, write_slice):
    pixels = np.zeros((64, 64), np.int16)
    for k in range(80):
        write_slice(tmp_path / f"{k}", pixels, (0, 0, 0.4 * k))
    cut = tmp_path / "30"
    cut.write_bytes(cut.read_bytes()[:-100])
    found = ingest(tmp_path)
    assert [(item.reason.code, item.files) for item in found.passed_over] == [("truncated", 1)]
    assert [len(stack.slices) for stack in stacks(found.series[0].slices)] == [30, 49]
