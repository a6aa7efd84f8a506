"""The same scan in several volume files is one person's."""

import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.summary import describe
from medlangevin.imaging.reading.copies import without_copies
from medlangevin.imaging.reading.ingest import ingest


def write(path, *, seed=0, origin=(3.1, -7.7, 12.9), direction=None):
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(-1000, 2000, (9, 8, 7)).astype(np.int16))
    image.SetOrigin(origin)
    image.SetSpacing((0.31, 0.31, 0.47))
    image.SetDirection(np.eye(3).ravel() if direction is None else direction.ravel())
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw" / "deep").mkdir(parents=True)
    return tmp_path / "raw"


def names(raw):
    return [[item.volume_file.name for item in part if item.volume_file] for part in without_copies(ingest(raw).series)]


def test_copies_in_other_names_packings_and_formats_are_found(raw):
    first = write(raw / "a.nii.gz")
    shutil.copy(first, raw / "z.nii.gz")
    write(raw / "b.nii")
    write(raw / "c.nrrd")
    volume = nibabel.load(first)
    nibabel.save(nibabel.Nifti1Image(volume.get_fdata()[..., None], volume.affine), raw / "deep" / "a.nii.gz")
    assert names(raw) == [["a.nii.gz"], ["b.nii", "c.nrrd", "a.nii.gz", "z.nii.gz"]]


def test_a_copy_with_turned_axes_is_the_same_scan(raw):
    """As fslreorient2std and as_closest_canonical write it: other axes, the same voxels at the same places."""
    write(raw / "a.nii.gz", direction=Rotation.from_rotvec([0.2, -0.3, 0.1]).as_matrix())
    volume = nibabel.load(raw / "a.nii.gz")
    for number, axes in enumerate(([[1, -1], [0, 1], [2, 1]], [[2, 1], [0, -1], [1, -1]], [[0, -1], [1, 1], [2, -1]])):
        nibabel.save(volume.as_reoriented(np.array(axes)), raw / f"b{number}.nii.gz")
    nibabel.save(nibabel.as_closest_canonical(volume), raw / "c.nii")
    assert names(raw) == [["a.nii.gz"], ["b0.nii.gz", "b1.nii.gz", "b2.nii.gz", "c.nii"]]


def test_mirrored_values_on_the_same_grid_are_another_scan(raw):
    write(raw / "a.nii.gz")
    volume = nibabel.load(raw / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(volume.get_fdata()[::-1], volume.affine), raw / "b.nii.gz")
    assert names(raw)[1] == []


def test_other_values_or_another_place_is_another_scan(raw):
    write(raw / "a.nii.gz")
    write(raw / "b.nii.gz", seed=1)
    write(raw / "c.nii.gz", origin=(3.1, -7.7, 13.0))
    volume = nibabel.load(raw / "a.nii.gz")
    values = volume.get_fdata()
    values[4, 4, 4] += 1
    nibabel.save(nibabel.Nifti1Image(values, volume.affine), raw / "d.nii.gz")
    assert names(raw) == [["a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz"], []]


def test_files_that_cannot_be_read_are_no_copies(raw):
    for name in ("a.nii.gz", "b.nii.gz", "c.nrrd", "d.nrrd"):
        (raw / name).write_text("")
    whole = write(raw / "e.nii").read_bytes()
    for name in ("f.nii", "g.nii"):
        (raw / name).write_bytes(whole[: len(whole) // 2])
    assert names(raw)[1] == []


@pytest.mark.usefixtures("stubbed_pipeline")
def test_one_scan_under_two_names_is_one_person_and_said(raw, tmp_path):
    for name in ("named_b.nii.gz", "named_a.nii.gz"):
        write(raw / name)
    summary = preprocess(raw, tmp_path / "out")
    assert summary.persons == 1
    assert [(note.folder and note.folder.name, note.what_to_do) for note in summary.notes] == [
        ("named_b.nii.gz", "nothing")
    ]
    assert "named_b.nii.gz: another file holds the same values at the same place, and is used" in describe(summary)
    assert not any(b"named_" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
