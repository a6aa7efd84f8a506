"""Crops as written by preprocess, read back as tensors whose every voxel is known."""

import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medlangevin.datasets.crop_arrays import to_hu, to_unit
from medlangevin.datasets.crops import CropDataset, choose_splits
from medlangevin.datasets.datalist import read_index
from medlangevin.system.errors import MedlangevinError

AFFINE = np.array([[-0.2, 0, 0, 6.3], [0, -0.2, 0, 4.4], [0, 0, 0.2, -4.5], [0, 0, 0, 1]])
SHAPE = (6, 5, 4)


def write_crop(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def write_folder(root: Path, people: dict[str, list[str]]) -> Path:
    """One right ear per person; the value of voxel (i, j, k) is 100 i + 10 j + k plus the ear's number."""
    i, j, k = np.indices(SHAPE)
    listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    number = 0
    for split, subjects in people.items():
        for subject in subjects:
            name = f"crops/sub-{subject}_side-R_ct.nii.gz"
            write_crop(root / name, (100 * i + 10 * j + k + number).astype(np.int16))
            listing[split].append({"image": name, "subject": subject, "side": "R", "split": split})
            number += 1
    (root / "dataset.json").write_text(json.dumps({"description": "test", **listing}))
    return root


def test_window_maps_and_inverts_exactly() -> None:
    window = (-1000.0, 3000.0)
    hu = torch.tensor([-2000.0, -1000.0, 0.0, 1000.0, 3000.0, 9000.0])
    torch.testing.assert_close(to_unit(hu, window), torch.tensor([0.0, 0.0, 0.25, 0.5, 1.0, 1.0]), rtol=0, atol=0)
    inside = np.linspace(-1000, 3000, 9)
    np.testing.assert_allclose(to_hu(to_unit(inside, window), window), inside, rtol=0, atol=1e-9)


def test_tensor_holds_every_voxel_in_nifti_order(tmp_path: Path) -> None:
    index = read_index(write_folder(tmp_path, {"training": ["a", "b"]}))
    data = CropDataset(index.training, index.shape, window_hu=(0.0, 1000.0), cache_mb=1)
    crop = data[1]
    assert type(crop) is torch.Tensor
    assert crop.shape == (1, *SHAPE)
    assert crop.dtype == torch.float32
    assert crop[0, 5, 4, 3].item() == pytest.approx(0.544, abs=1e-6)
    assert crop[0, 2, 0, 1].item() == pytest.approx(0.202, abs=1e-6)
    np.testing.assert_allclose(index.affine, AFFINE, atol=1e-6)
    assert index.shape == SHAPE


def test_mean_crop(tmp_path: Path) -> None:
    index = read_index(write_folder(tmp_path, {"training": ["a", "b", "c", "d"]}))
    data = CropDataset(index.training, index.shape, window_hu=(0.0, 1000.0), cache_mb=1)
    assert data.mean()[0, 5, 4, 3].item() == pytest.approx(0.543 + 0.0015, abs=1e-6)  # ears 0, 1, 2, 3


@pytest.mark.parametrize(("cache_mb", "survives"), [(1, True), (0, False)])
def test_cache_keeps_crops_only_up_to_its_limit(tmp_path: Path, cache_mb: int, survives: bool) -> None:
    index = read_index(write_folder(tmp_path, {"training": ["a"]}))
    data = CropDataset(index.training, index.shape, window_hu=(0.0, 1000.0), cache_mb=cache_mb)
    data.fill_cache()
    index.training[0].image.unlink()
    if survives:
        assert data[0][0, 5, 4, 3].item() == pytest.approx(0.543, abs=1e-6)
    else:
        with pytest.raises(MedlangevinError, match="cannot be read"):
            data[0]


def test_given_validation_split_is_used(tmp_path: Path) -> None:
    splits = choose_splits(read_index(write_folder(tmp_path, {"training": ["a", "b"], "validation": ["c"]})))
    assert [ear.subject for ear in splits.validation] == ["c"]
    assert splits.validation_source == "the validation split"


def test_empty_validation_split_holds_training_people_out_never_test(tmp_path: Path) -> None:
    people = [f"p{number:02d}" for number in range(12)]
    splits = choose_splits(read_index(write_folder(tmp_path, {"training": people, "test": ["t"]})))
    assert [ear.subject for ear in splits.training] == people[:10]
    assert [ear.subject for ear in splits.validation] == people[10:]
    assert "2 of 12" in splits.validation_source


def test_two_people_validate_on_themselves_and_it_is_said(tmp_path: Path) -> None:
    splits = choose_splits(read_index(write_folder(tmp_path, {"training": ["a", "b"], "test": ["t"]})))
    assert splits.validation == splits.training
    assert "training ears themselves" in splits.validation_source


def test_nothing_to_train_on(tmp_path: Path) -> None:
    index = read_index(write_folder(tmp_path, {"test": ["t"]}))
    with pytest.raises(MedlangevinError, match="training split holds no ears"):
        choose_splits(index)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_folder_without_dataset_json_points_to_preprocess(tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="run medlangevin preprocess") as error:
        read_index(tmp_path / "none")
    assert "\n" not in str(error.value)


def test_broken_folders_name_the_file(tmp_path: Path) -> None:
    def read_all() -> None:
        index = read_index(root)
        CropDataset(index.training, index.shape, window_hu=(0.0, 1.0), cache_mb=1).fill_cache()

    def broken(message: str) -> None:
        with pytest.raises(MedlangevinError, match=message) as error:
            read_all()
        assert "\n" not in str(error.value)
        write_folder(root, people)

    people = {"training": ["a", "b"], "validation": ["c"]}
    root = write_folder(tmp_path, people)
    crop = root / "crops/sub-b_side-R_ct.nii.gz"
    values = np.zeros(SHAPE, np.int16)

    crop.unlink()
    broken("sub-b_side-R_ct.nii.gz is listed")
    crop.write_bytes(b"not gzip at all")
    broken("sub-b_side-R_ct.nii.gz is not a readable NIfTI")
    write_crop(crop, np.random.default_rng(0).integers(0, 1000, (40, 40, 40)).astype(np.int16))
    broken("sub-b_side-R_ct.nii.gz has shape 40 x 40 x 40 but sub-a")
    write_crop(crop, values[..., None])
    broken("sub-b_side-R_ct.nii.gz has 4 dimensions|has shape")
    moved = AFFINE.copy()
    moved[0, 3] += 0.01
    write_crop(crop, values, moved)
    broken("sub-b_side-R_ct.nii.gz lies on another grid")
    write_crop(crop, np.full(SHAPE, np.nan, np.float32))
    broken("sub-b_side-R_ct.nii.gz cannot be read .it holds NaN")
    (root / "dataset.json").write_text('{"training": [')
    broken("dataset.json is not valid JSON")
    (root / "dataset.json").write_text('{"training": []}')
    broken("lists no ears")
    (root / "dataset.json").write_text('{"training": [{"subject": "a"}]}')
    broken("needs 'image' and 'subject'")
    (root / "dataset.json").write_text("[1, 2]")
    broken("lists no ears")


def test_crop_cut_in_half_names_the_file(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"training": ["a"]})
    crop = root / "crops/sub-a_side-R_ct.nii.gz"
    write_crop(crop, np.random.default_rng(0).integers(-1000, 3000, (30, 30, 30)).astype(np.int16))
    _truncate(crop)
    index = read_index(root)
    data = CropDataset(index.training, index.shape, window_hu=(0.0, 1.0), cache_mb=1)
    with pytest.raises(MedlangevinError, match=r"sub-a_side-R_ct\.nii\.gz cannot be read"):
        data.fill_cache()


