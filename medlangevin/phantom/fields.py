"""Signed distances on a regular grid: negative inside, mm, exact only near the surface."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from medlangevin.cochlear_frame import ROUND_WINDOW_ANGLE_DEG
from medlangevin.phantom.duct import Duct
from medlangevin.phantom.frame import FloatArray, to_cochlear

FAR = 2.0  # the value of a field (mm) where nothing is near
MARGIN = 0.7  # how far from a surface (mm) its distance is worked out


@dataclass(frozen=True)
class VoxelGrid:
    """Axis-aligned voxels in the reference frame: the centre of voxel (i, j, k) is origin + spacing * (i, j, k).

    Attributes:
        origin: Centre of voxel (0, 0, 0), mm.
        spacing: Side of a voxel, mm.
        shape: Number of voxels along x, y and z.
    """

    origin: tuple[float, ...]
    spacing: float
    shape: tuple[int, ...]

    @classmethod
    def around(cls, low: FloatArray, high: FloatArray, spacing: float) -> "VoxelGrid":
        """Make the grid, on multiples of its spacing, that covers a box.

        Args:
            low: Lowest corner (3,), mm.
            high: Highest corner (3,), mm.
            spacing: Side of a voxel, mm.

        Returns:
            The grid.
        """
        first, last = np.floor(np.asarray(low) / spacing), np.ceil(np.asarray(high) / spacing)
        return cls(tuple(first * spacing), spacing, tuple((last - first + 1).astype(int).tolist()))

    def field(self, value: float = FAR) -> FloatArray:
        """A new field on the grid.

        Args:
            value: Its value everywhere.

        Returns:
            A float32 array of the grid's shape.
        """
        return np.full(self.shape, value, dtype=np.float32)

    def axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Coordinates of the voxel centres.

        Returns:
            x (n, 1, 1), y (1, n, 1) and z (1, 1, n), mm, float32.
        """
        x, y, z = ((self.origin[k] + self.spacing * np.arange(self.shape[k])).astype(np.float32) for k in range(3))
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def block(self, low: FloatArray, high: FloatArray) -> tuple[tuple[slice, ...], "VoxelGrid"]:
        """The part of the grid between two corners; empty when outside.

        Args:
            low: Lowest corner (3,), mm.
            high: Highest corner (3,), mm.

        Returns:
            The part as slices of a field, and as a grid.
        """
        start = np.clip(np.floor((low - self.origin) / self.spacing), 0, self.shape).astype(int)
        stop = np.clip(np.ceil((high - self.origin) / self.spacing) + 1, start, self.shape).astype(int)
        origin = tuple(self.origin + self.spacing * start)
        slices = tuple(slice(first, last) for first, last in zip(start, stop, strict=True))
        return slices, VoxelGrid(origin, self.spacing, tuple((stop - start).tolist()))


def add_balls(
    field: FloatArray, grid: VoxelGrid, centres: FloatArray, radii: FloatArray, *, margin: float = MARGIN
) -> None:
    """Unite a field in place with balls.

    Args:
        field: Signed distances, mm.
        grid: Where its voxels lie.
        centres: (n, 3), mm.
        radii: (n,), mm.
        margin: Distance from the balls within which the field is exact, mm.
    """
    for centre, radius in zip(centres, radii, strict=True):
        reach = radius + margin
        slices, part = grid.block(centre - reach, centre + reach)
        x, y, z = part.axes()
        squared = (x - np.float32(centre[0])) ** 2 + (y - np.float32(centre[1])) ** 2
        distance = np.sqrt(squared + (z - np.float32(centre[2])) ** 2) - np.float32(radius)
        np.minimum(field[slices], distance, out=field[slices])


def add_tube(field: FloatArray, grid: VoxelGrid, path: FloatArray) -> None:
    """Unite a field in place with a tube.

    Args:
        field: Signed distances, mm.
        grid: Where its voxels lie.
        path: (n, 4), points and radii that the tube passes smoothly, mm.
    """
    path = np.asarray(path, dtype=float)
    chord = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(path[:, :3], axis=0), axis=1))]
    count = max(int(np.ceil(chord[-1] / (0.25 * path[:, 3].min()))), 2)
    dense = CubicSpline(chord, path)(np.linspace(0, chord[-1], count))
    add_balls(field, grid, dense[:, :3], np.maximum(dense[:, 3], 0.1))


