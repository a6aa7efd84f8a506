"""Rigid registration of the reference to a scan, from coarse to fine, by correlation (SimpleITK).

The last level sees a cube around the cochlea only: mastoid and skull differ between people, and pull the cochlea away.
"""

from typing import Literal, NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from medlangevin.imaging.localise import BALL_CENTRE_MM, BALL_RADIUS_MM, Array, Candidate, prepare, search
from medlangevin.imaging.reference import CROP_CENTRE_MM, LUMEN_WALL_HU, Reference, axis_aligned_grid, clipped

OUTSIDE = -32000.0
AIR_EDGE_HU = -300.0
# Two fits nearer than this are one ear (and its mirror image); the two ears of a head are over 60 mm apart.
SAME_EAR_MM = 20.0
# A side that fits worse than this is not refined further: it is no ear, and would take longest.
HOPELESS_NCC = 0.4
# A fit further off than this is another place, not the same one found less well.
ELSEWHERE_MM = 4.0
Method = Literal["block", "correlation"]
# Corners of a box about the cochlear lumen: what they move by is what the lumen's points move by, at most.
LUMEN_BOX_MM = np.array([[x, y, z] for x in (-4.5, 4.5) for y in (-3.5, 3.5) for z in (-3.0, 3.0)])


class Level(NamedTuple):
    """One level: the reference's box (or the ``ball`` in it) on a grid of ``spacing_mm``, both images smoothed.

    ``wall_mm``: only what lies in a lumen or this near to one counts, and nothing this near to air.
    """

    centre_mm: tuple[float, float, float]
    half_mm: tuple[float, float, float]
    spacing_mm: float
    sigma_mm: float
    ball: bool
    wall_mm: float
    iterations: int
    step_mm: float
    min_step_mm: float


LABYRINTH_COARSE = Level(BALL_CENTRE_MM, (BALL_RADIUS_MM,) * 3, 1.0, 0.8, True, np.inf, 60, 1.0, 0.02)
LABYRINTH = Level(BALL_CENTRE_MM, (BALL_RADIUS_MM,) * 3, 0.6, 0.4, True, np.inf, 60, 0.4, 0.01)
# The walls of the duct alone place it; bone further off and the middle ear differ between people and pull it away.
COCHLEA = Level(CROP_CENTRE_MM, (6.25, 6.25, 5.75), 0.4, 0.2, False, 0.8, 60, 0.2, 0.003)
# For judging only: all that the crop shows.
CROP = COCHLEA._replace(sigma_mm=0.25, wall_mm=np.inf)


class Fit(NamedTuple):
    """A registered place: reference point p lies at ``rotation`` @ p + ``translation`` in the (mirrored) scan, LPS mm.

    ``ncc``: correlation with the reference around the cochlea; ``labyrinth_ncc``: around the whole labyrinth.
    ``agreement_mm``: largest distance, over the lumen's box, between the results of two independent starts; infinite
    when only one led anywhere. ``residual_mm``: median residual of the blocks kept, nan where no blocks were matched.
    ``runner_up_ncc``: ``ncc`` of the best fit elsewhere (over 4 mm away) in the same scan and side, -1 without one.
    """

    ncc: float
    labyrinth_ncc: float
    mirrored: bool
    rotation: Array
    translation: Array
    agreement_mm: float = np.inf
    residual_mm: float = np.nan
    runner_up_ncc: float = -1.0

    @property
    def matrix(self) -> Array:
        """(4, 4): from the reference frame to LPS of the scan itself; determinant -1 for a left ear."""
        flip = np.diag([-1.0 if self.mirrored else 1.0, 1.0, 1.0])
        matrix = np.eye(4)
        matrix[:3, :3] = flip @ self.rotation
        matrix[:3, 3] = flip @ self.translation
        return matrix


