"""NIfTI and NRRD: the grid is the header's, in LPS; what leaves left and right open is refused."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from medlangevin.imaging.reading.decode import read_volume_file
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.volume_file import header_doubts

SHAPE = (40, 36, 44)
VALUES = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)
AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_rotvec([0.2, -0.1, 0.3]).as_matrix() @ np.diag([-0.4, 0.5, 0.6])
AFFINE[:3, 3] = (12.0, -30.0, 55.0)
TO_LPS = np.diag([-1, -1, 1, 1])


def nifti(path, values=VALUES, sform=AFFINE, qform=AFFINE, codes=(1, 1), **header):
    image = nibabel.Nifti1Image(values, None)
    image.header.set_qform(qform, codes[1], strip_shears=True)
    image.header.set_sform(sform, codes[0])
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def nrrd(path, values=VALUES, space="left-posterior-superior", directions=None, extra=()):
    affine = TO_LPS @ AFFINE
    vectors = directions or " ".join(f"({','.join(map(repr, axis.tolist()))})" for axis in affine[:3, :3].T)
    lines = [
        *(
            "NRRD0005",
            "type: short",
            f"dimension: {values.ndim}",
            f"sizes: {' '.join(map(str, values.shape))}",
        ),
        *([f"space: {space}"] if space else []),
        *([f"space directions: {vectors}"] if space else []),
        *([f"space origin: ({','.join(map(repr, affine[:3, 3].tolist()))})"] if space else []),
        *("endian: little", "encoding: raw", *extra),
    ]
    path.write_bytes("\n".join(lines).encode("latin-1") + b"\n\n" + values.tobytes(order="F"))
    return path


def refused(path):
    with pytest.raises(UnusableSeriesError) as caught:
        read_volume_file(path)
    return caught.value.reason


def check(image, affine_lps, values=VALUES):
    """Every voxel keeps its place in LPS and its value."""
    assert np.array_equal(sitk.GetArrayFromImage(image), values.T)
    for index in ((0, 0, 0), (SHAPE[0] - 1, 2, 3), (5, SHAPE[1] - 1, SHAPE[2] - 1)):
        expected = affine_lps @ [*index, 1]
        assert np.allclose(image.TransformIndexToPhysicalPoint(index), expected[:3], atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1), (4, 1)])
def test_either_nifti_orientation_gives_lps(tmp_path, codes):
    check(read_volume_file(nifti(tmp_path / "a.nii.gz", codes=codes)), TO_LPS @ AFFINE)


def test_a_nifti_of_one_volume_may_have_a_fourth_axis(tmp_path):
    check(read_volume_file(nifti(tmp_path / "a.nii", VALUES[..., None])), TO_LPS @ AFFINE)
    assert refused(nifti(tmp_path / "b.nii", np.stack([VALUES, VALUES], -1))).code == "not-a-volume"
    assert refused(nifti(tmp_path / "c.nii", VALUES[0])).code == "not-a-volume"


def test_nifti_scaling_counts(tmp_path):
    path = nifti(tmp_path / "a.nii")
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([2.0, -24.0], "<f4").tobytes()
    path.write_bytes(bytes(data))
    check(read_volume_file(path), TO_LPS @ AFFINE, np.maximum(VALUES.astype(int) * 2 - 24, -1024))


def test_nifti_lengths_in_micrometres(tmp_path):
    thousand = np.diag([1000, 1000, 1000, 1]) @ AFFINE
    check(read_volume_file(nifti(tmp_path / "a.nii", sform=thousand, qform=thousand, xyzt_units=3)), TO_LPS @ AFFINE)


def test_values_that_are_no_numbers_are_air(tmp_path):
    values = VALUES.astype(np.float32)
    values[0, 0, :2] = np.nan, -np.inf
    found = sitk.GetArrayFromImage(read_volume_file(nifti(tmp_path / "a.nii", values)))
    assert found[0, 0, 0] == found[1, 0, 0] == -1024


def test_a_nifti_that_leaves_the_side_open_is_refused(tmp_path):
    assert refused(nifti(tmp_path / "none.nii", codes=(0, 0))).code == "no-orientation"
    mirrored = np.diag([-1, 1, 1, 1]) @ AFFINE
    for name, other in (("mirror", mirrored), ("shift", AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 0.5)):
        reason = refused(nifti(tmp_path / f"{name}.nii", qform=other))
        assert reason.code == "orientation"
        assert "disagree" in reason.text


def scaled(*factors):
    return AFFINE @ np.diag([*factors, 1])


@pytest.mark.parametrize("factors", [(1.15, 1.15, 1.15), (1, 1, 1.15), (0.8, 0.8, 0.8), (1.02, 1, 1)])
@pytest.mark.parametrize("codes", [(1, 0), (2, 0), (3, 0), (4, 0)])
def test_two_voxel_sizes_in_one_header_are_refused(tmp_path, factors, codes):
    reason = refused(nifti(tmp_path / "a.nii", sform=scaled(*factors), codes=codes))
    assert reason.code == "voxel-size"
    assert "sform" in reason.text
    assert "pixdim" in reason.text


def test_a_fit_to_a_template_has_voxel_sizes_of_its_own(tmp_path):
    """Also where the stretch is along the slices' normal only, which a tilt might hide."""
    fit = np.array([[1, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1.15, 0], [0, 0, 0, 1]])
    assert refused(nifti(tmp_path / "a.nii", sform=fit @ AFFINE, codes=(4, 0))).code == "voxel-size"
    straight = np.diag([0.4, 0.4, 0.4, 1])
    assert refused(nifti(tmp_path / "b.nii", sform=fit @ straight, qform=straight)).code == "voxel-size"


