import numpy as np
import pytest

from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import read_headers
from medlangevin.imaging.reading.reconstruction_kernel import sharpness

SHARP = [
    *("H60s", "H70h", "B60f", "B70f", "B80s", "U70u", "U90u", "I70f", "J70h", "Hr64", "Hr68h\\3", "Br64d", "Ur77u"),
    *("BONE", "BONEPLUS", "bone plus", "EDGE", "HD BONE", "HD ULTRA", "D", "E", "YD", "IAMR", "Y-Detail Bone"),
    *("FC30", "FC31-H", "FC35", "FC80", "FC81", "FC84", "B_SHARP_C", "Inner Ear", "3\\BONE", "BONE\\SOFT"),
]
SOFT = [
    *("H31s", "B20f", "B30f", "B31s", "B40f", "H40h", "I30f", "I41s\\3", "J30s", "Br36", "Br40d", "Hr40", "Hr38h\\2"),
    *("STANDARD", "SOFT", "A", "B", "UB", "UA", "EB", "FC01", "FC13", "FC21", "FC64", "FC08-H", "SOFT_TISSUE", "BRAIN"),
]
UNKNOWN = [
    *("", "HR", "3", "\\", "B50f", "H48s", "Hr56", "DETAIL", "LUNG", "C", "L", "YA", "FC51", "FC52", "FC70", "??"),
    *("x" * 1000, "ünïcode", "12345678", "NAME^OF A PATIENT"),
]


@pytest.mark.parametrize(("names", "expected"), [(SHARP, 2), (UNKNOWN, 1), (SOFT, 0)])
def test_kernels_are_classed_by_their_vendors_naming(names, expected):
    assert {name: sharpness(name) for name in names} == dict.fromkeys(names, expected)


def test_a_header_keeps_the_class_of_the_kernel_and_not_its_name(tmp_path, write_slice):
    pixels = np.zeros((16, 16), np.int16)
    path = write_slice(tmp_path / "a", pixels, (0, 0, 0), ConvolutionKernel=["Hr64h", "SECRET^NAME"])
    (header,) = read_headers(path).slices
    assert header.sharpness == 2
    assert "Hr64h" not in repr(header)
    assert "SECRET" not in repr(header)


def test_two_kernels_in_one_series_are_two_series(tmp_path, write_slice):
    pixels = np.zeros((64, 64), np.int16)
    for k in range(40):
        for kernel in ("BONEPLUS", "STANDARD"):
            write_slice(tmp_path / f"{kernel}{k}", pixels, (0, 0, 0.4 * k), ConvolutionKernel=kernel)
    found = ingest(tmp_path).series
    assert sorted(series.sharpness for series in found) == [0, 2]
    assert [len(stack.slices) for series in found for stack in stacks(series.slices)] == [40, 40]


def test_a_volume_file_has_no_known_kernel(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    assert ingest(tmp_path).series[0].sharpness == 1
