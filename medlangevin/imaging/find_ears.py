"""The ears in one scan, each judged: its registration, the mirror hypothesis at its place, what the scan covers."""

from typing import NamedTuple

import SimpleITK as sitk

from medlangevin.imaging.crop import Grid, inside_scan, region_of_grid
from medlangevin.imaging.localise import BALL_CENTRE_MM, Array
from medlangevin.imaging.quality import Verdict, judge
from medlangevin.imaging.register import Fit, Matcher, distinct_ears, mirror_rival

# What is looked at again around one fit: the template's ball, wherever it turns, and what the registration may move.
AROUND_MM = 30.0
_AROUND = Grid(tuple(centre - AROUND_MM / 2 for centre in BALL_CENTRE_MM), (2, 2, 2), AROUND_MM)


class FoundEar(NamedTuple):
    """``mirror_ncc``: correlation of the best mirrored fit at the same place, -1 where nothing mirrored fits.

    ``coverage``: part of the crop inside the scan.
    """

    fit: Fit
    mirror_ncc: float
    coverage: float
    verdict: Verdict


def find_ears(scan: sitk.Image, matcher: Matcher) -> list[FoundEar]:
    """The places in a scan where an ear fits best, at most one for each side, best first; also those that failed.

    ``scan``: HU in LPS.
    """
    fits = matcher.fits(scan)
    return [_judged(scan, fit, fits, matcher) for fit in distinct_ears(fits)]


def surroundings(scan: sitk.Image, matrix: Array) -> sitk.Image:
    """The original voxels around an ear: what its registration looks at, without the rest of the head.

    ``matrix``: (4, 4), from the reference frame to LPS of the scan.
    """
    return region_of_grid(scan, matrix, _AROUND)


def _judged(scan: sitk.Image, fit: Fit, fits: list[Fit], matcher: Matcher) -> FoundEar:
    mirror_ncc = mirror_rival(fit, fits)
    coverage = float(inside_scan(scan, fit.matrix).mean())
    verdict = judge(fit, mirror_ncc, coverage)
    if verdict.word != "failed" and mirror_ncc == -1.0 and len(fits) > 1:
        # The best mirrored fit lies elsewhere, as the other ear of a head does: ask again at this place alone.
        mirror_ncc = mirror_rival(fit, matcher.fits(surroundings(scan, fit.matrix)))
        verdict = judge(fit, mirror_ncc, coverage)
    return FoundEar(fit, mirror_ncc, coverage, verdict)
