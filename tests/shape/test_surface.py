import numpy as np
import pytest

from medlangevin.shape import coordinates, surface


def _grid(affine, shape=(60, 50, 50)):
    return coordinates.voxel_centres_lps(shape, affine)


def test_ball_has_its_volume_surface_centroid_and_extents(affine):
    centre, radius = np.array([-1.0, 0.4, 0.3]), 3.0
    mesh = surface.mesh_of(radius - np.linalg.norm(_grid(affine) - centre, axis=-1), affine)
    volume, centroid = surface.volume_and_centroid(mesh)
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.005)
    assert mesh.face_areas.sum() == pytest.approx(4 * np.pi * radius**2, rel=0.005)
    assert centroid == pytest.approx(centre, abs=0.01)
    assert surface.principal_extents(mesh) == pytest.approx([6.0, 6.0, 6.0], abs=0.03)


def test_torus_has_its_volume_and_surface(affine):
    points = _grid(affine) - np.array([-0.4, 0.45, 0.4])
    ring, tube = 3.0, 0.9
    level = tube - np.hypot(np.hypot(points[..., 0], points[..., 1]) - ring, points[..., 2])
    mesh = surface.mesh_of(level, affine)
    assert surface.volume_and_centroid(mesh)[0] == pytest.approx(2 * np.pi**2 * ring * tube**2, rel=0.01)
    assert mesh.face_areas.sum() == pytest.approx(4 * np.pi**2 * ring * tube, rel=0.01)


def test_extents_of_a_turned_ellipsoid_come_longest_first(affine):
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    half = np.array([2.0, 4.2, 3.0])
    local = (_grid(affine) - np.array([-0.4, 0.45, 0.4])) @ turn
    level = 1 - np.linalg.norm(local / half, axis=-1)
    extents = surface.principal_extents(surface.mesh_of(level, affine))
    assert extents == pytest.approx([8.4, 6.0, 4.0], abs=0.04)


def test_partial_volume_alone_gives_the_volume_to_a_hundredth(affine):
    distance = 2.0 - np.linalg.norm(_grid(affine) - np.array([0.03, 0.41, 0.37]), axis=-1)
    level = np.clip(distance / 0.2 + 0.5, 0, 1) - 0.5
    mesh = surface.mesh_of(level, affine)
    assert surface.volume_and_centroid(mesh)[0] == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)


def test_a_shape_at_the_edge_is_closed_there(affine):
    points = _grid(affine)
    level = 2.0 - np.linalg.norm(points - points[0, 25, 25], axis=-1)
    mesh = surface.mesh_of(level, affine)
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_the_cut_to_the_vestibule_is_told_from_wall(affine, uvh):
    centre = (
        coordinates.VESTIBULE_CUT_POINT_UVH + coordinates.VESTIBULE_CUT_OFFSET_MM * coordinates.VESTIBULE_CUT_NORMAL_UVH
    )
    radius = 1.2
    level = np.minimum(radius - np.linalg.norm(uvh - centre, axis=-1), coordinates.vestibule_cut_distance(uvh))
    mesh = surface.mesh_of(level, affine)
    cap = mesh.face_areas[surface.is_cap(mesh)].sum()
    # Marching cubes rounds the rim where wall and cut meet: a strip of less than a voxel is counted as wall.
    strip = 2 * np.pi * radius * 0.15
    assert np.pi * radius**2 - strip < cap < np.pi * radius**2
    assert 2 * np.pi * radius**2 - strip < mesh.face_areas.sum() - cap < 2 * np.pi * radius**2 + strip
