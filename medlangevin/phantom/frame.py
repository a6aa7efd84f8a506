"""Cylindrical coordinates of the phantom's duct about its spiral centre, and rigid motions."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medlangevin.cochlear_frame import MODIOLAR_AXIS_LPS, SPIRAL_CENTRE_LPS, U_LPS, V_LPS

FloatArray = NDArray[np.floating]


def from_cylinder(angle_rad: FloatArray, radius: FloatArray, height: FloatArray) -> FloatArray:
    """Points (..., 3) in the reference frame from angle (from u towards v), radius and height in mm."""
    plane = np.cos(angle_rad)[..., None] * U_LPS + np.sin(angle_rad)[..., None] * V_LPS
    return SPIRAL_CENTRE_LPS + radius[..., None] * plane + height[..., None] * MODIOLAR_AXIS_LPS


def to_cochlear(points: FloatArray) -> FloatArray:
    """Points (..., 3) of the reference frame as coordinates along u, v and the modiolar axis from the spiral centre."""
    return (points - SPIRAL_CENTRE_LPS) @ np.stack([U_LPS, V_LPS, MODIOLAR_AXIS_LPS], axis=1)


def rotation_matrix(rotation_vector_deg: FloatArray) -> FloatArray:
    """The 3 x 3 rotation about ``rotation_vector_deg`` by its length in degrees."""
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
    rotation = Rotation.align_vectors(target - target_mean, source - source_mean)[0].as_matrix()
    return rigid(rotation, target_mean - rotation @ source_mean)
