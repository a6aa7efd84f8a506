"""A part of benchmarks/stress/ingest_fuzz.py, with kinds and encodings mixed, and the worst finds by name."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from medlangevin.imaging.reading import bounded_file
from medlangevin.imaging.reading.bounded_file import BoundedReader, frame_shape
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.volume_file import load_volume

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "stress" / "ingest_fuzz.py"
CASES = 216


@pytest.mark.slow(seconds=25)
def test_damaged_files_are_refused_left_out_or_harmless(tmp_path):
    out = tmp_path / "found.json"
    command = [sys.executable, str(SCRIPT), "--count", str(CASES), "--seed", "1", "--json", str(out)]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(out.read_text())
    assert [result["number"] for result in found["results"]] == list(range(CASES))
    assert {result["kind"] for result in found["results"]} == set(found["kinds"])
    assert not [result for result in found["results"] if result["outcome"] == "DEFECT"], table
    # Were everything refused, nothing would be tested.
    assert sum(result["outcome"] in ("without it", "same") for result in found["results"]) > CASES / 4


def test_a_length_of_four_gigabytes_reads_what_is_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with BoundedReader(path) as stream:
        assert stream.read(60) == b"x" * 60
        assert stream.read(2**62) == b"x" * 40
        assert stream.read(2**62) == b""
        stream.seek(90)
        assert stream.read() == b"x" * 10


def test_a_deflated_file_that_inflates_without_end_is_refused(tmp_path, write_slice, monkeypatch):
    path = write_slice(tmp_path / "bomb", np.zeros((1024, 1024), np.int16), (0, 0, 0))
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path)
    assert path.stat().st_size < 10_000
    for limit, series in ((2**20, 0), (2**22, 1)):
        monkeypatch.setattr(bounded_file, "INFLATED_LIMIT", limit)
        assert len(ingest(tmp_path).series) == series


@pytest.mark.parametrize("code", [b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\x4f\xff\x51" + b"\0" * 60])
def test_a_frame_without_a_size_is_none(code):
    for syntax in (JPEG2000Lossless, "1.2.840.10008.1.2.4.70", "9.9"):
        with pytest.raises(ValueError, match=r"stream|image|compression"):
            frame_shape(code, syntax)


def test_nested_sequences_cost_only_their_file(tmp_path, write_slice):
    # Deep enough to end GDCM, and any other reader that calls itself, by a stack overflow.
    path = write_slice(tmp_path / "deep", np.zeros((8, 8), np.int16), (0, 0, 0))
    whole = path.read_bytes()
    at = whole.index(b"\xe0\x7f\x10\x00")
    item = b"\xfe\xff\x00\xe0" + b"\xff" * 4 + b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4
    path.write_bytes(whole[:at] + item[8:] + item * 50_000 + whole[at:])
    write_slice(tmp_path / "other", np.zeros((8, 8), np.int16), (0, 0, 0))
    found = ingest(tmp_path)
    assert [item.reason.code for item in found.passed_over] == ["unreadable"]
    assert len(found.series) == 1


@pytest.mark.parametrize("name", ["big.nii", "big.nii.gz", "big.nrrd"])
def test_a_volume_file_that_claims_gigabytes_is_refused_before_it_is_read(tmp_path, name, monkeypatch):
    path = tmp_path / name
    if name == "big.nrrd":
        space = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
        sizes = "type: short\ndimension: 3\nsizes: 3000 3000 3000\nencoding: gzip\nendian: little\n"
        path.write_bytes(f"NRRD0004\n{sizes}{space}\n".encode() + gzip.compress(b"\0" * 1000))
    else:
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((3000, 3000, 3000))
        header.set_sform(np.eye(4), 1)
        header["magic"] = b"n+1"
        header["vox_offset"] = 352
        data = header.binaryblock + b"\0" * 1004
        path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)

    def read(*_, **__):
        pytest.fail("read")

    monkeypatch.setattr(sitk.ImageFileReader, "Execute", read)
    monkeypatch.setattr(nibabel.Nifti1Image, "get_fdata", read)
    with pytest.raises(UnusableSeriesError) as caught:
        load_volume(path)
    assert caught.value.reason.code == "decode"