def test_person_in_two_splits_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"training": ["a", "b"], "test": ["b"]})
    with pytest.raises(MedlangevinError, match="subject b is in both training and test"):
        read_index(root)


def with_status(root: Path) -> Path:
    """Beside the crops what preprocess records of them."""
    persons = {}
    for crop in sorted((root / "crops").iterdir()):
        subject = crop.name[4:].partition("_")[0]
        digest = hashlib.sha256(crop.read_bytes()).hexdigest()
        persons[subject] = {"subject": subject, "ears": [{"side": "R", "sha256": digest}]}
    (root / "status.json").write_text(json.dumps({"persons": persons, "failures": []}))
    return root


def test_a_crop_that_is_not_what_preprocess_wrote_is_refused(tmp_path: Path) -> None:
    root = with_status(write_folder(tmp_path, {"training": ["a", "b"], "test": ["c"]}))
    assert len(read_index(root).training) == 2
    crop = root / "crops" / "sub-c_side-R_ct.nii.gz"
    for values in (np.zeros(SHAPE, np.int16), np.asarray(nibabel.load(crop).dataobj) + np.int16(1024)):
        write_crop(crop, values)
        with pytest.raises(MedlangevinError, match=r"sub-c_side-R_ct\.nii\.gz is not the crop that preprocess wrote"):
            read_index(root)


def test_crops_that_no_record_tells_of_are_read(tmp_path: Path) -> None:
    """A listing may name crops of one's own beside those of preprocess."""
    root = with_status(write_folder(tmp_path, {"training": ["a", "b"]}))
    own = root / "own" / "sub-a_side-R_ct.nii.gz"
    write_crop(own, np.ones(SHAPE, np.int16))
    listing = json.loads((root / "dataset.json").read_text())
    listing["test"] = [{"image": "own/sub-a_side-R_ct.nii.gz", "subject": "z", "side": "R"}]
    (root / "dataset.json").write_text(json.dumps(listing))
    assert len(read_index(root).test) == 1


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"persons": []}', '{"persons": {"a": 3}}', '{"persons": {"a": {"ears": 1}}}']
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    root = write_folder(tmp_path, {"training": ["a", "b"]})
    (root / "status.json").write_text(text)
    with pytest.raises(MedlangevinError, match=r"status\.json is damaged"):
        read_index(root)
