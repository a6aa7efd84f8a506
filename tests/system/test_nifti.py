"""A header that claims more than its file can hold is told before memory is set aside; a full disk is noticed."""

import random
import resource
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.datasets.datalist import read_index
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import can_be_crop, can_hold, read_volume, write_image

LISTING = '{"training": [{"image": "a.nii", "subject": "a", "side": "L"}]}'


@pytest.fixture
def crop(tmp_path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([-0.2, -0.2, 0.2, 1])), tmp_path / "a.nii")
    (tmp_path / "dataset.json").write_text(LISTING)
    return tmp_path / "a.nii"


def test_what_a_file_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(100))
    assert can_hold(path, (10, 10, 5), 2)
    assert can_hold(path, (1032, 10, 10), 1)  # packed as tightly as gzip can
    assert not can_hold(path, (1032, 10, 10), 2)
    assert not can_hold(path, (0, 10, 10), 1)
    assert not can_hold(path, (-1, -10, 10), 1)
    assert not can_hold(path, (), 1)
    path.write_bytes(bytes(10**6))
    assert can_hold(path, (512, 512, 513), 1)
    assert not can_be_crop(path, (512, 512, 513), 1)


@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (-5, 5, 5), (0, 5, 6), (4000, 4000, 4)])
def test_a_header_that_lies_takes_no_memory(crop: Path, shape: tuple[int, int, int]) -> None:
    content = bytearray(crop.read_bytes())
    content[42:48] = np.array(shape, "<i2").tobytes()
    crop.write_bytes(content)
    tracemalloc.start()
    for read in (lambda: read_volume(crop), lambda: read_index(crop.parent)):
        with pytest.raises(MedlangevinError) as error:
            read()
        assert "\n" not in str(error.value)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore")
def test_any_header_is_read_or_told_in_one_line(crop: Path) -> None:
    """Bytes of a sound header changed at random."""
    chance, sound = random.Random(0), crop.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(352)] = chance.randrange(256)
        crop.write_bytes(content)
        for read in (lambda: read_volume(crop), lambda: read_index(crop.parent)):
            try:
                read()
            except MedlangevinError as error:
                assert "\n" not in str(error)  # noqa: PT017
                refused += 1
    assert 15 < refused < 250


@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_packed_or_not_is_told_by_the_content_and_not_by_the_name(tmp_path: Path, version: type) -> None:
    values = np.random.default_rng(0).integers(-1000, 2000, (9, 8, 7)).astype(np.int16)
    affine = np.diag([-0.2, -0.2, 0.2, 1])
    for name in ("plain.nii", "packed.nii.gz"):
        nibabel.save(version(values, affine), tmp_path / name)
    (tmp_path / "plain.nii").rename(tmp_path / "a.NII.GZ")
    (tmp_path / "packed.nii.gz").rename(tmp_path / "b.nii")
    for name in ("a.NII.GZ", "b.nii"):
        read, at = read_volume(tmp_path / name)
        assert (read == values).all()
        assert np.allclose(at, affine)
        content = (tmp_path / name).read_bytes()
        for cut in (content[: len(content) // 2], content[:200], content[:3], b"", b"no"):
            (tmp_path / name).write_bytes(cut)
            with pytest.raises(MedlangevinError, match="cannot be read as NIfTI"):
                read_volume(tmp_path / name)


@pytest.fixture
def noise() -> sitk.Image:
    return sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 2000, (50, 50, 60)).astype(np.int16))


def test_image_comes_back(tmp_path: Path, noise: sitk.Image) -> None:
    write_image(tmp_path / "crops" / "a.nii.gz", noise)
    stored = sitk.ReadImage(str(tmp_path / "crops" / "a.nii.gz"))
    assert (sitk.GetArrayFromImage(stored) == sitk.GetArrayFromImage(noise)).all()


@pytest.mark.parametrize("room", [0, 300, 4096, 150_000])
def test_a_file_cut_short_by_the_disk_is_an_error_and_no_file(tmp_path: Path, noise: sitk.Image, room: int) -> None:
    """A limit on the size of files does what a full disk does: the system takes some bytes, and then no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(MedlangevinError, match=r"cannot write .*a\.nii\.gz") as caught:
            write_image(tmp_path / "a.nii.gz", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
