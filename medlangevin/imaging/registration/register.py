"""Rigid registration of the reference to a scan: search, block matching from coarse to fine, correlation at the end.

The last level sees the walls of the cochlea only: mastoid and skull differ between people, and pull the cochlea away.
"""

from functools import cache, partial
from typing import Literal, NamedTuple

import numpy as np
import SimpleITK as sitk

from medlangevin.imaging.registration import levels, localise
from medlangevin.imaging.registration.block_registration import LEVELS, BlockLevel, prepare_blocks, refine
from medlangevin.imaging.registration.correlation import Descent, align, correlation_at
from medlangevin.imaging.registration.crop import Array
from medlangevin.imaging.registration.levels import Level
from medlangevin.imaging.registration.localise import BALL_CENTRE_MM, SEARCH_SIGMA_MM, Candidate, search
from medlangevin.imaging.registration.reference import Reference, clipped

Method = Literal["block", "correlation"]
# Two fits nearer than this are one ear (and its mirror image); the two ears of a head are over 60 mm apart.
SAME_EAR_MM = 20.0
# A side that fits worse than this is not refined further: it is not an ear, and would take longest.
MIN_REFINED_NCC = 0.4
# A start this much worse than the best at the coarse level may still win at the next.
NEARLY_AS_GOOD = 0.15
# A fit further off than this is another place, not the same one found less well.
ELSEWHERE_MM = 4.0
# Corners of a box about the cochlear lumen: what they move by is what the lumen's points move by, at most.
LUMEN_BOX_MM = np.array([[x, y, z] for x in (-4.5, 4.5) for y in (-3.5, 3.5) for z in (-3.0, 3.0)])
COARSE_DESCENT = Descent(60, 1.0, 0.02)
MIDDLE_DESCENT = Descent(60, 0.4, 0.01)
POLISH = Descent(60, 0.2, 0.003)


class Fit(NamedTuple):
    """A registered place.

    Attributes:
        ncc: Squared correlation with the reference (sign kept) around the cochlea.
        labyrinth_ncc: The same around the whole labyrinth, at the level before the last.
        mirrored: Whether it is a left ear.
        matrix: (4, 4): from the reference frame to LPS mm of the scan itself; determinant -1 for a left ear.
        agreement_mm: Largest distance, over the lumen's box, between the results of two independent starts; infinite
            when only one led anywhere.
        residual_mm: Median residual of the blocks kept, NaN where no blocks were matched.
        runner_up_ncc: ``ncc`` of the best fit elsewhere (over 4 mm away) in the same scan and side, -1 without one.
    """

    ncc: float
    labyrinth_ncc: float
    mirrored: bool
    matrix: Array
    agreement_mm: float = np.inf
    residual_mm: float = np.nan
    runner_up_ncc: float = -1.0


class _Scan(NamedTuple):
    hu: sitk.Image
    smooth: sitk.Image  # clipped and smoothed by SEARCH_SIGMA_MM


class _Trial(NamedTuple):
    """How far a start has come: its pose, the correlation at its last level, the median residual of its blocks."""

    pose: Array
    ncc: float
    residual_mm: float = np.nan


