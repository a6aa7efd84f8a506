"""Cylindrical coordinates of the phantom's duct about its spiral centre, and rigid motions."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medlangevin.cochlear_frame import MODIOLAR_AXIS_LPS, SPIRAL_CENTRE_LPS, U_LPS, V_LPS

FloatArray = NDArray[np.floating]


def from_cylinder(angle_rad: FloatArray, radius: FloatArray, height: FloatArray) -> FloatArray:
    """Points in the reference frame from cylindrical coordinates about the spiral's centre.

    Args:
        angle_rad: Angle from u towards v, radians.
        radius: Distance from the axis, mm.
        height: Height along the axis, mm.

    Returns:
        Points (..., 3), mm.
    """
    plane = np.cos(angle_rad)[..., None] * U_LPS + np.sin(angle_rad)[..., None] * V_LPS
    return SPIRAL_CENTRE_LPS + radius[..., None] * plane + height[..., None] * MODIOLAR_AXIS_LPS


def to_cochlear(points: FloatArray) -> FloatArray:
    """Points of the reference frame as coordinates along u, v and the modiolar axis from the spiral's centre.

    Args:
        points: (..., 3), mm.

    Returns:
        Coordinates (..., 3), mm.
    """
    return (points - SPIRAL_CENTRE_LPS) @ np.stack([U_LPS, V_LPS, MODIOLAR_AXIS_LPS], axis=1)


def rotation_matrix(rotation_vector_deg: FloatArray) -> FloatArray:
    """The rotation about a vector by its length.

    Args:
        rotation_vector_deg: (3,), degrees.

    Returns:
        3 x 3.
    """
    return Rotation.from_rotvec(np.asarray(rotation_vector_deg), degrees=True).as_matrix()


def rigid(rotation: FloatArray, translation: FloatArray) -> FloatArray:
    """The matrix of p -> rotation @ p + translation.

    Args:
        rotation: 3 x 3.
        translation: (3,).

    Returns:
        4 x 4.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def apply(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Apply a matrix to points.

    Args:
        matrix: 4 x 4.
        points: (..., 3).

    Returns:
        Points (..., 3).
    """
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def kabsch(source: FloatArray, target: FloatArray) -> FloatArray:
    """The rigid motion that maps points best onto others, by least squares (Kabsch 1976).

    Args:
        source: (n, 3).
        target: (n, 3), in the same order.

    Returns:
        4 x 4, determinant +1.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    rotation = Rotation.align_vectors(target - target_mean, source - source_mean)[0].as_matrix()
    return rigid(rotation, target_mean - rotation @ source_mean)
