"""Rendered ears: CT numbers, noise, sides and blur."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medlangevin.phantom.ear import draw_ear
from medlangevin.phantom.fields import VoxelGrid, add_balls, add_ellipsoid
from medlangevin.phantom.frame import apply, kabsch, rigid, rotation_matrix
from medlangevin.phantom.render import Anatomy, Tissues, lumen_distance, render
from medlangevin.phantom.scan import Acquisition, Geometry, acquire, ear_to_lps
from medlangevin.phantom.shape import MEAN_SHAPE

GRID = VoxelGrid.around(np.array([-9.0, -8, -7]), np.array([9.0, 10, 9]), 0.25)
_X, _Y, _Z = np.broadcast_arrays(*GRID.axes())
APICAL = (_Y < 0) & (_X > -2)
PETROUS = (_X > 6.5) & (_Y > -6) & (_Y < 0) & (_Z < 2) & (_Z > -3)  # clear of capsule, canals and roof
QUIET = Acquisition(psf_sigma_mm=0.15, noise_sd_hu=0.0)
SPACING = (0.3, 0.3, 0.5)


def anatomy(**tissues: Any) -> Anatomy:
    return Anatomy(MEAN_SHAPE.duct(), tissues=Tissues(**tissues))


def test_ball_and_ellipsoid_have_their_volume() -> None:
    grid = VoxelGrid.around(np.full(3, -3.0), np.full(3, 3.0), 0.1)
    ball, egg = grid.field(), grid.field()
    add_balls(ball, grid, np.array([[0.2, 0.1, -0.1]]), np.array([2.0]))
    add_ellipsoid(egg, grid, np.zeros(3), np.array([2.5, 1.5, 1.0]), rotation_matrix(np.array([20.0, 30, 40])))
    for field, volume in ((ball, 4 / 3 * np.pi * 8), (egg, 4 / 3 * np.pi * 2.5 * 1.5)):
        assert np.clip(0.5 - field / 0.1, 0, 1).sum() * 1e-3 == pytest.approx(volume, rel=0.005)


def test_kabsch_finds_a_known_motion() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    motion = rigid(rotation_matrix(np.array([10.0, -20, 30])), np.array([1.0, 2, 3]))
    np.testing.assert_allclose(kabsch(points, apply(motion, points)), motion, atol=1e-12)


def test_tissues_have_their_ct_numbers() -> None:
    ear = replace(anatomy(texture_sd_hu=70.0, texture_seed=1), surroundings=draw_ear(0, 0).anatomy.surroundings)
    hu, distance = render(ear, GRID), lumen_distance(ear, GRID)
    assert hu[distance < -0.3].min() >= 0
    assert hu[distance < -0.3].max() <= 30
    # Bone about the apical side of the cochlea, between 0.4 and 1.5 mm of the lumen.
    shell = APICAL & (distance > 0.4) & (distance < 1.5)
    assert np.percentile(hu[shell], 5) >= 2000
    assert np.percentile(hu[shell], 95) <= 2250
    assert 1300 <= hu[PETROUS].mean() <= 1550
    assert 40 < hu[PETROUS].std() < 120
    assert hu.min() == pytest.approx(-1000)
    assert (hu < -999).mean() > 0.02


def test_average_ear_has_no_texture() -> None:
    hu = render(anatomy(), GRID)
    assert hu[PETROUS].std() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("side", ["R", "L"])
def test_left_scan_is_the_mirrored_right_scan(side: str) -> None:
    pose = ear_to_lps(side, np.zeros(3), np.zeros(3))
    geometry = Geometry.centred(np.array([0.0, 1.0, 1.0]), np.eye(3), SPACING)
    here = acquire(anatomy(), pose, geometry, QUIET, np.random.default_rng(0))
    right = acquire(anatomy(), np.eye(4), geometry, QUIET, np.random.default_rng(0))
    expected = right if side == "R" else right[:, :, ::-1]
    assert np.abs(here.astype(int) - expected).mean() < 2
    assert np.abs(right.astype(int) - right[:, :, ::-1]).mean() > 100


@pytest.mark.slow
def test_pose_moves_the_ear_in_the_scan() -> None:
    pose = ear_to_lps("R", np.array([0.0, 0.0, 12.0]), np.array([3.0, -2.0, 4.0]))
    turned = Geometry.centred(apply(pose, np.zeros(3)), pose[:3, :3], SPACING)
    straight = Geometry.centred(np.zeros(3), np.eye(3), SPACING)
    moved = acquire(anatomy(), pose, turned, QUIET, np.random.default_rng(0)).astype(float)
    still = acquire(anatomy(), np.eye(4), straight, QUIET, np.random.default_rng(0)).astype(float)
    assert np.corrcoef(moved.ravel(), still.ravel())[0, 1] > 0.999


@pytest.mark.slow
def test_noise_has_its_spread() -> None:
    geometry = Geometry.centred(np.zeros(3), np.eye(3), SPACING)
    rng = np.random.default_rng
    clean = acquire(anatomy(), np.eye(4), geometry, QUIET, rng(1)).astype(float)
    noisy = acquire(anatomy(), np.eye(4), geometry, replace(QUIET, noise_sd_hu=120.0), rng(1)).astype(float)
    noise = (noisy - clean)[clean > 0]  # air is clipped at -1024
    # About 2e5 voxels, neighbours alike: standard error of the spread below 0.5 HU.
    assert noise.std() == pytest.approx(120.0, abs=2.0)
    assert abs(noise.mean()) < 2
    plane = noisy[0] - clean[0]
    plane = plane - plane.mean()
    assert 0.05 < (plane[:, 1:] * plane[:, :-1]).mean() / plane.var() < 0.5


@pytest.mark.slow
def test_blur_is_the_one_asked_for() -> None:
    # A flat bone surface across the slices, seen through the scanner: the edge's slope tells the blur.
    geometry = Geometry.centred(np.zeros(3), np.eye(3), (0.2, 0.2, 0.25))
    sharp = acquire(anatomy(), np.eye(4), geometry, Acquisition(0.15, 0.0), np.random.default_rng(0)).astype(float)
    soft = acquire(anatomy(), np.eye(4), geometry, Acquisition(0.20, 0.0), np.random.default_rng(0)).astype(float)
    from scipy.ndimage import gaussian_filter

    extra = np.sqrt(0.20**2 - 0.15**2) / np.array([0.25, 0.2, 0.2])
    again = gaussian_filter(sharp, extra)
    inner = (slice(4, -4),) * 3
    assert np.abs(again - soft)[inner].mean() < 0.25 * np.abs(sharp - soft)[inner].mean()
