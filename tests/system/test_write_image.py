import resource

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import write_image


@pytest.fixture
def noise():
    return sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 2000, (50, 50, 60)).astype(np.int16))


def test_image_comes_back(tmp_path, noise):
    write_image(tmp_path / "crops" / "a.nii.gz", noise)
    stored = sitk.ReadImage(str(tmp_path / "crops" / "a.nii.gz"))
    assert (sitk.GetArrayFromImage(stored) == sitk.GetArrayFromImage(noise)).all()


@pytest.mark.parametrize("room", [0, 300, 4096, 150_000])
def test_a_file_cut_short_by_the_disk_is_an_error_and_no_file(tmp_path, noise, room):
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
