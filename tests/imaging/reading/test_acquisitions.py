"""Two acquisitions in one series: parted where they show one place twice, a seam where one follows the other."""

import numpy as np
import pytest

from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.rejection import UnusableSeriesError

SLICE = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
COUNT, STEP_MM = 80, 0.25
HEIGHTS = STEP_MM * np.arange(COUNT)


def clock(seconds):
    return f"{12 + int(seconds) // 3600:02d}{int(seconds) // 60 % 60:02d}{seconds % 60:09.6f}"


def read(folder, write_slice, tags, heights=HEIGHTS):
    """Stacks of a series with slices at the given heights; the values of slice k are SLICE + k."""
    for k in np.random.default_rng(0).permutation(len(heights)):
        write_slice(folder / f"f{k}", SLICE + np.int16(k), (0, 0, heights[k]), **tags(int(k)))
    (series,) = ingest(folder).series
    return stacks(series.slices)


TELLING = {
    "number": lambda n, k: {"AcquisitionNumber": n + 1},
    "time": lambda n, k: {"AcquisitionTime": clock(20 * n)},
    "time of each slice": lambda n, k: {"AcquisitionTime": clock(20 * n + 0.01 * k)},
    "date and time": lambda n, k: {"AcquisitionDateTime": "20240131" + clock(20 * n)},
    "phase": lambda n, k: {"TemporalPositionIdentifier": n + 1},
    "kernel": lambda n, k: {"ConvolutionKernel": ["H70h", "H60s"][n]},
}


@pytest.mark.parametrize("telling", TELLING)
def test_interleaved_acquisitions_are_two_volumes(tmp_path, write_slice, telling):
    first, second = sorted(
        read(tmp_path, write_slice, lambda k: TELLING[telling](k % 2, k)), key=lambda stack: stack.geometry.origin[2]
    )
    for stack, start in ((first, 0), (second, 1)):
        assert len(stack.slices) == COUNT // 2
        assert np.isclose(stack.geometry.origin[2], STEP_MM * start)
        assert np.isclose(stack.geometry.spacing_mm[2], 2 * STEP_MM)
        assert stack.seams == ()


@pytest.mark.parametrize("telling", TELLING)
def test_acquisitions_of_the_same_place_are_two_volumes(tmp_path, write_slice, telling):
    twice = np.tile(STEP_MM * np.arange(COUNT // 2), 2) * 2
    found = read(tmp_path, write_slice, lambda k: TELLING[telling](k // 40, k), twice)
    assert sorted(len({item.path for item in stack.slices}) for stack in found) == [40, 40]
    for stack in found:
        assert {int(item.path.name[1:]) // 40 for item in stack.slices} in ({0}, {1})


def test_acquisitions_too_coarse_alone_are_named(tmp_path, write_slice):
    heights = 0.5 * np.arange(COUNT)
    with pytest.raises(UnusableSeriesError) as caught:
        read(tmp_path, write_slice, lambda k: {"AcquisitionNumber": 1 + k % 2}, heights)
    assert caught.value.reason.code == "too-coarse"
    assert "2 acquisitions" in caught.value.reason.text


@pytest.mark.parametrize("telling", TELLING)
def test_acquisitions_that_follow_each_other_are_one_volume_with_a_seam(tmp_path, write_slice, telling):
    (stack,) = read(tmp_path, write_slice, lambda k: TELLING[telling](int(k >= 30), k))
    assert len(stack.slices) == COUNT
    (seam,) = stack.seams
    assert np.allclose(seam, (0, 0, 29.5 * STEP_MM))


def test_acquisitions_that_overlap_at_their_ends_are_two_volumes(tmp_path, write_slice):
    heights = np.r_[0.25 * np.arange(45), 10.125 + 0.25 * np.arange(45)]
    found = read(tmp_path, write_slice, lambda k: {"AcquisitionNumber": 1 + k // 45}, heights)
    assert [len(stack.slices) for stack in found] == [45, 45]


HONEST = {
    "one number": lambda k: {"AcquisitionNumber": 3},
    "a time for each slice": lambda k: {"AcquisitionTime": clock(0.05 * k)},
    "the same downwards": lambda k: {"AcquisitionTime": clock(60 - 0.05 * k)},
    "whole seconds": lambda k: {"AcquisitionTime": clock(k // 20)},
    "whole seconds downwards": lambda k: {"AcquisitionTime": clock(60 - k // 20)},
    "a rotation for every four slices": lambda k: {
        "AcquisitionNumber": 1 + k // 4,
        "AcquisitionTime": clock(k // 4 * 2),
    },
    "slow rotations": lambda k: {"AcquisitionTime": clock(k // 4 * 12)},
    "a number for each slice": lambda k: {"AcquisitionNumber": k + 1, "AcquisitionTime": clock(0.7 * k)},
    "a time without order": lambda k: {"AcquisitionTime": clock(float(np.random.default_rng(k).uniform(0, 40)))},
    "neighbours in the other order": lambda k: {"AcquisitionTime": clock(0.05 * (k + (k % 7 == 3) - (k % 7 == 4)))},
    "one slice again later": lambda k: {"AcquisitionTime": clock(900 if k == 33 else 0.05 * k)},
    "midnight": lambda k: {"AcquisitionTime": "235959.9" if k < 40 else "000000.1"},
    "no numbers": lambda k: {"AcquisitionTime": "", "AcquisitionNumber": None},
    "not a time": lambda k: {"AcquisitionTime": "12:00:00" if k % 2 else "noon"},
}


@pytest.mark.parametrize("kind", HONEST)
def test_a_scan_of_one_piece_is_one_volume_without_a_seam(tmp_path, write_slice, kind):
    (stack,) = read(tmp_path, write_slice, HONEST[kind])
    assert len(stack.slices) == COUNT
    assert stack.seams == ()


def test_numbers_without_order_part_nothing_but_are_seams(tmp_path, write_slice):
    numbers = np.random.default_rng(0).integers(1, 3, COUNT)
    (stack,) = read(tmp_path, write_slice, lambda k: {"AcquisitionNumber": int(numbers[k])})
    assert len(stack.slices) == COUNT
    assert len(stack.seams) == np.count_nonzero(np.diff(numbers))
