"""What lies beside scans in real folders: archives, other formats, label maps, files of the system."""

import gzip
import io
import zipfile

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.summary import describe, require_no_failures
from medlangevin.imaging.reading.decode import read_volume_file
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.system.errors import MedlangevinError

PIXELS = np.full((40, 40), 700, np.int16)
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def volume(path, values=None, *, seed=0):
    """A volume of 12 mm as any format that SimpleITK writes."""
    if values is None:
        values = np.random.default_rng(seed).integers(-1000, 2000, (40, 40, 40))
    image = sitk.GetImageFromArray(np.asarray(values).astype(np.int16))
    image.SetSpacing((0.3, 0.3, 0.3))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def labels():
    values = np.zeros((40, 40, 40))
    values[10:20, 12:25, 8:30] = 1
    values[22:27, 12:25, 8:30] = 3
    return values


def zipped(path, content=b"DICM"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/IM0001.dcm", content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())


def passed(raw):
    return {(item.reason.code, item.files) for item in ingest(raw).passed_over}


def names(raw):
    return sorted(item.volume_file.name for item in ingest(raw).series if item.volume_file)


def test_what_a_system_leaves_beside_scans_is_passed_over(tmp_path, write_slice):
    volume(tmp_path / "scan.nii.gz")
    (tmp_path / "._scan.nii.gz").write_bytes(APPLE_DOUBLE)
    (tmp_path / "._IM0001").write_bytes(APPLE_DOUBLE)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/deep/other.nii.gz", "__MACOSX/._x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\x00\x00\x00\x01Bud1")
    # A slice may have any name.
    write_slice(tmp_path / "._slice", PIXELS, (0, 0, 0))
    assert names(tmp_path) == ["scan.nii.gz"]
    assert len(ingest(tmp_path).series) == 2
    found = ingest(tmp_path)
    assert {item.reason.code for item in found.passed_over} == {"system-file"}
    assert sum(item.files for item in found.passed_over) == 7
    assert not any(item.reason.failure for item in found.passed_over)


@pytest.mark.parametrize("name", ["export.zip", "export", "IM0001.dcm", "a.tar.gz", "IM0001.dcm.gz", "a.7z", "a.rar"])
def test_archives_and_packed_files_are_named_with_what_to_do(tmp_path, name):
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"DICM"))
    elif name.endswith((".7z", ".rar")):
        (tmp_path / name).write_bytes(b"whatever")
    else:
        zipped(tmp_path / name)
    assert passed(tmp_path) == {("archive", 1)}
    with pytest.raises(MedlangevinError, match=r"\(found: archive 1\); unpack the archives$"):
        preprocess(tmp_path, tmp_path.parent / "out")


def test_office_documents_are_not_archives(tmp_path):
    zipped(tmp_path / "list of patients.xlsx")
    assert passed(tmp_path) == {("not-dicom", 1)}


def test_volumes_of_other_formats_are_named_with_what_to_do(tmp_path):
    for name in ("a.mha", "b.mhd", "c.nhdr", "d.hdr"):
        volume(tmp_path / name)
    (tmp_path / "e.mgz").write_bytes(gzip.compress(b"\0"))
    found = passed(tmp_path)
    assert {code for code, _ in found} <= {"other-format", "not-dicom"}
    assert dict(found)["other-format"] >= 5
    with pytest.raises(MedlangevinError, match=r"\(found: other-format \d\); convert them to NIfTI"):
        preprocess(tmp_path, tmp_path.parent / "out")


def test_slices_may_be_named_like_volumes_of_other_formats(tmp_path, write_slice):
    for k, ending in enumerate(("img", "hdr", "mha", "zip", "gz", "7z")):
        write_slice(tmp_path / f"IM.{ending}", PIXELS, (0, 0, k * 0.6))
    (series,) = ingest(tmp_path).series
    assert len(series.slices) == 6
    assert passed(tmp_path) == set()


def test_packed_and_plain_nifti_are_told_by_their_content(tmp_path):
    plain = volume(tmp_path / "a.nii").read_bytes()
    expected = sitk.GetArrayFromImage(read_volume_file(tmp_path / "a.nii"))
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))
    (tmp_path / "PLAIN.NII.GZ").write_bytes(plain)
    (tmp_path / "PACKED.NII.GZ").write_bytes(gzip.compress(plain))
    for name in ("packed.nii", "PLAIN.NII.GZ", "PACKED.NII.GZ"):
        assert (sitk.GetArrayFromImage(read_volume_file(tmp_path / name)) == expected).all()


@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nrrd", "Segmentation.seg.nrrd"])
def test_a_label_map_is_no_scan(tmp_path, name):
    for values in (labels(), labels() > 0, labels() * 85):
        with pytest.raises(UnusableSeriesError) as caught:
            read_volume_file(volume(tmp_path / name, values))
        assert caught.value.reason.code == "label-map"
        assert not caught.value.reason.failure


def test_segments_in_layers_are_a_label_map(tmp_path):
    layers = sitk.GetImageFromArray(np.zeros((9, 9, 9, 2), np.uint8), isVector=True)
    sitk.WriteImage(layers, str(tmp_path / "a.seg.nrrd"))
    with pytest.raises(UnusableSeriesError) as caught:
        read_volume_file(tmp_path / "a.seg.nrrd")
    assert caught.value.reason.code == "label-map"


def test_label_maps_beside_scans_fail_nobody(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    volume(raw / "imagesTr" / "ear_001_0000.nii.gz")
    volume(raw / "labelsTr" / "ear_001.nii.gz", labels())
    monkeypatch.setattr("medlangevin.imaging.cohort.person.find_ears", lambda *_: [])
    monkeypatch.setattr("medlangevin.imaging.cohort.person.refusal", lambda _: None)
    summary = preprocess(raw, tmp_path / "out")
    require_no_failures(summary)
    assert (summary.persons, summary.series) == (0, 1)
    assert "skipped  " in describe(summary)
    assert "ear_001.nii.gz: a label map" in describe(summary)
    assert preprocess(raw, tmp_path / "out").resumed == 2


def test_what_is_passed_over_is_told_with_what_to_do(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    volume(raw / "scan.nii")
    zipped(raw / "others.zip")
    volume(raw / "more.mha")
    (raw / "readme.txt").write_text("see others")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), raw / "._scan.nii")
    monkeypatch.setattr("medlangevin.imaging.cohort.person.find_ears", lambda *_: [])
    monkeypatch.setattr("medlangevin.imaging.cohort.person.refusal", lambda _: None)
    lines = describe(preprocess(raw, tmp_path / "out")).splitlines()
    told = [line.removeprefix("passed   ") for line in lines if line.startswith("passed")]
    assert len(told) == 4
    assert any(line.startswith("1 file: an archive") and line.endswith("; unpack the archives") for line in told)
    assert any(line.endswith("; convert them to NIfTI (.nii.gz)") for line in told)