def test_voxel_sizes_that_are_rounded_are_one(tmp_path):
    exact = np.diag([0.1953125, 0.1953125, 0.3, 1])
    image = nibabel.Nifti1Image(np.zeros((60, 60, 60), np.int16) + np.int16(900), None)
    image.header.set_sform(exact, 1)
    image.header["pixdim"][1:4] = 0.195, 0.195, 0.3
    nibabel.save(image, tmp_path / "a.nii")
    assert np.allclose(read_volume_file(tmp_path / "a.nii").GetSpacing(), (0.1953125, 0.1953125, 0.3))


def test_an_sform_that_does_not_count_is_asked_for_its_voxel_size(tmp_path):
    path = nifti(tmp_path / "a.nii", sform=scaled(1.15, 1.15, 1.15), codes=(0, 1))
    assert [doubt.code for doubt in header_doubts(path)] == ["voxel-size"]
    for name, sform in (("same", AFFINE), ("zeros", np.zeros((4, 4))), ("placeholder", np.eye(4))):
        assert header_doubts(nifti(tmp_path / f"{name}.nii", sform=sform, codes=(0, 1))) == ()


@pytest.mark.parametrize(
    ("codes", "said"),
    [((1, 1), False), ((2, 0), False), ((0, 1), False), ((3, 1), True), ((4, 0), True), ((0, 4), True)],
)
def test_a_template_space_is_said(tmp_path, codes, said):
    path = nifti(tmp_path / "a.nii.gz", codes=codes)
    assert ("template-space" in [doubt.code for doubt in header_doubts(path)]) == said


def test_nrrd_files_leave_nothing_in_doubt(tmp_path):
    assert header_doubts(nrrd(tmp_path / "a.nrrd")) == ()


def test_a_wrong_unit_of_length_is_named(tmp_path):
    large, small = (np.diag([factor, factor, factor, 1]) @ AFFINE for factor in (1000, 0.001))
    for name, affine in (("large", large), ("small", small)):
        reason = refused(nifti(tmp_path / f"{name}.nii", sform=affine, qform=affine, xyzt_units=2))
        assert reason.code == "voxel-size"
        assert "unit" in reason.text


@pytest.mark.parametrize("unit", ["um", "µm", "micron", "microns", "micrometer"])
def test_nrrd_lengths_in_micrometres(tmp_path, unit):
    affine = np.diag([1000, 1000, 1000, 1]) @ TO_LPS @ AFFINE
    vectors = " ".join(f"({','.join(map(repr, axis.tolist()))})" for axis in affine[:3, :3].T)
    units = " ".join([f'"{unit}"'] * 3)
    path = nrrd(tmp_path / "a.nrrd", directions=vectors, extra=(f"space units: {units}",))
    image = read_volume_file(path)
    assert np.allclose(image.GetSpacing(), (0.4, 0.5, 0.6))


