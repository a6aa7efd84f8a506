"""A cohort made of a known image by known motions has to give that image back, from whatever start."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from medlangevin.imaging.cohort.build_reference import BuildSummary, build_reference_from_folder
from medlangevin.imaging.cohort.groupwise import (
    Ears,
    MeanEar,
    PersonScan,
    Places,
    Round,
    iterate,
    movement_mm,
    person_ears,
)
from medlangevin.imaging.cohort.mean_image import mean_image
from medlangevin.imaging.registration.crop import CROP_GRID, Grid, resample
from medlangevin.imaging.registration.reference import Reference, load_reference
from medlangevin.imaging.registration.register import Matcher
from medlangevin.system.errors import MedlangevinError


def motion(
    angle_deg: float,
    axis: tuple[float, float, float],
    translation: tuple[float, float, float],
    *,
    left: bool = False,
    scale: float = 1.0,
) -> np.ndarray:
    matrix = np.eye(4)
    turn = Rotation.from_rotvec(np.radians(angle_deg) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, :3] = scale * turn @ np.diag([-1 if left else 1, 1, 1])
    matrix[:3, 3] = translation
    return matrix


MOTIONS = [
    motion(9.0, (1, -2, 1.5), (31.0, -220.0, 512.0)),
    motion(-12.0, (0, 1, 1), (-3.0, 20.0, 90.0), left=True),
]


def in_crop(image: sitk.Image) -> np.ndarray:
    return resample(image, np.eye(4), CROP_GRID)[0].astype(float)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(np.clip(first, -200, 2200).ravel(), np.clip(second, -200, 2200).ravel())[0, 1])


def moved(image: sitk.Image, matrix: np.ndarray) -> Reference:
    """An image in the reference frame seen as a reference that has another pose or shape."""
    inverse = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(inverse[:3, :3].ravel().tolist(), inverse[:3, 3].tolist())
    return Reference(sitk.Resample(image, image, transform, sitk.sitkLinear, 1400.0), "moved")


def build_reference(
    scans: Sequence[sitk.Image], start: Reference, *, anchor: Reference | None = None, iterations: int
) -> MeanEar:
    """The mean ear of scans in memory, one scan a person."""

    def one_round(now: Round, known: dict[int, Places]) -> Ears:
        matcher = Matcher(now.reference)
        for number, scan in enumerate(scans):
            yield number, person_ears([PersonScan(0, 0, scan, 1)], known.get(number, {}), matcher, now)

    return iterate(one_round, start, anchor or start, iterations)


@pytest.fixture(scope="module")
def known(reference: Reference, warped_reference: Callable[..., sitk.Image]) -> MeanEar:
    scans = [warped_reference(matrix) for matrix in MOTIONS]
    return build_reference(scans, reference, iterations=2)


@pytest.mark.slow
def test_known_motions_of_a_known_image_give_the_image_back(
    known: MeanEar, reference: Reference, warped_reference: Callable[..., sitk.Image]
) -> None:
    # What perfect registration would give: the same scans, each resampled once with its true motion.
    truth = np.mean([resample(warped_reference(matrix), matrix, CROP_GRID)[0] for matrix in MOTIONS], axis=0)
    found = in_crop(known.reference.image)
    assert known.ears == 2
    # 0.05 mm of error at a wall of 2000 HU within 0.5 mm would be 200 HU there, about 25 HU over the crop.
    assert np.sqrt(np.mean((found - truth) ** 2)) < 40.0
    assert correlation(found, in_crop(reference.image)) > 0.99


@pytest.mark.slow
def test_the_mean_keeps_the_frame_of_the_start(known: MeanEar, reference: Reference) -> None:
    (fit, *_) = Matcher(reference).fits(known.reference.image)
    assert not fit.mirrored
    assert movement_mm(fit.matrix, np.eye(4)) < 0.05


@pytest.mark.slow
def test_the_mean_of_ears_in_one_shape_is_as_sharp_as_they_are(known: MeanEar) -> None:
    assert known.sharpness > 0.9


def test_voxels_outside_some_scans_are_the_mean_of_the_others() -> None:
    grid = Grid((0.0, 0.0, 0.0), (4, 3, 2), 1.0)
    first, second = np.full((2, 3, 4), 100.0), np.full((2, 3, 4), 300.0)
    covered = np.ones((2, 3, 4), bool)
    half = covered.copy()
    half[:, :, 2:] = False
    image = mean_image(first * covered + second * half, covered.astype(int) + half, grid)
    values = sitk.GetArrayFromImage(image)
    assert np.all(values[:, :, :2] == 200.0)
    assert np.all(values[:, :, 2:] == 100.0)


def test_voxels_that_no_scan_covers_repeat_their_neighbours() -> None:
    grid = Grid((0.0, 0.0, 0.0), (4, 3, 2), 1.0)
    covered = np.ones((2, 3, 4), int)
    covered[:, :, 3] = 0
    values = sitk.GetArrayFromImage(mean_image(np.full((2, 3, 4), 700.0) * covered, covered, grid))
    assert np.all(values == 700.0)


@pytest.mark.slow
def test_scans_without_an_ear_stop_nothing_unless_all_are(reference: Reference) -> None:
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(1300, 200, (24, 24, 24)).astype(np.float32))
    noise.SetSpacing([0.6] * 3)
    with pytest.raises(MedlangevinError, match="no ear"):
        build_reference([noise], reference, iterations=1)


@pytest.fixture(scope="module")
def two_starts(
    reference: Reference, warped_reference: Callable[..., sitk.Image]
) -> tuple[list[Reference], list[MeanEar]]:
    """A small and a large ear; once from the small one as reference, turned, once from the large one."""
    cohort = [motion(6.0, (0, 1, 1), (1.0, 2.0, 3.0), scale=0.95), motion(-6.0, (1, 1, 0), (9.0, 2.0, 3.0), scale=1.05)]
    scans = [warped_reference(matrix) for matrix in cohort]
    turn = motion(5.0, (1, 2, 3), (0.6, -0.4, 0.5))
    starts = [moved(reference.image, turn @ motion(0, (1, 0, 0), (0, 0, 0), scale=size)) for size in (0.95, 1.05)]
    return starts, [build_reference(scans, start, anchor=reference, iterations=1) for start in starts]


@pytest.mark.slow(seconds=40)
def test_the_mean_does_not_depend_on_the_start(
    two_starts: tuple[list[Reference], list[MeanEar]], reference: Reference
) -> None:
    starts, built = two_starts
    apart = correlation(*[in_crop(start.image) for start in starts])
    assert apart < 0.9
    assert correlation(*[in_crop(mean.reference.image) for mean in built]) > 0.99


@pytest.mark.slow
def test_the_mean_lies_between_the_ears_it_is_of(
    two_starts: tuple[list[Reference], list[MeanEar]], reference: Reference
) -> None:
    # The cohort is symmetric about the reference: the mean fits it better than it fits either ear.
    for mean in two_starts[1]:
        image = in_crop(mean.reference.image)
        middle = correlation(image, in_crop(reference.image))
        for size in (0.95, 1.05):
            assert middle > correlation(image, in_crop(moved(reference.image, np.diag([size] * 3 + [1.0])).image))


@pytest.fixture(scope="module")
def from_folder(
    tmp_path_factory: pytest.TempPathFactory,
    warped_reference: Callable[..., sitk.Image],
    write_volume: Callable[..., None],
) -> tuple[BuildSummary, Path]:
    raw = tmp_path_factory.mktemp("cohort")
    write_volume(raw / "one", warped_reference(MOTIONS[1]), series_uid="1.2.71", PatientID="A")
    write_volume(raw / "other", warped_reference(MOTIONS[0]), series_uid="1.2.70", PatientID="C")
    broken = raw / "two"
    write_volume(broken, warped_reference(MOTIONS[0])[:, :, :12], series_uid="1.2.72", PatientID="B")
    out = raw.parent / "made" / "reference.nii.gz"
    return build_reference_from_folder(raw, out, iterations=1), out


@pytest.mark.slow
def test_a_folder_gives_a_file_that_is_a_reference_and_says_what_it_left_out(
    from_folder: tuple[BuildSummary, Path],
) -> None:
    summary, out = from_folder
    loaded = load_reference(out)
    assert summary.ears == 2
    assert "mean of 2 ears" in summary.warning
    assert [problem.reason for problem in summary.failures] != []
    assert loaded.image.GetSize() == load_reference().image.GetSize()
    assert correlation(in_crop(loaded.image), in_crop(load_reference().image)) > 0.95
    assert [path.name for path in out.parent.iterdir()] == ["reference.nii.gz"]


@pytest.mark.slow
def test_few_ears_are_warned_of_and_five_are_enough(from_folder: tuple[BuildSummary, Path]) -> None:
    warnings = [replace(from_folder[0], ears=count).warning for count in (2, 4, 5, 40)]
    assert [bool(text) for text in warnings] == [True, True, False, False]
    assert not any("\n" in text for text in warnings)


@pytest.mark.slow
def test_one_ear_is_no_cohort(reference: Reference, warped_reference: Callable[..., sitk.Image]) -> None:
    with pytest.raises(MedlangevinError, match="a mean of one ear is that ear"):
        build_reference([warped_reference(MOTIONS[0])], reference, iterations=1)


def test_an_output_that_is_no_nifti_name_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match=r"\.nii\.gz"):
        build_reference_from_folder(tmp_path, tmp_path / "reference.txt")


def test_an_output_among_the_scans_is_refused(tmp_path: Path) -> None:
    """It would be read as one more scan by the next run."""
    with pytest.raises(MedlangevinError, match="among the scans"):
        build_reference_from_folder(tmp_path, tmp_path / "new" / "mean.nii.gz")