def add_ellipsoid(
    field: FloatArray, grid: VoxelGrid, centre: FloatArray, semi_axes: FloatArray, rotation: FloatArray | None = None
) -> None:
    """Unite a field in place with an ellipsoid.

    Args:
        field: Signed distances, mm.
        grid: Where its voxels lie.
        centre: (3,), mm.
        semi_axes: (3,), mm.
        rotation: (3, 3), its columns are the ellipsoid's axes; x, y and z by default.
    """
    centre, semi_axes = np.asarray(centre, dtype=float), np.asarray(semi_axes, dtype=float)
    axes = np.eye(3) if rotation is None else rotation
    half = np.sqrt((axes**2) @ semi_axes**2) + MARGIN
    slices, part = grid.block(centre - half, centre + half)
    x, y, z = part.axes()
    x, y, z = x - np.float32(centre[0]), y - np.float32(centre[1]), z - np.float32(centre[2])
    along = [(np.float32(a[0]) * x + np.float32(a[1]) * y + np.float32(a[2]) * z) for a in axes.T]
    first = np.sqrt(sum((c / np.float32(s)) ** 2 for c, s in zip(along, semi_axes, strict=True)))
    second = np.sqrt(sum((c / np.float32(s * s)) ** 2 for c, s in zip(along, semi_axes, strict=True)))
    np.minimum(field[slices], first * (first - 1) / (second + np.float32(1e-6)), out=field[slices])


def add_duct(field: FloatArray, grid: VoxelGrid, duct: Duct) -> None:
    """Unite a field in place with the cochlear duct's lumen.

    Args:
        field: Signed distances, mm.
        grid: Where its voxels lie.
        duct: The duct.
    """
    wall = duct.rings(8).reshape(-1, 3)
    slices, part = grid.block(wall.min(0) - MARGIN, wall.max(0) + MARGIN)
    points = np.stack(np.broadcast_arrays(*part.axes()), axis=-1)
    local = to_cochlear(points.astype(float)).astype(np.float32)
    radius, height = np.hypot(local[..., 0], local[..., 1]), local[..., 2]
    azimuth = np.degrees(np.arctan2(local[..., 1], local[..., 0])) - np.float32(ROUND_WINDOW_ANGLE_DEG)
    start, end = float(duct.angle_deg[0]), float(duct.angle_deg[-1])
    first_turn = np.mod(azimuth - np.float32(start), np.float32(360)) + np.float32(start)
    best = np.full(radius.shape, FAR, dtype=np.float32)
    for turn in range(int((end - start) // 360) + 1):
        angle = first_turn + np.float32(360 * turn)
        near = angle <= end
        at = np.clip((angle[near] - start) / (duct.angle_deg[1] - start), 0, len(duct.angle_deg) - 1.001)
        low = at.astype(int)
        weight = (at - low).astype(np.float32)

        def value(table: FloatArray, low: FloatArray = low, weight: FloatArray = weight) -> FloatArray:
            table = table.astype(np.float32)
            return table[low] * (1 - weight) + table[low + 1] * weight

        along_r, along_h = radius[near] - value(duct.radius), height[near] - value(duct.height)
        cos, sin = value(np.cos(duct.tilt_rad)), value(np.sin(duct.tilt_rad))
        long, short = value(duct.long), value(duct.short)
        a, b = along_r * cos + along_h * sin, along_h * cos - along_r * sin
        first = np.hypot(a / long, b / short)
        second = np.hypot(a / long**2, b / short**2) + np.float32(1e-6)
        best[near] = np.minimum(best[near], first * (first - 1) / second)
    np.minimum(field[slices], best, out=field[slices])
    add_balls(field, grid, duct.centre_line()[-1:], duct.short[-1:])