class Matcher:
    """A reference, prepared once per process for matching many scans."""

    def __init__(self, reference: Reference, *, method: Method = "correlation") -> None:
        self.reference = reference
        self.method = method
        self._templates = prepare(reference)
        self._fixed: dict[Level, tuple[sitk.Image, sitk.Image]] = {}

    def fixed(self, level: Level) -> tuple[sitk.Image, sitk.Image]:
        """The reference at a level, and its mask."""
        if level not in self._fixed:
            centre, half = np.array(level.centre_mm), np.array(level.half_mm)
            image = axis_aligned_grid(
                clipped(self.reference.image, level.sigma_mm), centre - half, centre + half, level.spacing_mm, outside=0
            )
            self._fixed[level] = image, _mask(image, level, self.reference.image)
        return self._fixed[level]

    def fits(self, scan: sitk.Image) -> list[Fit]:
        """The best fit on each side of a scan, best first. ``scan``: HU in LPS; at most two fits, right and left."""
        candidates = search(scan, self._templates)
        found = [
            self._best(scan, [item for item in candidates if item.mirrored is side], side) for side in (False, True)
        ]
        return sorted((fit for fit in found if fit is not None), key=lambda fit: -fit.ncc)

    def _best(self, scan: sitk.Image, candidates: list[Candidate], mirrored: bool) -> Fit | None:
        seen = mirror(scan) if mirrored else scan
        coarse = [self._align(seen, _start(item), LABYRINTH_COARSE) for item in candidates]
        # Stable, so the second start of the best candidate can be told by its number.
        order = sorted(range(len(coarse)), key=lambda number: -coarse[number].ncc)
        if not order:
            return None
        first = order[0]
        start = coarse[first]
        best = start
        if start.ncc >= HOPELESS_NCC:
            best = self._align(seen, start, LABYRINTH)
            for number in order[1:3]:
                other = coarse[number]
                apart = float(np.linalg.norm(other.translation - start.translation))
                if apart > 1.0 and other.ncc > start.ncc - 0.15:
                    rival = self._align(seen, other, LABYRINTH)
                    if rival.ncc > best.ncc:
                        best, first = rival, number
                    break
        hopeful = best.ncc >= HOPELESS_NCC
        fine = self._align(seen, best, COCHLEA) if hopeful else best
        elsewhere = [other for other in coarse if distance_mm(other, fine) > ELSEWHERE_MM]
        return fine._replace(
            ncc=self._correlation(seen, fine, CROP),
            labyrinth_ncc=best.ncc,
            agreement_mm=self._agreement(seen, fine, candidates[first].second) if hopeful else np.inf,
            runner_up_ncc=max((self._correlation(seen, other, CROP) for other in elsewhere), default=-1.0),
        )

    def _agreement(self, seen: sitk.Image, fit: Fit, second: Candidate) -> float:
        """How far from ``fit`` the same search ends that starts at ``second``, mm."""
        other = _start(second)
        for level in (LABYRINTH_COARSE, LABYRINTH, COCHLEA):
            other = self._align(seen, other, level)
            if other.ncc < HOPELESS_NCC:
                return float(np.inf)
        return distance_mm(fit, other)

    def _align(self, seen: sitk.Image, start: Fit, level: Level) -> Fit:
        """``start`` improved at one level; its ``ncc`` is that level's, -1 where too little of the scan overlaps."""
        method, moving, transform = self._set_up(seen, start, level)
        method.SetOptimizerAsRegularStepGradientDescent(
            level.step_mm, level.min_step_mm, level.iterations, gradientMagnitudeTolerance=1e-9
        )
        # One radian moves the edge of an 8 mm ball by 8 mm.
        method.SetOptimizerScales([64.0, 64.0, 64.0, 1.0, 1.0, 1.0])
        try:
            method.Execute(self.fixed(level)[0], moving)
        except RuntimeError:
            return start._replace(ncc=-1.0)
        rotation = np.array(transform.GetMatrix()).reshape(3, 3)
        centre = np.array(level.centre_mm)
        translation = np.array(transform.GetTranslation()) + centre - rotation @ centre
        return start._replace(ncc=-float(method.GetMetricValue()), rotation=rotation, translation=translation)

    def _correlation(self, seen: sitk.Image, fit: Fit, level: Level) -> float:
        """Correlation of scan and reference at a level as ``fit`` stands; -1 where too little overlaps."""
        method, moving, _ = self._set_up(seen, fit, level)
        try:
            return -float(method.MetricEvaluate(self.fixed(level)[0], moving))
        except RuntimeError:
            return -1.0

    def _set_up(
        self, seen: sitk.Image, start: Fit, level: Level
    ) -> tuple[sitk.ImageRegistrationMethod, sitk.Image, sitk.Euler3DTransform]:
        """The metric of a level, the part of the scan it can see, and the transform that starts at ``start``."""
        centre = np.array(level.centre_mm)
        middle = start.rotation @ centre + start.translation
        half = max(level.half_mm) if level.ball else float(np.linalg.norm(level.half_mm))
        # What the level may still move, and the margin of smoothing.
        reach = half + 3.0 * level.spacing_mm + 2.0
        patch = axis_aligned_grid(seen, middle - reach, middle + reach, 0.75 * level.spacing_mm, outside=OUTSIDE)
        transform = _euler(start, centre)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetMetricFixedMask(self.fixed(level)[1])
        method.SetMetricMovingMask(patch > OUTSIDE / 2)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(transform, True)
        return method, clipped(patch, level.sigma_mm), transform


