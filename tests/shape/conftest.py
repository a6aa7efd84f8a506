"""A cochlea with known answers: a tube wound in a logarithmic spiral about the modiolar axis of the reference frame."""

from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from medlangevin.cochlear_frame import ROUND_WINDOW_ANGLE_DEG, SPIRAL_CENTRE_UV
from medlangevin.shape import coordinates

SHAPE = (60, 50, 50)
FIRST_LPS = np.array([-0.4, 0.45, 0.4]) - 0.2 * (np.array(SHAPE) - 1) / 2


@dataclass(frozen=True)
class SpiralTube:
    """r(theta) = start * exp(-rate * theta), height rising steadily; theta in radians from the round window."""

    start_mm: float = 4.9
    rate: float = 0.13
    rise_mm_per_turn: float = 0.95
    turns: float = 2.5
    tube_mm: float = 0.75
    end_tube_mm: float = 0.42

    def radius(self, theta):
        return self.start_mm * np.exp(-self.rate * np.asarray(theta))

    def tube(self, theta):
        return np.interp(theta, [0, 2 * np.pi * self.turns], [self.tube_mm, self.end_tube_mm])

    def wall(self, angle_deg):
        theta = np.radians(angle_deg)
        return float(self.radius(theta) + self.tube(theta))

    def centres(self, begin_deg=-3.0):
        theta = np.arange(np.radians(begin_deg), 2 * np.pi * self.turns, 0.01)
        angle = theta + np.radians(ROUND_WINDOW_ANGLE_DEG)
        flat = SPIRAL_CENTRE_UV + self.radius(theta)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        height = -0.2 + self.rise_mm_per_turn * np.clip(theta, 0, None) / (2 * np.pi)
        return theta, np.column_stack([flat, height])

    def distance(self, uvh):
        """Signed distance in mm (positive inside) of points (..., 3) to the wall."""
        theta, centres = self.centres()
        # The tube tapers slowly, so that the nearest centre decides.
        gap, nearest = cKDTree(centres).query(uvh.reshape(-1, 3))
        return (self.tube(theta[nearest]) - gap).reshape(uvh.shape[:-1])


@pytest.fixture(scope="session")
def affine():
    """RAS affine of the reference grid: 60 x 50 x 50 at 0.2 mm about (-0.4, 0.45, 0.4) LPS."""
    matrix = np.diag([-0.2, -0.2, 0.2, 1.0])
    matrix[:3, 3] = FIRST_LPS * [-1, -1, 1]
    return matrix


@pytest.fixture(scope="session")
def on_grid():
    """``on_grid(scan, pose, interpolator, outside)``: a scan on the reference grid, which ``pose`` maps to the scan."""

    def resampled(scan, pose, interpolator=sitk.sitkLinear, outside=-1000.0):
        grid = sitk.Image(*SHAPE, sitk.sitkFloat32)
        grid.SetSpacing([0.2] * 3)
        grid.SetOrigin(FIRST_LPS.tolist())
        return sitk.GetArrayFromImage(sitk.Resample(scan, grid, pose, interpolator, outside)).transpose(2, 1, 0)

    return resampled


@pytest.fixture(scope="session")
def pose_of():
    """``pose_of(ear, name)``: the transform of that name in an ear's truth, mirrored for a left ear."""

    def pose(ear, name):
        matrix = np.array(ear[name]) @ np.diag([-1.0 if ear["side"] == "L" else 1.0, 1.0, 1.0, 1.0])
        return sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())

    return pose


@pytest.fixture(scope="session")
def uvh(affine):
    return coordinates.to_modiolar(coordinates.voxel_centres_lps(SHAPE, affine))


@pytest.fixture(scope="session")
def spiral():
    return SpiralTube()


@pytest.fixture(scope="session")
def spiral_distance(spiral, uvh):
    return spiral.distance(uvh)


@pytest.fixture(scope="session")
def unresolved_distance(spiral_distance, uvh):
    """The spiral with a ball of fluid that swallows its apical turns."""
    return np.maximum(spiral_distance, 1.9 - np.linalg.norm(uvh - np.array([-0.25, -0.45, 1.4]), axis=-1))


def _as_ct(inside_mm, *, blur_voxels=0.9, fluid=15.0, bone=2100.0):
    """Grey values of a shape given by its signed distance: partial volume, then blur."""
    share = np.clip(inside_mm / 0.2 + 0.5, 0, 1)
    return gaussian_filter(bone + share * (fluid - bone), blur_voxels)


@pytest.fixture(scope="session")
def spiral_ct(spiral_distance):
    return _as_ct(spiral_distance)


@pytest.fixture(scope="session")
def as_ct():
    """Function that images a shape given by its signed distance (mm, positive inside)."""
    return _as_ct
