from typing import get_args

import numpy as np
import pytest

from medlangevin.shape import coordinates, surface
from medlangevin.shape.mesh_file import MeshFormat, MeshSpace, write_mesh
from medlangevin.system.errors import MedlangevinError

CENTRE, RADIUS = np.array([-1.0, 0.4, 0.3]), 3.0


@pytest.fixture(scope="module")
def ball(affine):
    grid = coordinates.voxel_centres_lps((60, 50, 50), affine)
    return surface.mesh_of(RADIUS - np.linalg.norm(grid - CENTRE, axis=-1), affine)


def _read(path):
    """Corners (m, 3, 3) of a mesh file, read by the rules of its format."""
    data = path.read_bytes()
    if path.suffix == ".stl":
        count = int(np.frombuffer(data, "<u4", 1, 80)[0])
        assert len(data) == 84 + 50 * count
        record = [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]
        return np.frombuffer(data, record, count, 84)["corners"]
    if path.suffix == ".ply":
        header, _, body = data.partition(b"end_header\n")
        lines = header.decode().splitlines()
        vertices, faces = (int(line.split()[-1]) for line in lines if line.startswith("element"))
        points = np.frombuffer(body, "<f4", 3 * vertices).reshape(-1, 3)
        record = [("count", "u1"), ("corners", "<i4", 3)]
        return points[np.frombuffer(body, record, faces, 12 * vertices)["corners"]]
    head, _, rest = data.partition(b" float\n")
    vertices = int(head.split()[-1])
    points = np.frombuffer(rest, ">f4", 3 * vertices).reshape(-1, 3)
    line, _, cells = rest[12 * vertices + 1 :].partition(b"\n")
    _, faces, size = line.split()
    table = np.frombuffer(cells, ">i4", int(size)).reshape(int(faces), 4)
    assert (table[:, 0] == 3).all()
    return points[table[:, 1:]]


@pytest.mark.parametrize("space", get_args(MeshSpace))
@pytest.mark.parametrize("ending", get_args(MeshFormat))
def test_a_ball_is_the_same_ball_when_read_again(ball, tmp_path, ending, space):
    path = tmp_path / f"ball.{ending}"
    write_mesh(ball, path, space=space)
    assert f"SPACE={space}".encode() in path.read_bytes()[:200]
    corners = _read(path).astype(float)
    expected = CENTRE * ([-1, -1, 1] if space == "RAS" else 1)
    assert corners.mean(axis=(0, 1)) == pytest.approx(expected, abs=0.02)
    assert np.linalg.norm(corners - expected, axis=-1) == pytest.approx(RADIUS, abs=0.02)
    a, b, c = np.moveaxis(corners - expected, 1, 0)
    # Positive: all triangles look outwards.
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)


def test_a_volume_stored_the_other_way_round_still_faces_outwards(affine, tmp_path):
    grid = coordinates.voxel_centres_lps((60, 50, 50), affine)
    level = RADIUS - np.linalg.norm(grid - CENTRE, axis=-1)
    flipped = affine.copy()
    flipped[:3, 3] += flipped[:3, 0] * 59
    flipped[:3, 0] *= -1
    write_mesh(surface.mesh_of(level[::-1], flipped), tmp_path / "ball.stl")
    a, b, c = np.moveaxis(_read(tmp_path / "ball.stl").astype(float) - CENTRE, 1, 0)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) > 0


def test_a_mesh_that_cannot_be_written_leaves_nothing(ball, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MedlangevinError, match="cannot write"):
        write_mesh(ball, tmp_path / "file" / "ball.stl")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