def test_nrrd_units_that_are_unknown_or_differ_are_refused(tmp_path):
    for units in ('"furlong" "furlong" "furlong"', '"mm" "um" "mm"'):
        assert refused(nrrd(tmp_path / "a.nrrd", extra=(f"space units: {units}",))).code == "voxel-size"


def test_shear_is_kept_up_to_the_limit_of_a_tilted_gantry(tmp_path):
    def sheared(degrees):
        shear = np.eye(4)
        shear[1, 2] = np.tan(np.radians(degrees))
        return np.diag([0.4, 0.4, 0.4, 1]) @ shear

    straight = sheared(0)
    tilted = nifti(tmp_path / "a.nii", sform=sheared(20), qform=straight)
    check(read_volume_file(tilted), TO_LPS @ sheared(20))
    assert refused(nifti(tmp_path / "b.nii", sform=sheared(40), qform=straight)).code == "tilt"


def test_a_fit_to_a_template_is_no_tilt(tmp_path):
    """Twelve parameters stretch and shear: taken for the scan's own grid, all lengths would be wrong."""
    fit = np.eye(4)
    fit[:3, :3] = [[1.15, 0.05, 0.02], [0.0, 1.08, 0.04], [0.0, 0.0, 1.12]]
    reason = refused(nifti(tmp_path / "a.nii", sform=fit @ AFFINE, codes=(4, 1)))
    assert reason.code == "orientation"
    assert "disagree" in reason.text


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf])
def test_a_matrix_that_cannot_be_inverted_is_refused(tmp_path, number):
    broken = AFFINE.copy()
    broken[:3, 1] = number
    assert refused(nifti(tmp_path / "a.nii", sform=broken, codes=(1, 0))).code in {"orientation", "decode"}


def test_damaged_volume_files_are_refused(tmp_path):
    whole = nifti(tmp_path / "a.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:-1000])
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(whole)[:-1000])
    (tmp_path / "text.nii").write_text("no picture")
    (tmp_path / "empty.nrrd").write_bytes(b"")
    (tmp_path / "cut.nrrd").write_bytes(nrrd(tmp_path / "b.nrrd").read_bytes()[:-1000])
    for name in ("cut.nii", "cut.nii.gz", "text.nii", "empty.nrrd", "cut.nrrd"):
        assert refused(tmp_path / name).code == "decode", name


@pytest.mark.parametrize(
    ("space", "flips"),
    [
        *[(name, (1, 1, 1)) for name in ("left-posterior-superior", "LPS")],
        *[(name, (-1, -1, 1)) for name in ("right-anterior-superior", "RAS")],
        ("left-anterior-superior", (1, -1, 1)),
    ],
)
def test_nrrd_spaces_become_lps(tmp_path, space, flips):
    check(read_volume_file(nrrd(tmp_path / "a.nrrd", space=space)), np.diag([*flips, 1]) @ TO_LPS @ AFFINE)


def test_nrrd_without_a_space_is_refused_and_shear_is_kept(tmp_path):
    assert refused(nrrd(tmp_path / "a.nrrd", space=None)).code == "no-orientation"
    assert refused(nrrd(tmp_path / "b.nrrd", space="scanner-xyz")).code == "no-orientation"
    image = read_volume_file(nrrd(tmp_path / "c.nrrd", directions="(0.4,0,0) (0, 0.4, 0) (0,0.1,0.4)"))
    expected = np.array([[0.4, 0, 0], [0, 0.4, 0.1], [0, 0, 0.4]])
    assert np.allclose(image.TransformIndexToPhysicalPoint((0, 0, 10)), expected[:, 2] * 10 + (TO_LPS @ AFFINE)[:3, 3])


def test_a_nrrd_of_several_values_a_voxel_is_no_volume(tmp_path):
    values = np.stack([VALUES] * 3)
    path = nrrd(
        tmp_path / "a.nrrd",
        values,
        directions="none (0.4,0,0) (0,0.4,0) (0,0,0.4)",
        extra=["kinds: list domain domain domain"],
    )
    assert refused(path).code == "not-a-volume"


def test_volume_files_with_odd_names_are_found(tmp_path):
    names = ["Müller^Hans.nii", "耳 左.NII.GZ", "a..nrrd"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert len(ingest(tmp_path).series) == len(names)