class Matcher:
    """A reference, prepared once per process for matching many scans.

    Args:
        reference: The reference ear.
        method: ``block``, block matching polished by correlation, or ``correlation`` at every level (SimpleITK).

    Attributes:
        reference: As given.
        method: As given.
        templates: The reference, turned for the search.
        fixed_image: The reference at a ``Level``, made once.
    """

    def __init__(self, reference: Reference, *, method: Method = "block") -> None:
        self.reference = reference
        self.method = method
        self.templates = localise.prepare(reference)
        self.fixed_image = cache(partial(levels.fixed_image, reference))
        self._prepared = cache(partial(prepare_blocks, reference))

    def fits(self, scan: sitk.Image) -> list[Fit]:
        """Find the best fit on each side of a scan.

        Args:
            scan: HU in LPS.

        Returns:
            At most two fits, right and left, best first.
        """
        views = _Scan(scan, clipped(scan, SEARCH_SIGMA_MM))
        candidates = search(views.smooth, self.templates)
        found = [self._best(views, [item for item in candidates if item.mirrored is side]) for side in (False, True)]
        return sorted((fit for fit in found if fit is not None), key=lambda fit: -fit.ncc)

    def mirrored_ncc(self, scan: sitk.Image, fit: Fit) -> float:
        """Fit the other side at the very place of a fit.

        Args:
            scan: HU in LPS, best only what lies about that place.
            fit: A fit in this scan.

        Returns:
            ``ncc`` of the best fit of the other side; -1 when nothing of that side correlates there at all.
        """
        views = _Scan(scan, clipped(scan, SEARCH_SIGMA_MM))
        centre = fit.matrix[:3, :3] @ np.array(BALL_CENTRE_MM) + fit.matrix[:3, 3]
        found = search(views.smooth, self.templates, about=centre)
        starts = [item.pose for item in found if item.mirrored is not fit.mirrored]
        return self._correlation(views, self._descend(views, starts)[1].pose) if starts else -1.0

    def _best(self, scan: _Scan, candidates: list[Candidate]) -> Fit | None:
        """The best fit from candidates of one side."""
        if not candidates:
            return None
        best, fine, coarse = self._descend(scan, [item.pose for item in candidates])
        ncc = self._correlation(scan, fine.pose)
        agreement_mm = self._agreement(scan, fine, candidates) if best.ncc >= MIN_REFINED_NCC else np.inf
        runner_up_ncc = self._runner_up(scan, fine, coarse)
        mirrored = candidates[0].mirrored
        return Fit(ncc, best.ncc, mirrored, fine.pose, agreement_mm, best.residual_mm, runner_up_ncc)

    def _descend(self, scan: _Scan, starts: list[Array]) -> tuple[_Trial, _Trial, list[_Trial]]:
        """The best of some starts at the middle level, that one polished, and all starts at the coarse level."""
        coarse = sorted((self._coarse(scan, start) for start in starts), key=lambda trial: -trial.ncc)
        best = coarse[0]
        if best.ncc < MIN_REFINED_NCC:
            return best, best, coarse
        best = self._middle(scan, coarse[0])
        for other in coarse[1:3]:
            if distance_mm(other.pose, coarse[0].pose) > ELSEWHERE_MM and other.ncc > coarse[0].ncc - NEARLY_AS_GOOD:
                best = max(best, self._middle(scan, other), key=lambda trial: trial.ncc)
                break
        if best.ncc < MIN_REFINED_NCC:
            return best, best, coarse
        return best, self._polish(scan, best), coarse

    def _agreement(self, scan: _Scan, fit: _Trial, candidates: list[Candidate]) -> float:
        """How far from ``fit`` the same search ends that starts where the nearest candidate lies, turned otherwise."""
        nearest = min(candidates, key=lambda item: distance_mm(item.pose, fit.pose))
        other = self._coarse(scan, nearest.second_pose)
        for further in (self._middle, self._polish):
            if other.ncc < MIN_REFINED_NCC:
                return float(np.inf)
            other = further(scan, other)
        return distance_mm(fit.pose, other.pose) if other.ncc >= 0 else float(np.inf)

    def _runner_up(self, scan: _Scan, fit: _Trial, coarse: list[_Trial]) -> float:
        """``ncc`` of the best of the starts that led elsewhere, followed one level further; -1 without one."""
        for trial in coarse:
            if distance_mm(trial.pose, fit.pose) > ELSEWHERE_MM:
                other = self._middle(scan, trial)
                if distance_mm(other.pose, fit.pose) > ELSEWHERE_MM:
                    return self._correlation(scan, other.pose)
        return -1.0

    def _coarse(self, scan: _Scan, start: Array) -> _Trial:
        return self._labyrinth(scan, start, LEVELS[0], levels.LABYRINTH_COARSE, COARSE_DESCENT)

    def _middle(self, scan: _Scan, start: _Trial) -> _Trial:
        return self._labyrinth(scan, start.pose, LEVELS[1], levels.LABYRINTH, MIDDLE_DESCENT)

    def _labyrinth(self, scan: _Scan, start: Array, step: BlockLevel, level: Level, descent: Descent) -> _Trial:
        """By blocks at ``step``, or by correlation at ``level``."""
        if self.method == "block":
            return _Trial(*refine(self._prepared(step), scan.smooth, start))
        return _Trial(*align(self.fixed_image(level), scan.hu, start, level, descent))

    def _polish(self, scan: _Scan, start: _Trial) -> _Trial:
        level = levels.COCHLEA
        return _Trial(*align(self.fixed_image(level), scan.hu, start.pose, level, POLISH), start.residual_mm)

    def _correlation(self, scan: _Scan, pose: Array) -> float:
        return correlation_at(self.fixed_image(levels.CROP), scan.hu, pose, levels.CROP)


def distinct_ears(fits: list[Fit]) -> list[Fit]:
    """Drop a fit that lies where a better one of the other side lies: it is that ear, mirrored.

    Args:
        fits: Of one scan.

    Returns:
        Those of different places, best first.
    """
    kept: list[Fit] = []
    for fit in sorted(fits, key=lambda item: -item.ncc):
        if not any(at_one_place(fit.matrix, other.matrix) for other in kept):
            kept.append(fit)
    return kept


def mirror_rival(fit: Fit, fits: list[Fit]) -> float:
    """Look for a fit of the other side at the same place.

    Args:
        fit: A fit.
        fits: All of the same scan.

    Returns:
        Its correlation; -1 when there is none.
    """
    others = (other for other in fits if other.mirrored is not fit.mirrored)
    return max((other.ncc for other in others if at_one_place(other.matrix, fit.matrix)), default=-1.0)


def at_one_place(first: Array, second: Array) -> bool:
    """Tell whether two poses are of one ear, on whichever side each.

    Args:
        first: (4, 4).
        second: (4, 4), into the same scan.

    Returns:
        Whether they lie within 20 mm.
    """
    return bool(np.linalg.norm(first[:3, 3] - second[:3, 3]) <= SAME_EAR_MM)


def distance_mm(first: Array, second: Array) -> float:
    """Measure how far apart two poses put the cochlear lumen.

    Args:
        first: (4, 4).
        second: (4, 4), into the same scan.

    Returns:
        mm: the largest distance over the corners of the lumen's box.
    """
    apart = LUMEN_BOX_MM @ (first - second)[:3, :3].T + (first - second)[:3, 3]
    return float(np.linalg.norm(apart, axis=1).max())