def distance_mm(first: Fit, second: Fit) -> float:
    """Largest distance between where two fits of one side put the corners of the lumen's box."""
    apart = LUMEN_BOX_MM @ (first.rotation - second.rotation).T + first.translation - second.translation
    return float(np.linalg.norm(apart, axis=1).max())


def mirror(scan: sitk.Image) -> sitk.Image:
    """The same voxels in a mirrored world (x -> -x): exact, nothing is resampled."""
    flip = np.diag([-1.0, 1.0, 1.0])
    mirrored = sitk.Image(scan)
    mirrored.SetOrigin((flip @ np.array(scan.GetOrigin())).tolist())
    mirrored.SetDirection((flip @ np.array(scan.GetDirection()).reshape(3, 3)).ravel().tolist())
    return mirrored


def distinct_ears(fits: list[Fit]) -> list[Fit]:
    """Drop a fit that lies where a better one of the other side lies: it is that ear, mirrored."""
    kept: list[Fit] = []
    for fit in sorted(fits, key=lambda item: -item.ncc):
        place = fit.matrix[:3, 3]
        if all(np.linalg.norm(place - other.matrix[:3, 3]) > SAME_EAR_MM for other in kept):
            kept.append(fit)
    return kept


def mirror_rival(fit: Fit, fits: list[Fit]) -> float:
    """Correlation of the other side's fit at the same place as ``fit``; -1 when there is none."""
    others = [other for other in fits if other.mirrored is not fit.mirrored]
    near = [other for other in others if np.linalg.norm(other.matrix[:3, 3] - fit.matrix[:3, 3]) <= SAME_EAR_MM]
    return max((other.ncc for other in near), default=-1.0)


def _start(item: Candidate) -> Fit:
    return Fit(-1.0, item.score, item.mirrored, item.rotation, item.translation)


def _euler(start: Fit, centre: Array) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(start.rotation.ravel().tolist(), 1e-6)
    transform.SetTranslation((start.rotation @ centre + start.translation - centre).tolist())
    return transform


def _mask(image: sitk.Image, level: Level, reference: sitk.Image) -> sitk.Image:
    axes = [image.GetOrigin()[a] + image.GetSpacing()[a] * np.arange(image.GetSize()[a]) for a in (2, 1, 0)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    offset = np.stack([x, y, z], axis=-1) - np.array(level.centre_mm)
    inside: NDArray[np.bool_] = np.ones(x.shape, dtype=bool)
    if level.ball:
        inside = np.linalg.norm(offset, axis=-1) <= max(level.half_mm)
    if np.isfinite(level.wall_mm):
        hu = sitk.GetArrayFromImage(sitk.Resample(reference, image))
        to_lumen = distance_transform_edt(hu > LUMEN_WALL_HU) * level.spacing_mm
        to_air = distance_transform_edt(hu > AIR_EDGE_HU) * level.spacing_mm
        inside &= (to_lumen < level.wall_mm) & (to_air > level.wall_mm)
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    return mask
