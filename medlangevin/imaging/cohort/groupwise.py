"""The unbiased mean image of a cohort of ears, by registering and averaging in turn.

Each round registers every ear to the last round's mean and averages the ears anew, each resampled once from its
original voxels (Guimond, Meunier, Thirion 2000, with rigid motions only: shapes are averaged, not aligned). The first
image decides nothing but where the first round starts, so no ear's shape is favoured.

The frame: left ears are mirrored, and what all ears have moved by in common is removed in every round. It is read off
the mean image, as the rigid motion that registers it to the ``anchor``; so the mean lies where the anchor lies, its
lumen's centroid at the origin, and crops, landmarks and measures defined in that frame keep their meaning.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from medlangevin.imaging.cohort.mean_image import detail_hu, grid_of, mean_image, require_covered
from medlangevin.imaging.cohort.series_choice import RankedEar
from medlangevin.imaging.reading.rejection import Reason
from medlangevin.imaging.registration.crop import CROP_GRID, Array, Grid, resample
from medlangevin.imaging.registration.find_ears import FoundEar, find_ears, surroundings
from medlangevin.imaging.registration.quality import NCC_FAILED, refusal
from medlangevin.imaging.registration.reference import Reference
from medlangevin.imaging.registration.register import Matcher
from medlangevin.system.errors import MedlangevinError

# What a crop's corner moves by between two fits of one scan is 0.02 mm or so: below this only chance is left.
CHANGE_MM = 0.05
# A mean of one ear is that ear; of five, each gives a fifth.
FEWEST_EARS, ENOUGH_EARS = 2, 5
# Fine detail of the mean over that of a single ear, at least.
MIN_SHARPNESS = 0.4
# From one round to the next an ear stays where it is, but for the first steps away from a poor start.
SAME_PLACE_MM = 4.0


class Place(NamedTuple):
    """Where an ear lies.

    Attributes:
        series: Number of the person's series.
        volume: Number of the volume in it.
        matrix: (4, 4), from the reference frame to LPS of the scan.
    """

    series: int
    volume: int
    matrix: Array


class EarImage(NamedTuple):
    """One ear in the reference frame.

    Attributes:
        mirrored: Whether it is a left ear.
        place: Where it lies.
        hu: Its voxels (z, y, x), int16 HU; None where the registration failed.
        inside: Which of them lie inside the scan; None where the registration failed.
        detail: How much of them is fine detail, HU.
    """

    mirrored: bool
    place: Place
    hu: NDArray[np.int16] | None = None
    inside: NDArray[np.bool_] | None = None
    detail: float = 0.0


class PersonScan(NamedTuple):
    """A scan of a person.

    Attributes:
        series: Number of its series.
        volume: Its number in the series.
        scan: HU in LPS.
        sharpness: Class of its kernel.
    """

    series: int
    volume: int
    scan: sitk.Image
    sharpness: int


class Round(NamedTuple):
    """What one round needs.

    Attributes:
        reference: The mean of the round before.
        correction: (4, 4), from the frame to that mean's own.
        grid: The grid to fill.
    """

    reference: Reference
    correction: Array
    grid: Grid


# Both sides of one person: found in earlier rounds, by mirrored or not.
Places = dict[bool, Place]
# A person's ears in one round, and reasons by number of series.
PersonEars = tuple[list[EarImage], list[tuple[int, Reason]]]
# The ears of every person in one round, as they come, with the person's number.
Ears = Iterator[tuple[int, PersonEars]]


class MeanEar(NamedTuple):
    """The mean ear, and how it was reached.

    Attributes:
        reference: The mean, as a reference.
        ears: Number of ears averaged in the last round.
        changes_mm: Mean movement of the ears between rounds, mm.
        sharpness: Fine detail of the mean over that of a single ear; 1 when nothing is lost.
        problems: Number of the person, number of the series, and why it gave no ear.
    """

    reference: Reference
    ears: int
    changes_mm: tuple[float, ...]
    sharpness: float
    problems: tuple[tuple[int, int, Reason], ...]


def iterate(
    one_round: Callable[[Round, dict[int, Places]], Ears], start: Reference, anchor: Reference, iterations: int
) -> MeanEar:
    """Register and average in turn, until the ears move by less than 0.05 mm on average.

    Args:
        one_round: Gives all ears, registered to the last mean. Its second argument tells where they were found before,
            by number of the person.
        start: What the first round registers to.
        anchor: What gives the frame and the grid.
        iterations: The largest number of rounds.

    Returns:
        The mean ear.

    Raises:
        MedlangevinError: ``iterations`` is less than 1, fewer than two ears are found, the start does not show an ear
            as the anchor does, or the result is blurred.
    """
    if iterations < 1:
        raise MedlangevinError(f"iterations is {iterations}; give at least 1")
    grid = grid_of(anchor.image)
    anchored = Matcher(anchor)
    known: dict[int, Places] = {}
    reference, changes = start, []
    while True:
        correction = np.eye(4) if reference is anchor else motion_from(anchored, reference)
        total, count = np.zeros(grid.size[::-1], np.int64), np.zeros(grid.size[::-1], np.int64)
        found: dict[int, Places] = {}
        details, problems = [], []
        for number, (ears, reasons) in one_round(Round(reference, correction, grid), known):
            problems += [(number, series, reason) for series, reason in reasons]
            for ear in ears:
                found.setdefault(number, {})[ear.mirrored] = ear.place
                if ear.hu is None or ear.inside is None:
                    continue
                details.append(ear.detail)
                total += np.where(ear.inside, ear.hu, 0)
                count += ear.inside
        if not details:
            raise MedlangevinError("no ear was found in any scan; give CT of the temporal bone, or another --reference")
        if len(details) < FEWEST_EARS:
            raise MedlangevinError(
                f"a mean of one ear is that ear; give scans of {FEWEST_EARS} ears, better of {ENOUGH_EARS} or more"
            )
        image = mean_image(total, count, grid)
        require_covered(count, grid)
        changes.append(_mean_movement(known, found))
        reference, known = Reference(image, ""), found
        if changes[-1] < CHANGE_MM or len(changes) == iterations:
            break
    sharpness = detail_hu(sitk.GetArrayFromImage(image), grid) / float(np.median(details))
    if sharpness < MIN_SHARPNESS:
        raise MedlangevinError(
            f"the mean of {len(details)} ears is blurred (detail {sharpness:.2f} of a single ear's, {MIN_SHARPNESS} "
            "needed): the scans do not fit each other; look at their pictures, and take out what does not belong"
        )
    return MeanEar(reference, len(details), tuple(changes), sharpness, tuple(problems))


def person_ears(volumes: Iterable[PersonScan], known: Places, matcher: Matcher, now: Round) -> PersonEars:
    """Find at most one ear for each side of a person, each in its best series.

    Args:
        volumes: The person's scans.
        known: Where the ears lay in the round before; they are sought there alone. Empty: everywhere.
        matcher: The last mean, prepared for matching.
        now: What the round needs.

    Returns:
        The ears; and for each series without one its number and the reason.
    """
    if known:
        return [ear for volume in volumes for ear in _registered_again(volume, known, matcher, now)], []
    best: dict[bool, tuple[RankedEar, EarImage]] = {}
    problems = []
    for volume in volumes:
        ears = find_ears(volume.scan, matcher)
        usable = [ear for ear in ears if ear.verdict.word != "failed"]
        if not usable:
            problems.append((volume.series, refusal([ear.verdict for ear in ears])))
        for ear in usable:
            ranked = RankedEar(ear, volume.sharpness, max(volume.scan.GetSpacing()))
            rival = best.get(ear.fit.mirrored)
            if rival is None or ranked.rank < rival[0].rank:
                best[ear.fit.mirrored] = ranked, _ear_image(volume, ear, now)
    return [ear for _, ear in best.values()], problems


def motion_from(anchor: Matcher, reference: Reference) -> Array:
    """The rigid motion between the anchor and another reference.

    Args:
        anchor: The anchor, prepared for matching.
        reference: A reference that shows an ear in nearly the same pose.

    Returns:
        (4, 4), from the anchor's frame to that of ``reference``.

    Raises:
        MedlangevinError: The two do not match.
    """
    best = max(anchor.fits(reference.image), key=lambda fit: fit.ncc, default=None)
    if best is None or best.mirrored or best.ncc < NCC_FAILED:
        raise MedlangevinError("the reference does not look like a right ear in the package's frame; give another one")
    return best.matrix


def movement_mm(first: Array, second: Array) -> float:
    """Mean distance between where two matrices put the corners of the crop.

    Args:
        first: (4, 4).
        second: (4, 4).

    Returns:
        The distance in mm.
    """
    apart = (first - second)[:3] @ np.c_[CROP_GRID.corners_mm, np.ones(8)].T
    return float(np.linalg.norm(apart, axis=0).mean())


def _registered_again(volume: PersonScan, known: Places, matcher: Matcher, now: Round) -> Iterator[EarImage]:
    """The known ears of a volume, registered anew."""
    for mirrored, place in known.items():
        if (place.series, place.volume) != (volume.series, volume.volume):
            continue
        near = [
            ear
            for ear in find_ears(surroundings(volume.scan, place.matrix), matcher)
            if ear.fit.mirrored is mirrored
            and ear.verdict.word != "failed"
            and movement_mm(ear.fit.matrix @ now.correction, place.matrix) < SAME_PLACE_MM
        ]
        yield _ear_image(volume, near[0], now) if near else EarImage(mirrored, place)


def _ear_image(volume: PersonScan, ear: FoundEar, now: Round) -> EarImage:
    matrix = ear.fit.matrix @ now.correction
    hu, inside = resample(volume.scan, matrix, now.grid)
    place = Place(volume.series, volume.volume, matrix)
    return EarImage(ear.fit.mirrored, place, hu, inside, detail_hu(hu, now.grid))


def _mean_movement(before: dict[int, Places], after: dict[int, Places]) -> float:
    """Mean over the ears of both rounds, mm; infinite after the first."""
    moved = []
    for number, places in after.items():
        sides = [side for side in places if side in before.get(number, {})]
        moved += [movement_mm(before[number][side].matrix, places[side].matrix) for side in sides]
    return float(np.mean(moved)) if moved else float(np.inf)
