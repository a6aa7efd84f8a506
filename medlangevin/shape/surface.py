"""The lumen's wall as a triangle mesh, and what a mesh can tell: volume, area, principal extents."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage import measure as skimage_measure

from medlangevin.shape import coordinates

Array = NDArray[np.float64]

_ON_THE_CUT_MM = 0.02


class Mesh(NamedTuple):
    """A closed triangle mesh.

    Attributes:
        vertices: Positions (n, 3) in LPS mm.
        faces: Indices of each triangle's corners (m, 3).
    """

    vertices: Array
    faces: NDArray[np.int64]

    @property
    def corners(self) -> Array:
        """The triangles' corners (m, 3 corners, 3) in LPS mm."""
        return np.asarray(self.vertices[self.faces])

    @property
    def face_areas(self) -> Array:
        """Area of each triangle (m,) in mm2."""
        corners = self.corners
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return np.asarray(0.5 * np.linalg.norm(normal, axis=1))


def mesh_of(level: Array, affine: Array) -> Mesh:
    """Mesh the zero of a level set by marching cubes (Lewiner 2003); the volume's edge counts as outside.

    Args:
        level: Level set (i, j, k), positive inside.
        affine: Voxel to RAS mm (4, 4), as in NIfTI files.

    Returns:
        The closed mesh, in LPS mm.
    """
    padded = np.pad(level, 1, constant_values=-max(1e-3, float(np.abs(level).mean())))
    vertices, faces, _, _ = skimage_measure.marching_cubes(padded, 0.0)
    return Mesh(coordinates.voxels_to_lps(vertices.astype(np.float64) - 1.0, affine), faces.astype(np.int64))


def volume_and_centroid(mesh: Mesh) -> tuple[float, Array]:
    """Volume inside a closed mesh, by the divergence theorem.

    Args:
        mesh: The mesh.

    Returns:
        Volume in mm3, and its centroid (3,) in LPS mm.
    """
    origin = mesh.vertices.mean(axis=0)
    a, b, c = np.moveaxis(mesh.corners - origin, 1, 0)
    signed = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0
    total = signed.sum()
    return float(abs(total)), np.asarray((signed[:, None] * (a + b + c)).sum(axis=0) / (4.0 * total) + origin)


def is_cap(mesh: Mesh) -> NDArray[np.bool_]:
    """Which triangles lie on the cut to the vestibule: they are not wall, so not part of the cochlear surface.

    Args:
        mesh: The lumen's mesh.

    Returns:
        True for these (m,).
    """
    distance = coordinates.vestibule_cut_distance(coordinates.to_modiolar(mesh.corners.mean(axis=1)))
    return np.asarray(np.abs(distance) < _ON_THE_CUT_MM)


def principal_extents(mesh: Mesh) -> Array:
    """Lengths of a mesh along the principal axes of its surface.

    The axes are those of the area-weighted covariance of the triangles' centres; a length is the range of the vertices.

    Args:
        mesh: The mesh.

    Returns:
        Lengths (3,) in mm, that of the longest axis first.
    """
    weight = mesh.face_areas
    centres = mesh.corners.mean(axis=1)
    offsets = centres - np.average(centres, axis=0, weights=weight)
    axes = np.linalg.eigh((offsets * weight[:, None]).T @ offsets)[1][:, ::-1]
    return np.asarray(np.ptp(mesh.vertices @ axes, axis=0))
