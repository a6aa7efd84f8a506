"""The reference frame, and the cochlea's own cylindrical coordinates in it.

Reference frame: LPS mm of a RIGHT ear (+x medial, +y posterior, +z superior), origin at the centroid of the mean
cochlear lumen's surface. Cochlear frame: ``AXIS`` is the modiolar axis, base to apex; u points from the spiral centre
to the oval window, v = AXIS x u; angles run from u to v, which is the way the right duct winds in; h is along AXIS.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.linalg.norm(vector)


AXIS = _unit(np.array([-0.45, -0.81, -0.37]))
MODIOLUS_CENTRE = np.array([0.26, 0.44, 0.23])
OVAL_WINDOW = np.array([-4.3, 2.85, 1.35])
_toward_window = OVAL_WINDOW - MODIOLUS_CENTRE
U = _unit(_toward_window - (_toward_window @ AXIS) * AXIS)
V = np.cross(AXIS, U)
# The spiral winds about a line beside the middle of the modiolus (mm along u and v).
SPIRAL_CENTRE = MODIOLUS_CENTRE - 0.25 * U - 0.45 * V
# Direction of the round window, the zero of the duct's angle.
ROUND_WINDOW_ANGLE_DEG = 28.0


def from_cylinder(angle_rad: FloatArray, radius: FloatArray, height: FloatArray) -> FloatArray:
    """Points (..., 3) in the reference frame from angle (from u towards v), radius and height in mm."""
    plane = np.cos(angle_rad)[..., None] * U + np.sin(angle_rad)[..., None] * V
    return SPIRAL_CENTRE + radius[..., None] * plane + height[..., None] * AXIS


def to_cochlear(points: FloatArray) -> FloatArray:
    """Coordinates (..., 3) along u, v and AXIS, from the spiral centre, of points (..., 3) in the reference frame."""
    return (points - SPIRAL_CENTRE) @ np.stack([U, V, AXIS], axis=1)


def rotation_matrix(rotation_vector_deg: FloatArray) -> FloatArray:
    """The 3 x 3 rotation about ``rotation_vector_deg`` by its length in degrees."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.asarray(rotation_vector_deg), degrees=True).as_matrix()


def rigid(rotation: FloatArray, translation: FloatArray) -> FloatArray:
    """The 4 x 4 matrix of p -> rotation @ p + translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def apply(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """A 4 x 4 matrix applied to points (..., 3)."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def kabsch(source: FloatArray, target: FloatArray) -> FloatArray:
    """The rigid 4 x 4 matrix (det +1) that maps ``source`` (n, 3) best onto ``target`` (n, 3), least squares."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    left, _, right = np.linalg.svd((source - source_mean).T @ (target - target_mean))
    sign = np.sign(np.linalg.det(left @ right))
    rotation = (left @ np.diag([1.0, 1.0, sign]) @ right).T
    return rigid(rotation, target_mean - rotation @ source_mean)
