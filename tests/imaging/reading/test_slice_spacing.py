"""Distances of slices: rounded positions are used, missing slices are counted."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.rejection import UnusableSeriesError

SLICE = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)


def read(folder, write_slice, positions, **tags):
    for k, position in enumerate(positions):
        write_slice(folder / f"f{k}", SLICE + np.int16(k), position, **tags)
    (series,) = ingest(folder).series
    return stacks(series.slices)


def straight(heights):
    return [(0.0, 0.0, height) for height in heights]


@pytest.mark.parametrize("step", [0.25, 0.225, 0.15, 0.3333, 0.625])
def test_positions_rounded_to_a_tenth_are_used(tmp_path, write_slice, step):
    exact = 3.04 + step * np.arange(80)
    (stack,) = read(tmp_path, write_slice, straight(np.round(exact, 1)))
    assert len(stack.slices) == 80
    assert np.isclose(stack.geometry.spacing_mm[2], step, atol=0.001)
    assert np.isclose(stack.geometry.origin[2], exact[0], atol=0.06)


def test_oblique_positions_rounded_to_a_tenth_are_used(tmp_path, write_slice):
    turn = Rotation.from_rotvec([0.3, 0.2, -0.1]).as_matrix()
    exact = np.array([turn @ (3.0, -7.0, 0.25 * k) for k in range(80)])
    (stack,) = read(tmp_path, write_slice, np.round(exact, 1), orientation=turn[:, :2].T.ravel())
    assert len(stack.slices) == 80
    assert np.allclose(stack.geometry.direction[:, 2] * stack.geometry.spacing_mm[2], turn[:, 2] * 0.25, atol=0.003)


@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize(("removed", "count"), [([50], 1), ([50, 51, 52, 53, 54], 5), ([45, 60], 2)])
def test_missing_slices_are_counted_and_what_is_left_is_used(tmp_path, write_slice, decimals, removed, count):
    heights = np.delete(np.round(0.25 * np.arange(100), decimals), removed)
    found = read(tmp_path, write_slice, straight(heights))
    gap = "slice" if count == 1 else "slices"
    assert all(f"{count} {gap} missing" in stack.gap.text for stack in found)
    assert {stack.gap.code for stack in found} == {"missing-slice"}
    assert len(found[0].slices) == removed[0]


def test_rounded_positions_with_a_gap_too_near_both_ends_name_the_gap(tmp_path, write_slice):
    heights = np.delete(np.round(0.25 * np.arange(60), 1), [28, 29])
    with pytest.raises(UnusableSeriesError) as caught:
        read(tmp_path, write_slice, straight(heights))
    assert caught.value.reason.code == "missing-slice"
    assert "2 slices missing" in caught.value.reason.text


def test_distances_that_vary_are_no_rounding(tmp_path, write_slice):
    heights = np.cumsum(np.r_[0, np.full(30, 0.2), np.full(30, 0.3)])
    with pytest.raises(UnusableSeriesError) as caught:
        read(tmp_path, write_slice, straight(heights))
    assert caught.value.reason.code == "uneven-slices"
