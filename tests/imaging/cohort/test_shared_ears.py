"""One ear in the crops of two persons is said, whatever it came from; ears of different people are not one."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, shift

from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.shared_ears import with_shared_ears
from medlangevin.imaging.cohort.summary import PreprocessSummary, describe
from medlangevin.imaging.registration.reference import Reference

SHAPE = (60, 50, 50)


def ear_values(reference: Reference, *, seed: int = 0, deform: float = 0.0) -> np.ndarray:
    """The reference ear under noise, and deformed as people differ (voxels)."""
    random = np.random.default_rng(seed)
    values = sitk.GetArrayFromImage(reference.image).T
    start = [(have - want) // 2 for have, want in zip(values.shape, SHAPE, strict=True)]
    values = values[tuple(slice(at, at + size) for at, size in zip(start, SHAPE, strict=True))].astype(float)
    moved = [gaussian_filter(random.normal(0, 1, SHAPE), 8) for _ in range(3)]
    grid = np.indices(SHAPE) + np.stack([deform * field / field.std() for field in moved])
    nearest = np.clip(np.rint(grid), 0, np.array(SHAPE)[:, None, None, None] - 1).astype(int)
    return values[tuple(nearest)] + random.normal(0, 60, SHAPE)


def outcome(out: Path, subject: str, values: np.ndarray, *, side: str = "L") -> Outcome:
    (out / "crops").mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values.round().astype(np.int16), np.diag([-0.2, -0.2, 0.2, 1]))
    nibabel.save(image, out / "crops" / f"sub-{subject}_side-{side}_ct.nii.gz")
    return Outcome(subject, "in", ears=[{"side": side, "series": f"series-{subject}", "verdict": "ok"}])


def noted(out: Path, *outcomes: Outcome) -> set[str]:
    found = with_shared_ears(out, {item.subject: item for item in outcomes})
    return {name for name, item in found.items() if any(row["code"] == "same-scan" for row in item.notes)}


def test_one_scan_under_two_persons_is_noted(tmp_path: Path, reference: Reference) -> None:
    values = ear_values(reference)
    noise = np.random.default_rng(1).normal(0, 30, SHAPE)
    for changed in (values, values + noise, shift(values, (0.1, -0.1, 0.1), order=3, mode="nearest")):
        one, other = outcome(tmp_path, "0" * 10, values), outcome(tmp_path, "1" * 10, changed, side="R")
        third = outcome(tmp_path, "2" * 10, ear_values(reference, seed=2, deform=1.5))
        assert noted(tmp_path, one, other, third) == {"0" * 10, "1" * 10}
    found = with_shared_ears(tmp_path, {"0" * 10: one, "1" * 10: other})
    told = describe(PreprocessSummary(tmp_path, found))
    assert (
        "note     series series-0000000000: sub-0000000000 side L shows the same ear as sub-1111111111 side R" in told
    )
    # Said once, however often it is looked for; and no longer when the other is gone.
    again = with_shared_ears(tmp_path, found)
    assert again == found
    assert with_shared_ears(tmp_path, {"0" * 10: found["0" * 10]})["0" * 10].notes == []


def test_ears_of_different_people_and_both_ears_of_one_are_not(tmp_path: Path, reference: Reference) -> None:
    people = [outcome(tmp_path, f"{seed}" * 10, ear_values(reference, seed=seed, deform=1.5)) for seed in range(5)]
    both = outcome(tmp_path, "9" * 10, ear_values(reference, seed=9))
    other_side = outcome(tmp_path, "9" * 10, ear_values(reference, seed=9), side="R")
    both.ears.extend(other_side.ears)
    assert noted(tmp_path, *people, both) == set()


def test_empty_and_unreadable_crops_are_no_fault(tmp_path: Path) -> None:
    empty = [outcome(tmp_path, f"{number}" * 10, np.zeros(SHAPE)) for number in range(2)]
    (tmp_path / "crops" / f"sub-{'3' * 10}_side-L_ct.nii.gz").write_text("damaged")
    assert noted(tmp_path, *empty, Outcome("3" * 10, "in", ears=[{"side": "L", "series": "s"}])) == set()


@pytest.mark.slow(seconds=40)
def test_a_scan_as_dicom_and_as_nifti_is_noted(tmp_path: Path, write_volume, warped_reference) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (40.0, -30.0, 700.0)
    scan = warped_reference(matrix)
    write_volume(tmp_path / "raw" / "dicom", scan)
    sitk.WriteImage(scan[2:, 1:, :-3], str(tmp_path / "raw" / "cut.nii.gz"))
    summary = preprocess(tmp_path / "raw", tmp_path / "out")
    assert summary.persons == 2
    assert describe(summary).count("shows the same ear as") == 2
    assert "same-scan" in (tmp_path / "out" / "status.json").read_text()
    assert describe(preprocess(tmp_path / "raw", tmp_path / "out")).count("shows the same ear as") == 2
