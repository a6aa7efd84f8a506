"""What must become of every real or odd file in the shared folder; written down before the code first ran on it.

The simulated ears are not in this table: they are accepted and measured elsewhere. None of the other folders holds a
scan that a cochlea could be cut from, so every verdict is a named reason.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medlangevin.imaging.reading.decode import read_volume_file
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import read_headers
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError
from medlangevin.imaging.reading.slice_pixels import read_slice

# Folder or file -> files passed over by reason, and for each series or volume its reason and words of its message.
VERDICTS = {
    # A skull phantom: two tilted series of 2.5 mm slices (a tilt is no fault), pages and directories.
    "philips_mixed_study": (
        {"localizer": 1, "secondary-capture": 5, "no-image": 3, "not-dicom": 1},
        [("too-coarse", "0.482 x 0.482 x 2.5 mm"), ("too-coarse", "0.406 x 0.406 x 2.5 mm")],
    ),
    "broken_series/gantrytilting": ({}, [("too-coarse", "0.418 x 0.418 x 5 mm")]),
    "broken_series/sliceincrement/001": ({}, [("missing-slice", "1 slice missing (step 5 mm, then 10 mm)")]),
    # 0.778 mm along the table, 0.75 mm across the slices.
    "broken_series/sliceincrement/002": ({}, [("missing-slice", "1 slice missing (step 0.75 mm, then 1.5 mm)")]),
    # Four acquisitions with one slice each: a table that did not move, not four volumes.
    "broken_series/notavolume": ({}, [("duplicate-position", "all slices lie at one position")]),
    # Sixteen-bit codings of one slice are copies of each other.
    "transfer_syntaxes": ({"lossy": 2}, [("too-few-slices", "one slice only")]),
    "odd_files/20-wrong-transfer-syntax.dcm": ({}, [("too-few-slices", "one slice only")]),
    "odd_files/CT_small.dcm": ({}, [("too-few-slices", "one slice only")]),
    "odd_files/SignedCT.dcm": ({}, [("too-few-slices", "one slice only")]),
    "odd_files/DummyCTInvalidRows.dcm": ({"not-ct": 1}, []),
    "odd_files/ExplVR_BigEnd.dcm": ({"not-ct": 1}, []),
    "odd_files/MR_small.dcm": ({"not-ct": 1}, []),
    "odd_files/MR_truncated.dcm": ({"not-ct": 1}, []),
    "odd_files/badVR.dcm": ({"not-ct": 1}, []),
    "odd_files/rtstruct.dcm": ({"not-ct": 1}, []),
    "odd_files/test-SR.dcm": ({"not-ct": 1}, []),
    # Without pixels and a localizer: what it would never have been counts first.
    "odd_files/ct_nopixels_GH223.dcm": ({"localizer": 1}, []),
    "odd_files/philips_surview_GH342.dcm": ({"localizer": 1}, []),
    "odd_files/dose_report_sc_GH178.dcm": ({"secondary-capture": 1}, []),
    # A stray byte before the first tag: no reader can tell it from any other file.
    "odd_files/no_meta.dcm": ({"not-dicom": 1}, []),
    "odd_files/charset": ({"secondary-capture": 5, "not-ct": 2, "no-image": 1, "not-dicom": 1}, []),
    "scala_tympani_mean_model": ({"archive": 4, "not-dicom": 1}, []),
    "broken_series/sliceincrement/002_ground_truth.nii.gz": ({}, [("too-coarse", "0.512 x 0.512 x 0.778 mm")]),
    "broken_series/sliceincrement/002_ground_truth_reoriented.nii.gz": ({}, [("too-coarse", "0.778 mm")]),
    # Cone-beam crops of 9 mm: smaller than a crop of ours; the grey values are no HU either.
    "real_cochlea_crop/MdlDvLc.nrrd": ({}, [("too-small", "9 x 10 x 9 mm")]),
    "real_cochlea_crop/MdlDvRc.nrrd": ({}, [("too-small", "9 x 10 x 9 mm")]),
    "real_cochlea_crop/MdlDvLcS.seg.nrrd": ({}, [("label-map", "numbers of regions")]),
    "real_cochlea_crop/MdlDvLcHS.seg.nrrd": ({}, [("label-map", "numbers of regions")]),
    "real_cochlea_crop/MdlDvRcS.seg.nrrd": ({}, [("label-map", "numbers of regions")]),
    "real_cochlea_crop/MdlDvRcHS.seg.nrrd": ({}, [("label-map", "numbers of regions")]),
}
# Single slices that no header refuses.
DECODED = ["odd_files/CT_small.dcm", "odd_files/SignedCT.dcm"]


def reason_of(read: Callable[[], object]) -> Reason:
    with pytest.raises(UnusableSeriesError) as caught:
        read()
    return caught.value.reason


def verdict(path: Path, folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Files passed over by code, and code and message of every series below ``path``."""
    if path.is_file():
        (folder / path.name).symlink_to(path)
        path = folder
    found = ingest(path)
    passed_over: Counter[str] = Counter()
    for item in found.passed_over:
        passed_over[item.reason.code] += item.files
    reasons = []
    for series in found.series:
        if series.volume_file is not None:
            reason = reason_of(partial(read_volume_file, series.volume_file))
        else:
            reason = reason_of(partial(stacks, series.slices))
        reasons.append((reason.code, reason.text))
    return dict(passed_over), reasons


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_every_real_case_gets_the_verdict_written_down_before(shared_data: Path, tmp_path: Path, name: str) -> None:
    passed_over, reasons = verdict(shared_data / "data" / "ct" / name, tmp_path)
    expected_files, expected_reasons = VERDICTS[name]
    assert passed_over == expected_files
    assert sorted(code for code, _ in reasons) == sorted(code for code, _ in expected_reasons)
    for code, words in expected_reasons:
        assert any(found == code and words in text for found, text in reasons), (words, reasons)


@pytest.mark.parametrize("name", DECODED)
def test_pixels_of_odd_slices_are_what_the_file_stores(shared_data: Path, name: str) -> None:
    path = shared_data / "data" / "ct" / name
    (header,) = read_headers(path).slices
    data = pydicom.dcmread(path)
    stored = np.frombuffer(data.PixelData, "<i2").reshape(data.Rows, data.Columns).astype(int)
    air = stored == data.PixelPaddingValue if "PixelPaddingValue" in data else np.zeros(stored.shape, bool)
    expected = np.where(air, -1024, stored * int(data.RescaleSlope) + int(data.RescaleIntercept))
    assert np.array_equal(read_slice(header), np.maximum(expected, -1024))


def test_plain_pixels_that_call_themselves_jpeg_ls_are_refused(shared_data: Path) -> None:
    (header,) = read_headers(shared_data / "data" / "ct" / "odd_files" / "20-wrong-transfer-syntax.dcm").slices
    assert reason_of(partial(read_slice, header)).code == "decode"


def test_the_table_names_every_folder(shared_data: Path) -> None:
    root = shared_data / "data" / "ct"
    scans = {".dcm", ".nrrd", ".gz", ""}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or path.suffix not in scans or name.startswith("simulated_ears"):
            continue
        assert any(name == known or name.startswith(f"{known}/") for known in VERDICTS), name
