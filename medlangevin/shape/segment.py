"""The cochlear lumen of a crop as a level set: half-height threshold, leaks closed, cut off from the vestibule."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from medlangevin.shape import coordinates
from medlangevin.shape.levels import Levels, NoLumenError, deconvolve, estimate_levels

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PSF_SIGMA_MM = 0.2
_OPENING_MM = 0.3  # necks thinner than twice this do not connect
_AIR_LAYER_MM = 0.35
_LEAK_MM = 0.25  # beside the region the deconvolution moves a wall by a fraction of a voxel; more is a leak
_MIN_AIR_MM3 = 0.3
_MIN_CORE_MM3 = 8.0
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Lumen:
    """A segmented cochlear lumen.

    Attributes:
        level: Level set (i, j, k), positive inside, zero on the wall, linear between voxels; near the wall about the mm
            to it.
        affine: Voxel to RAS mm (4, 4).
        levels: The grey levels found.
        notes: What a reader should know.
    """

    level: Array
    affine: Array
    levels: Levels
    notes: tuple[str, ...] = ()


def segment_lumen(hu: NDArray[np.generic], affine: Array) -> Lumen:
    """Segment the cochlear lumen of a crop in the reference frame.

    The wall is the half height between this volume's own fluid and bone level (sub-voxel), after a mild deconvolution
    with a Gaussian of 0.2 mm. The internal auditory canal is split off by a watershed along the ridge between it and
    the duct and by ``coordinates.canal_distance``. Necks thinner than 0.6 mm (cochlear aperture, windows, facial canal)
    do not connect. The vestibule is cut off at ``coordinates.vestibule_cut_distance``.

    Args:
        hu: Grey values (i, j, k): CT numbers, or any scale on which fluid is dark and bone bright.
        affine: Voxel to RAS mm (4, 4).

    Returns:
        The lumen.

    Raises:
        NoLumenError: There is no such lumen; one line says why.
    """
    values = np.asarray(hu, dtype=np.float64)
    affine = np.asarray(affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if values.ndim != 3 or min(values.shape) < 8:
        raise NoLumenError(f"the volume has shape {values.shape}; three axes of at least 8 voxels are needed")
    uvh = coordinates.to_modiolar(coordinates.voxel_centres_lps(values.shape, affine))
    levels = estimate_levels(values, uvh, voxel_mm3=float(np.prod(spacing)))
    # Air and metal only ring in the deconvolution; what matters lies between fluid and bone.
    contrast = levels.bone - levels.fluid
    clipped = np.clip(values, levels.air_bound, levels.bone + 0.2 * contrast)
    region = lumen_region(values, uvh, levels, spacing)
    sharp = deconvolve(clipped, spacing, psf_sigma_mm=_PSF_SIGMA_MM)
    # A blurred edge has the slope contrast / (sqrt(2 pi) sigma), which turns grey values into mm near the wall.
    level = (levels.half - sharp) / contrast * np.sqrt(2 * np.pi) * _PSF_SIGMA_MM
    level = _restrict(level, region)
    level = np.minimum(level, coordinates.vestibule_cut_distance(uvh))
    level = np.minimum(level, coordinates.canal_distance(uvh))
    level = _largest_component(level)
    notes = ("the lumen reaches the edge of the volume and is cut there",) if _touches_border(level) else ()
    return Lumen(level, affine, levels, notes)


def lumen_region(values: Array, uvh: Array, levels: Levels, spacing: Array) -> Mask:
    """The voxels that belong to the cochlear lumen or the hook in front of the vestibule, leaks closed.

    Args:
        values: Grey values (i, j, k).
        uvh: Modiolar coordinates (i, j, k, 3) in mm.
        levels: Grey levels of fluid and bone.
        spacing: Size of a voxel (3,) in mm.

    Returns:
        True for these (i, j, k).

    Raises:
        NoLumenError: No component of a cochlea's size lies where the duct should be.
    """
    # Between air and bone there is a layer with fluid's grey value that is not fluid: keep clear of air.
    from_air = ndimage.distance_transform_edt(~_air(values, levels, spacing), sampling=spacing)
    fluid = (values < levels.half) & (from_air > _AIR_LAYER_MM)
    radius, height = np.hypot(uvh[..., 0], uvh[..., 1]), uvh[..., 2]
    fluid &= coordinates.reach_distance(uvh) > 0
    # A margin beyond the cut keeps the opening below from gnawing at the duct's open end.
    fluid &= coordinates.vestibule_cut_distance(uvh) > -3 * spacing.max()
    canal = coordinates.canal_distance(uvh) < 0
    duct_zone = (np.abs(height) < 1.0) & (radius > 1.6) & (radius < 4.5) & (uvh[..., 0] < 3.0)
    markers = np.zeros(values.shape, dtype=np.int32)
    markers[fluid & canal & (height < -1.0)] = 2
    markers[fluid & duct_zone & (np.abs(height) < 0.5) & (radius > 2.2) & (radius < 3.4)] = 1
    own = (watershed(ndimage.gaussian_filter(values, 0.14 / spacing), markers, mask=fluid) == 1) & ~canal
    core = ndimage.distance_transform_edt(own, sampling=spacing) > _OPENING_MM
    parts, count = ndimage.label(core)
    sizes = np.bincount(parts[duct_zone], minlength=count + 1)
    sizes[0] = 0
    if sizes.max(initial=0) * np.prod(spacing) < _MIN_CORE_MM3 * 0.25:
        raise NoLumenError("no fluid-filled duct found where the cochlea should be")
    core = parts == sizes.argmax()
    if core.sum() * np.prod(spacing) < _MIN_CORE_MM3:
        raise NoLumenError("the fluid-filled space found is too small for a cochlea")
    near = ndimage.distance_transform_edt(~core, sampling=spacing) <= _OPENING_MM + spacing.max()
    return np.asarray(ndimage.binary_propagation(core, mask=own & near))


def _air(values: Array, levels: Levels, spacing: Array) -> Mask:
    """Air spaces of at least 0.3 mm3: single dark voxels are noise, also within the lumen."""
    parts, count = ndimage.label(values <= levels.air_bound)
    large = np.bincount(parts.ravel(), minlength=count + 1) * np.prod(spacing) >= _MIN_AIR_MM3
    large[0] = False
    return np.asarray(large[parts])


def _restrict(level: Array, region: Mask) -> Array:
    """Keep the level set's own values in the region and one voxel around, and make all else outside (negative)."""
    shell = ndimage.binary_dilation(region, structure=_NEIGHBOURS)
    outside = -np.maximum(np.abs(level), 1e-3)
    kept = np.where(shell, level, outside)
    # Fluid beside the region that is not part of it must not become lumen through the shell.
    return np.where(shell & ~region & (kept > _LEAK_MM), -kept, kept)


def _largest_component(level: Array) -> Array:
    """Make every positive part but the largest negative."""
    parts, count = ndimage.label(level > 0)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    if not sizes.any():
        raise NoLumenError("nothing is left of the lumen after the cuts to vestibule and auditory canal")
    return np.where((parts > 0) & (parts != sizes.argmax()), -np.abs(level), level)


def _touches_border(level: Array) -> bool:
    faces = (level[0], level[-1], level[:, 0], level[:, -1], level[:, :, 0], level[:, :, -1])
    return bool(max(float(face.max()) for face in faces) > 0)
