"""Numbers of a header in other spellings: read as they are meant, or named as what cannot be read."""

import numpy as np
import pydicom
import pytest
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import read_headers

SLICE = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
# Written without pydicom's check of decimal strings, as other writers do.
SPELLINGS = {
    "PixelSpacing": ("DS", "0,25\\0,25"),
    "ImagePositionPatient": ("DS", "1,5\\-2,5\\3"),
    "ImageOrientationPatient": ("DS", "1,0\\0,0\\0,0\\0,0\\1,0\\0,0"),
    "SliceThickness": ("DS", "0,625"),
    "RescaleSlope": ("DS", "0,5"),
    "RescaleIntercept": ("DS", "-1024,0"),
}


def respell(path, name, vr, text):
    """Put a text in place of an element, or where it would stand, whatever its value representation allows."""
    data = pydicom.dcmread(path, specific_tags=["Rows"])
    explicit = data.file_meta.TransferSyntaxUID != ImplicitVRLittleEndian
    whole, tag = path.read_bytes(), Tag(name)
    head = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
    if head in whole:
        at = whole.index(head)
        length = whole[at + 6 : at + 8] if explicit else whole[at + 4 : at + 8]
        end = at + 8 + int.from_bytes(length, "little")
    else:  # before the rows
        at = end = whole.index(b"\x28\x00\x10\x00")
    value = text.encode() + b" " * (len(text) % 2)
    long = not explicit or vr in ("UT", "UC", "UN")
    kind = b"" if not explicit else vr.encode() + b"\0\0" * long
    path.write_bytes(whole[:at] + head + kind + len(value).to_bytes(4 if long else 2, "little") + value + whole[end:])
    return path


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_decimal_commas_are_read(tmp_path, write_slice, name, syntax):
    path = write_slice(tmp_path / "slice", SLICE, (1.5, -2.5, 3), spacing=(0.25, 0.25), SliceThickness=0.625)
    data = pydicom.dcmread(path)
    data.RescaleSlope, data.RescaleIntercept = 0.5, -1024
    if syntax == "implicit":
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data.save_as(path)
    expected = read_headers(path)
    respell(path, name, *SPELLINGS[name])
    assert read_headers(path) == expected


@pytest.mark.parametrize("vr", ["UT", "LO", "LT", "UN", "SH", "UC"])
def test_a_pixel_spacing_of_another_value_representation_is_read(tmp_path, write_slice, vr):
    path = respell(write_slice(tmp_path / "slice", SLICE, (0, 0, 0)), "PixelSpacing", vr, "0.25\\0.2")
    (header,) = read_headers(path).slices
    assert header.spacing_mm == (0.25, 0.2)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PixelSpacing", "0,2,0,2", "pixel spacing"),
        ("PixelSpacing", "0.2mm\\0.2mm", "pixel spacing"),
        ("PixelSpacing", "0.2", "pixel spacing"),
        ("PixelSpacing", "1.024,5\\1.024,5", "pixel spacing"),
        ("ImagePositionPatient", "a\\b\\c", "slice position"),
        ("ImageOrientationPatient", "1\\0\\0", "slice orientation"),
        ("RescaleSlope", "one", "rescale slope"),
        ("RescaleIntercept", "?", "rescale intercept"),
    ],
)
def test_what_cannot_be_read_as_numbers_is_named_and_fails(tmp_path, write_slice, name, text, said):
    found = read_headers(respell(write_slice(tmp_path / "slice", SLICE, (0, 0, 0)), name, "DS", text))
    assert found.slices == ()
    assert found.reason is not None
    assert found.reason.failure
    assert said in found.reason.text


def test_other_damage_of_a_ct_header_fails_too(tmp_path, write_slice):
    """A person whose every file has it must not vanish among the files that are passed over."""
    found = read_headers(respell(write_slice(tmp_path / "slice", SLICE, (0, 0, 0)), "NumberOfFrames", "IS", "one"))
    assert found.reason is not None
    assert found.reason.failure
    assert found.reason.code == "bad-header"


def test_a_series_with_decimal_commas_is_a_series(tmp_path, write_slice):
    for k in range(40):
        path = write_slice(tmp_path / f"{k}", SLICE, (0, 0, 0.4 * k))
        respell(path, "PixelSpacing", "DS", "0,3\\0,3")
    (series,) = ingest(tmp_path).series
    assert len(stacks(series.slices)[0].slices) == 40
