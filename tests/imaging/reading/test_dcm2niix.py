"""Voxel values and positions equal dcm2niix's on real series that both accept.

One series of every coding, grid and oddity of header; the whole set of 26 takes three times as long and agrees too.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medlangevin.imaging.reading import geometry
from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest

# dcm2niix writes its affine in single precision, and header positions have up to six decimals.
TOLERANCE_MM = 0.005

# It numbers slices by InstanceNumber: shuffled, constant or missing ones give it volumes of two to ten slices, without
# an error; and it reads no deflated files. With the same slices numbered by position and inflated it agrees with us.
DCM2NIIX_FAILS = {
    "study_418984": "constant InstanceNumber, oblique",
    "study_7b31e5": "no InstanceNumber",
    "study_db06bc": "shuffled InstanceNumber, RLE",
    "study_72d417": "deflated, rows and columns flipped",
}
STUDIES = {
    "study_a57759": "implicit, oblique",
    "study_d5178c": "explicit, reversed order",
    "study_3bcbe7": "implicit, 0.6 mm slices",
    "study_6443ca": "JPEG 2000",
    "study_107899": "slope 0.5, intercept -1500",
    "study_199401": "slope 2, unsigned",
    "study_79b608": "intercept -8192",
    "study_679c34": "signed, intercept 0, reversed order",
    "study_b0aed3": "both ears",
    **DCM2NIIX_FAILS,
}


@pytest.fixture(scope="module")
def dcm2niix():
    """Runs the binary of the test-only package; gives the volumes that it wrote."""
    beside = Path(sys.executable).with_name("dcm2niix")
    program = str(beside) if beside.is_file() else shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix is not installed (pip install medlangevin[dev])")

    def run(folder: Path, out: Path) -> list[Path]:
        out.mkdir()
        options = ["-b", "n", "-z", "n", "-x", "n", "-m", "n", "-f", "%s"]
        subprocess.run([program, *options, "-o", str(out), str(folder)], stdout=subprocess.DEVNULL, check=False)
        return sorted(out.glob("*.nii"))

    return run


def volume_of(folder: Path) -> sitk.Image:
    (series,) = ingest(folder).series
    (stack,) = stacks(series.slices)
    return read_stack(stack)


def compare(image: sitk.Image, path: Path) -> None:
    """Equal values at equal places; the storage order may be flipped along the axes."""
    other = nibabel.load(path)
    assert other.shape == image.GetSize()
    # Where each axis of ours runs along another's axis, in its direction or against it.
    to_ras = np.diag([-1, -1, 1])
    axes = to_ras @ np.reshape(image.GetDirection(), (3, 3))
    along = axes.T @ (other.affine[:3, :3] / np.linalg.norm(other.affine[:3, :3], axis=0))
    assert np.array_equal(np.abs(along).argmax(axis=0), [0, 1, 2])
    flipped = [axis for axis in range(3) if along[axis, axis] < 0]
    values = np.flip(np.asanyarray(other.dataobj), tuple(flipped))
    # We cut off below air.
    assert np.array_equal(sitk.GetArrayViewFromImage(image).T, np.maximum(np.rint(values), -1024))
    last = np.array(other.shape) - 1
    for corner in np.ndindex(2, 2, 2):
        ours = np.array(corner) * last
        theirs = np.where([axis in flipped for axis in range(3)], last - ours, ours)
        place = to_ras @ image.TransformIndexToPhysicalPoint(ours.tolist())
        assert np.abs(other.affine[:3, :3] @ theirs + other.affine[:3, 3] - place).max() < TOLERANCE_MM


def numbered(folder: Path, out: Path) -> Path:
    """The same slices, inflated and numbered by their position."""
    (series,) = ingest(folder).series
    out.mkdir()
    for number, item in enumerate(stacks(series.slices)[0].slices):
        data = pydicom.dcmread(item.path)
        data.InstanceNumber = number + 1
        if data.file_meta.TransferSyntaxUID.is_deflated:
            data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.save_as(out / f"{number}.dcm")
    return out


@pytest.mark.slow
@pytest.mark.parametrize("study", list(STUDIES))
def test_values_and_places_equal_those_of_dcm2niix(simulated_ears: Path, tmp_path, dcm2niix, study):
    folder = simulated_ears / "dicom" / study
    image = volume_of(folder)
    found = dcm2niix(folder, tmp_path / "first")
    if study in DCM2NIIX_FAILS:
        assert not any(nibabel.load(path).shape == image.GetSize() for path in found)
        found = dcm2niix(numbered(folder, tmp_path / "numbered"), tmp_path / "second")
    (path,) = found
    compare(image, path)


def test_a_tilted_gantry_is_corrected_as_dcm2niix_corrects_it(shared_data: Path, tmp_path, dcm2niix, monkeypatch):
    """Our sheared grid, resampled once onto the upright grid that dcm2niix makes, shows the same.

    Its first, uncorrected file (made without error) stacks the slices upright, 12 mm off at the far end. The other
    tilted series, S3010, leans the other way: there every slice in its corrected file lies 21.4 mm beside what the
    headers say, ours where they say.
    """
    monkeypatch.setattr(geometry, "MAX_SPACING_MM", 10.0)
    folder = shared_data / "data" / "ct" / "philips_mixed_study" / "S2010"
    image = volume_of(folder)
    (path,) = (path for path in dcm2niix(folder, tmp_path / "out") if "Tilt" in path.name)
    other = nibabel.load(path)
    affine = np.diag([-1, -1, 1, 1]) @ other.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    values = sitk.GetImageFromArray(np.asanyarray(other.dataobj).T.astype(np.float32))
    values.SetOrigin(affine[:3, 3].tolist())
    values.SetSpacing(spacing.tolist())
    values.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    outside = -3000
    moved = sitk.Resample(sitk.Cast(image, sitk.sitkFloat32), values, sitk.Transform(), sitk.sitkLinear, outside)
    ours, theirs = sitk.GetArrayFromImage(moved), sitk.GetArrayFromImage(values)
    inside = ours > outside + 1
    assert inside.mean() > 0.9
    # Both interpolate between rows; theirs rounds to whole HU.
    assert np.abs(ours - np.maximum(theirs, -1024))[inside].mean() < 1
