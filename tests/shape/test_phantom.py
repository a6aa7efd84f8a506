"""Scans of the digital phantom, cropped with their true poses, against the phantom's truth."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.phantom.ear import draw_ear, truth
from medlangevin.phantom.scan import acquire
from medlangevin.shape.measure import measure

pytestmark = pytest.mark.slow

EARS = (0, 4, 10)  # of cohort 11: a left and two right ears with slices of 0.25 and 0.3 mm


def _around(geometry, pose):
    """The part of a scan about the crop that ``pose`` maps to it, with a margin of 3 mm: the rest takes most time."""
    half = np.array([6.0, 5.0, 5.0]) + 3
    corners = CROP_CENTRE_LPS + half * np.array(list(product((-1, 1), repeat=3)))
    voxels = (np.array([pose.TransformPoint(corner) for corner in corners]) - geometry.origin) @ geometry.direction
    low, high = (np.round(end / geometry.spacing) for end in (voxels.min(axis=0), voxels.max(axis=0)))
    low, high = np.clip(low, 0, geometry.size), np.clip(high, 0, geometry.size)
    return dataclasses.replace(
        geometry,
        origin=geometry.origin + geometry.direction @ (low * geometry.spacing),
        size=tuple(int(count) for count in high - low),
    )


@pytest.fixture(scope="module")
def results(affine, on_grid, pose_of):
    rows = []
    for index in EARS:
        ear = draw_ear(11, index)
        answers = truth(ear)["ears"][0]
        pose = pose_of(answers, "T_reference_to_lps")
        geometry = _around(ear.geometry, pose)
        noise = np.random.default_rng([11, index, 1])
        scan = sitk.GetImageFromArray(
            acquire(ear.anatomy, ear.to_lps, geometry, ear.acquisition, noise).astype(np.float32)
        )
        scan.SetOrigin(geometry.origin.tolist())
        scan.SetSpacing(geometry.spacing)
        scan.SetDirection(geometry.direction.ravel().tolist())
        rows.append((answers, measure(on_grid(scan, pose).round(), affine)))
    return rows


@pytest.mark.parametrize(
    ("key", "name", "tolerance"),
    [
        ("a_value_mm", "a_mm", 0.3),
        ("b_value_mm", "b_mm", 0.15),
        ("height_mm", "height_mm", 0.3),
        ("turns", "turns", 0.2),
        ("lateral_wall_mm", "lateral_wall_mm", 1.2),
    ],
)
def test_each_measure_is_close_to_the_truth(results, key, name, tolerance):
    for answers, found in results:
        assert getattr(found, name) == pytest.approx(answers[key], abs=tolerance)


def test_volume_and_surface_are_close_to_the_truth(results):
    for answers, found in results:
        assert found.volume_mm3 == pytest.approx(answers["cochlea_volume_mm3"], rel=0.06)
        assert found.surface_mm2 == pytest.approx(answers["cochlea_surface_mm2"], rel=0.08)
