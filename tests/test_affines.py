"""Where a voxel lies is kept by everything that writes and reads volumes, whatever way the axes run."""

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medlangevin.datasets.datalist import read_index
from medlangevin.imaging.reading.volume_file import load_volume
from medlangevin.system.nifti import read_volume, write_image, write_volume

Factory = pytest.TempPathFactory
SHAPE = (4, 5, 6)
HU = np.arange(120.0).reshape(SHAPE) * 20 - 1000
CORNERS = np.array([(*index, 1.0) for index in itertools.product(*[(0, size - 1) for size in SHAPE])])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# All 48 ways in which three axes can run, RAS and LPS among them.
AXES = itertools.permutations(("RL", "AP", "SI"))
ORIENTATIONS = ["".join(code) for axes in AXES for code in itertools.product(*axes)]
# NIfTI keeps a matrix in float32: 1e-4 mm at 1 m.
EXACT_MM = 1e-3
# ITK's writer says rotations below a thousandth of a radian in the sform only; that is 0.025 mm in the volumes here.
BY_ITK_MM = 0.03


def affine_of(code: str, turn: Rotation, spacing_mm: NDArray[np.float64], origin_mm: NDArray[np.float64]) -> np.ndarray:
    """Voxel to RAS mm of axes that run as ``code`` says, turned a little."""
    towards = {"R": (1, 0, 0), "A": (0, 1, 0), "S": (0, 0, 1), "L": (-1, 0, 0), "P": (0, -1, 0), "I": (0, 0, -1)}
    affine = np.eye(4)
    affine[:3, :3] = turn.as_matrix() @ np.transpose([towards[letter] for letter in code]) * spacing_mm
    affine[:3, 3] = origin_mm
    return affine


numbers = st.floats(-1, 1, allow_subnormal=False)
affines = st.builds(
    lambda code, turn, spacing, origin: affine_of(
        code, Rotation.from_rotvec(np.array(turn) * np.pi), np.array(spacing), np.array(origin) * 1000
    ),
    st.sampled_from(ORIENTATIONS),
    st.tuples(numbers, numbers, numbers),
    st.tuples(*[st.floats(0.05, 3)] * 3),
    st.tuples(numbers, numbers, numbers),
)


def require_same_places(found: np.ndarray, expected: np.ndarray, exact_mm: float = EXACT_MM) -> None:
    """Both matrices put every corner of the volume at one place, in mm."""
    np.testing.assert_allclose(CORNERS @ found.T, CORNERS @ expected.T, rtol=0, atol=exact_mm)


def require_kept(path: Path, affine: np.ndarray, qform_mm: float = EXACT_MM) -> None:
    """``path`` says so to every reader: nibabel by sform and by qform, the shape room, preprocess, and SimpleITK."""
    image = nibabel.load(path)
    require_same_places(image.affine, affine)
    require_same_places(image.get_qform(), affine, qform_mm)
    assert image.header["sform_code"] > 0
    assert image.header.get_xyzt_units()[0] == "mm"
    values, read = read_volume(path)
    require_same_places(read, affine)
    np.testing.assert_allclose(values, HU, atol=0.5)
    stored, geometry = load_volume(path)
    in_lps = np.eye(4)
    in_lps[:3, :3], in_lps[:3, 3] = geometry.direction * geometry.spacing_mm, geometry.origin
    require_same_places(in_lps, LPS @ affine)
    np.testing.assert_allclose(stored.T, HU, atol=0.5)
    by_itk = sitk.ReadImage(str(path))
    points = [by_itk.TransformContinuousIndexToPhysicalPoint(corner[:3].tolist()) for corner in CORNERS]
    np.testing.assert_allclose(points, (CORNERS @ (LPS @ affine).T)[:, :3], rtol=0, atol=qform_mm)


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_a_generated_volume_keeps_every_orientation(code: str, tmp_path: Path) -> None:
    affine = affine_of(code, Rotation.identity(), np.array([0.2, 0.3, 0.4]), np.array([6.3, -4.4, 50.0]))
    write_volume(tmp_path / "a.nii", HU, affine)
    assert "".join(nibabel.aff2axcodes(nibabel.load(tmp_path / "a.nii").affine)) == code
    require_kept(tmp_path / "a.nii", affine)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(affines)
def test_a_generated_volume_keeps_any_rigid_affine(tmp_path_factory: Factory, affine: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "any_ct.nii"
    write_volume(path, HU, affine)
    require_kept(path, affine)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(affines)
@example(affine_of("LPS", Rotation.from_rotvec([0, 0, 0.0008]), np.ones(3), np.zeros(3)))
def test_a_crop_that_preprocess_writes_keeps_any_grid(tmp_path_factory: Factory, affine: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "any_crop.nii.gz"
    in_lps = LPS @ affine
    spacing = np.linalg.norm(in_lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(HU.T.astype(np.int16))
    image.SetOrigin(in_lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((in_lps[:3, :3] / spacing).ravel().tolist())
    write_image(path, image)
    require_kept(path, affine, BY_ITK_MM)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(affines, st.tuples(numbers, numbers, numbers))
def test_shear_is_kept_by_all_that_read_the_sform(
    tmp_path_factory: Factory, affine: np.ndarray, shear: tuple[float, float, float]
) -> None:
    """A qform cannot say it, so the matrix that counts is the sform."""
    sheared = affine.copy()
    sheared[:3, :3] = affine[:3, :3] @ (np.eye(3) + np.triu(np.tile(np.array(shear) * 0.4, (3, 1)), 1))
    path = tmp_path_factory.getbasetemp() / "sheared_ct.nii"
    write_volume(path, HU, sheared)
    require_same_places(nibabel.load(path).affine, sheared)
    require_same_places(read_volume(path)[1], sheared)


def test_the_index_of_a_folder_has_the_affine_of_its_crops(tmp_path: Path) -> None:
    turn = Rotation.from_rotvec([0.1, 0.2, 0.3])
    affine = affine_of("PSR", turn, np.array([0.2, 0.3, 0.4]), np.array([1.0, 2.0, 3.0]))
    write_volume(tmp_path / "a.nii.gz", HU, affine)
    entry = '{"image": "a.nii.gz", "subject": "a", "side": "L"}'
    (tmp_path / "dataset.json").write_text(f'{{"training": [{entry}]}}')
    require_same_places(read_index(tmp_path).affine, affine)


def test_a_head_that_itk_wrote_slightly_turned_is_not_refused(tmp_path: Path) -> None:
    """Its qform lacks the turn: 0.2 mm at the far corner. The sform has it, and that is what counts."""
    affine = affine_of("LPS", Rotation.from_rotvec([0, 0, 0.0009]), np.full(3, 4.0), np.zeros(3))
    in_lps = LPS @ affine
    image = sitk.Image(60, 60, 60, sitk.sitkInt16)
    image.SetSpacing([4.0] * 3)
    image.SetDirection((in_lps[:3, :3] / 4).ravel().tolist())
    write_image(tmp_path / "head.nii.gz", image)
    stored = nibabel.load(tmp_path / "head.nii.gz")
    assert np.abs((stored.get_qform() - affine) @ [59, 59, 59, 1]).max() > 0.15
    _, geometry = load_volume(tmp_path / "head.nii.gz")
    np.testing.assert_allclose(geometry.direction * geometry.spacing_mm, in_lps[:3, :3], atol=1e-5)
