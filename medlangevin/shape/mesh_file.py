"""Triangle meshes as files: binary STL and PLY, legacy VTK; each names its coordinates as 3D Slicer reads them."""

from pathlib import Path
from typing import Literal

import numpy as np

from medlangevin.shape.surface import Mesh, volume_and_centroid
from medlangevin.system.files import atomic_path

MeshFormat = Literal["stl", "ply", "vtk"]
MeshSpace = Literal["LPS", "RAS"]


def write_mesh(mesh: Mesh, path: Path, *, space: MeshSpace = "LPS") -> None:
    """Write a closed mesh, whole or not at all.

    ``SPACE=LPS`` or ``SPACE=RAS`` stands in the header, where 3D Slicer (5 on) looks for it. Triangles are seen
    anticlockwise from outside.

    Args:
        mesh: The mesh, in LPS mm.
        path: The file; its ending is the format.
        space: The coordinates to write, in mm.

    Raises:
        MedlangevinError: The file cannot be written.
    """
    vertices, faces = mesh.vertices, mesh.faces
    if _turned_inside_out(mesh):
        faces = faces[:, ::-1]
    if space == "RAS":
        vertices = vertices * [-1.0, -1.0, 1.0]
    encode = {".stl": _stl, ".ply": _ply, ".vtk": _vtk}[path.suffix]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode(vertices.astype("<f4"), faces.astype("<i4"), f"medlangevin SPACE={space}"))


def _turned_inside_out(mesh: Mesh) -> bool:
    a, b, c = np.moveaxis(mesh.corners - volume_and_centroid(mesh)[1], 1, 0)
    return bool(np.einsum("ij,ij->", a, np.cross(b, c)) < 0)


def _stl(vertices: np.ndarray, faces: np.ndarray, title: str) -> bytes:
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    table = np.zeros(len(faces), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    table["normal"] = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    table["corners"] = corners
    return title.encode().ljust(80) + np.uint32(len(faces)).astype("<u4").tobytes() + table.tobytes()


def _ply(vertices: np.ndarray, faces: np.ndarray, title: str) -> bytes:
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment {title}\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    table = np.zeros(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    table["count"], table["corners"] = 3, faces
    return header.encode() + vertices.tobytes() + table.tobytes()


def _vtk(vertices: np.ndarray, faces: np.ndarray, title: str) -> bytes:
    # The legacy format is big-endian.
    cells = np.column_stack([np.full(len(faces), 3), faces]).astype(">i4")
    return b"".join(
        [
            f"# vtk DataFile Version 3.0\n{title}\nBINARY\nDATASET POLYDATA\nPOINTS {len(vertices)} float\n".encode(),
            vertices.astype(">f4").tobytes(),
            f"\nPOLYGONS {len(faces)} {cells.size}\n".encode(),
            cells.tobytes(),
            b"\n",
        ]
    )
