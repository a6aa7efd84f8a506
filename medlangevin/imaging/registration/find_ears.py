"""The ears in one scan, each judged: registration, mirror hypothesis at its place, coil, coverage."""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from medlangevin.imaging.reading.consistency import step_ratio
from medlangevin.imaging.registration import register
from medlangevin.imaging.registration.coil_check import CoilCheck
from medlangevin.imaging.registration.correlation import align
from medlangevin.imaging.registration.crop import Array, Grid, inside_scan, region_of_grid
from medlangevin.imaging.registration.levels import LABYRINTH, LABYRINTH_COARSE
from medlangevin.imaging.registration.localise import BALL_CENTRE_MM, SEARCH_SIGMA_MM, search
from medlangevin.imaging.registration.quality import COVERAGE_FAILED, Figures, Verdict, cut_off, is_candidate, judge
from medlangevin.imaging.registration.reference import CLIP_HU, clipped
from medlangevin.imaging.registration.register import Fit, Matcher, distinct_ears, mirror_rival

# What is looked at again around one fit: the template's ball, wherever it turns, and what the registration may move.
AROUND_MM = 30.0
_AROUND = Grid(tuple(centre - AROUND_MM / 2 for centre in BALL_CENTRE_MM), (2, 2, 2), AROUND_MM)
# A cut ear is sought with a scan that goes on for this much at its mean value, which says nothing for or against.
BEYOND_MM = 8.0
# Correlation of what is left of a cut ear.
CUT_NCC = 0.7


class FoundEar(NamedTuple):
    """One ear of a scan, judged.

    Attributes:
        figures: Its registration and what is known of it.
        verdict: Whether to trust it.
    """

    figures: Figures
    verdict: Verdict

    @property
    def fit(self) -> Fit:
        """Its registration."""
        return self.figures.fit


def find_ears(scan: sitk.Image, matcher: Matcher) -> list[FoundEar]:
    """Find the places in a scan where an ear fits best.

    When there is no ear the scan may have been cut through one: then that is what is found.

    Args:
        scan: HU in LPS.
        matcher: The reference, prepared.

    Returns:
        At most one ear for each side, best first; also those that failed.
    """
    check = CoilCheck(matcher.reference)
    fits = matcher.fits(scan)
    ears = [_judged(scan, fit, fits, matcher, check) for fit in distinct_ears(fits)]
    if any(is_candidate(ear.verdict) for ear in ears):
        return ears
    return _cut_ears(scan, matcher, check) + ears


def surroundings(scan: sitk.Image, matrix: Array) -> sitk.Image:
    """Cut out the original voxels around an ear: what its registration looks at, without the rest of the head.

    Args:
        scan: HU in LPS.
        matrix: (4, 4), from the reference frame to LPS of the scan.

    Returns:
        The part of the scan.
    """
    return region_of_grid(scan, matrix, _AROUND)


def _judged(scan: sitk.Image, fit: Fit, fits: list[Fit], matcher: Matcher, check: CoilCheck) -> FoundEar:
    coverage = float(inside_scan(scan, fit.matrix).mean())
    step = step_ratio(sitk.GetArrayFromImage(surroundings(scan, fit.matrix)))
    figures = Figures(fit, mirror_rival(fit, fits), check.figures(scan, fit.matrix), coverage, step)
    verdict = judge(figures.values)
    if verdict.word != "failed" and figures.mirror_ncc == -1.0:
        # The best mirrored fit lies elsewhere, as the other ear of a head does: ask again at this place alone.
        rival = matcher.mirrored_ncc(surroundings(scan, fit.matrix), fit)
        figures = figures._replace(mirror_ncc=rival)
        verdict = judge(figures.values)
    return FoundEar(figures, verdict)


def _cut_ears(scan: sitk.Image, matcher: Matcher, check: CoilCheck) -> list[FoundEar]:
    """An ear that lies partly beyond the scan's edge, where the search needs more of its surroundings than there is.

    Places are sought as if the scan went on; what decides is the part of the crop that the scan does show.
    """
    margin = np.ceil(BEYOND_MM / np.array(scan.GetSpacing())).astype(int).tolist()
    mean = float(np.clip(sitk.GetArrayViewFromImage(scan), *CLIP_HU).mean())
    longer = sitk.ConstantPad(scan, margin, margin, mean)
    best: list[tuple[float, FoundEar]] = []
    for candidate in search(clipped(longer, SEARCH_SIGMA_MM), matcher.templates):
        # From afar what lies beyond the edge keeps the overlap from shrinking; then only what was scanned counts.
        level = LABYRINTH_COARSE
        pose, _ = align(matcher.fixed_image(level), longer, candidate.pose, level, register.COARSE_DESCENT)
        pose, labyrinth_ncc = align(matcher.fixed_image(LABYRINTH), scan, pose, LABYRINTH, register.MIDDLE_DESCENT)
        ncc = check.crop_ncc(scan, pose)
        coverage = float(inside_scan(scan, pose).mean())
        if coverage < COVERAGE_FAILED and ncc > CUT_NCC:
            fit = Fit(ncc**2, labyrinth_ncc, candidate.mirrored, pose)
            figures = Figures(fit, -1.0, check.figures(scan, pose), coverage)
            best.append((ncc, FoundEar(figures, cut_off(coverage))))
    # A half ear's mirror image may fit well too: one place, one ear.
    return [max(best, key=lambda item: item[0])[1]] if best else []
