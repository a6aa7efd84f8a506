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
from scipy.ndimage import distance_transform_edt, gaussian_filter

from medlangevin.imaging.cohort.series_choice import Seen
from medlangevin.imaging.reading.rejection import Reason
from medlangevin.imaging.registration.crop import CROP_GRID, Grid, resample
from medlangevin.imaging.registration.find_ears import FoundEar, find_ears, surroundings
from medlangevin.imaging.registration.localise import BALL_CENTRE_MM, BALL_RADIUS_MM
from medlangevin.imaging.registration.quality import NCC_FAILED, refusal
from medlangevin.imaging.registration.reference import CLIP_HU, Reference
from medlangevin.imaging.registration.register import Matcher
from medlangevin.system.errors import MedlangevinError

Array = NDArray[np.float64]

# What a crop's corner moves by between two fits of one scan is 0.02 mm or so: below this only chance is left.
CHANGE_MM = 0.05
# A mean of one is no mean; of five, each gives a fifth.
FEWEST_EARS, ENOUGH_EARS = 2, 5
# Detail of the mean between these scales (standard deviations, mm) over that of a single ear: turns are 1 mm apart.
DETAIL_MM = (0.25, 1.0)
MIN_SHARPNESS = 0.4
# What matching looks at lies within the ball and this margin.
MARGIN_MM = 1.5
MIN_COVERED = 0.98
# From one round to the next an ear stays where it is, but for the first steps away from a poor start.
SAME_PLACE_MM = 4.0


class Place(NamedTuple):
    """Where an ear lies: number of series and of volume, ``matrix`` (4, 4) from the reference frame to LPS."""

    series: int
    volume: int
    matrix: Array


class EarImage(NamedTuple):
    """One ear. ``hu``, ``inside``: its voxels in the reference frame, (z, y, x), None where the registration failed;
    ``detail``: how much of them is fine detail, HU."""

    mirrored: bool
    place: Place
    hu: NDArray[np.int16] | None = None
    inside: NDArray[np.bool_] | None = None
    detail: float = 0.0


class Volume(NamedTuple):
    """A scan of a person. ``series``, ``volume``: its numbers; ``sharpness``: class of its kernel."""

    series: int
    volume: int
    scan: sitk.Image
    sharpness: int


class Round(NamedTuple):
    """What one round needs: the last mean, ``correction`` (4, 4) from the frame to the mean's own, the grid to fill."""

    reference: Reference
    correction: Array
    grid: Grid


# Both sides of one person: found in earlier rounds, by mirrored or not.
Places = dict[bool, Place]
# Every person's ears in one round, as they come: the person's number, ears, and reasons by number of series.
Ears = Iterator[tuple[int, list[EarImage], list[tuple[int, Reason]]]]


class Built(NamedTuple):
    """The mean. ``ears`` averaged and ``failed`` ones left out in the last round; ``changes_mm``: mean movement of the
    ears between rounds; ``sharpness``: fine detail of the mean over that of a single ear (1: nothing lost);
    ``problems``: person, series, reason."""

    reference: Reference
    ears: int
    failed: int
    changes_mm: tuple[float, ...]
    sharpness: float
    problems: tuple[tuple[int, int, Reason], ...]


def iterate(
    one_round: Callable[[Round, dict[int, Places]], Ears], start: Reference, anchor: Reference, iterations: int
) -> Built:
    """Register and average in turn. ``one_round``: all ears for the last mean, where they were found before."""
    if iterations < 1:
        raise MedlangevinError(f"iterations is {iterations}; give at least 1")
    grid = _grid_of(anchor.image)
    anchored = Matcher(anchor)
    known: dict[int, Places] = {}
    reference, changes = start, []
    while True:
        correction = np.eye(4) if reference is anchor else pose(anchored, reference)
        total, count = np.zeros(grid.size[::-1], np.int64), np.zeros(grid.size[::-1], np.int64)
        found: dict[int, Places] = {}
        details, problems, failed = [], [], 0
        for number, ears, reasons in one_round(Round(reference, correction, grid), known):
            problems += [(number, series, reason) for series, reason in reasons]
            for ear in ears:
                found.setdefault(number, {})[ear.mirrored] = ear.place
                if ear.hu is None or ear.inside is None:
                    failed += 1
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
        _check_covered(count, grid)
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
    return Built(reference, len(details), failed, tuple(changes), sharpness, tuple(problems))


def person_ears(
    volumes: Iterable[Volume], known: Places, matcher: Matcher, now: Round
) -> tuple[list[EarImage], list[tuple[int, Reason]]]:
    """At most one ear for each side of a person, of its best series, and why series gave none (number, reason).

    ``known``: where the ears lay in the round before; they are sought there alone. Empty: everywhere.
    """
    if known:
        return [ear for volume in volumes for ear in _again(volume, known, matcher, now)], []
    best: dict[bool, tuple[Seen, EarImage]] = {}
    problems = []
    for volume in volumes:
        ears = find_ears(volume.scan, matcher)
        usable = [ear for ear in ears if ear.verdict.word != "failed"]
        if not usable:
            problems.append((volume.series, refusal([ear.verdict for ear in ears])))
        for ear in usable:
            seen = Seen(ear, volume.sharpness, max(volume.scan.GetSpacing()))
            rival = best.get(ear.fit.mirrored)
            if rival is None or seen.rank < rival[0].rank:
                best[ear.fit.mirrored] = seen, _ear_image(volume, ear, now)
    return [ear for _, ear in best.values()], problems


def pose(anchor: Matcher, reference: Reference) -> Array:
    """(4, 4): from the anchor's frame to that of ``reference``. Raises MedlangevinError when the two do not match."""
    best = max(anchor.fits(reference.image), key=lambda fit: fit.ncc, default=None)
    if best is None or best.mirrored or best.ncc < NCC_FAILED:
        raise MedlangevinError("the reference does not look like a right ear in the package's frame; give another one")
    return best.matrix


def mean_image(total: NDArray[np.integer], count: NDArray[np.integer], grid: Grid) -> sitk.Image:
    """Sums of HU over numbers of ears, (z, y, x), as float32 image of whole HU.

    A voxel is the mean of the ears that cover it; where none does, its nearest neighbour's, as an edge of air would be
    matched.
    """
    mean = np.rint(total / np.maximum(count, 1))
    nearest = distance_transform_edt(count == 0, return_distances=False, return_indices=True)
    image = sitk.GetImageFromArray(mean[tuple(nearest)].astype(np.float32))
    image.SetOrigin(grid.origin_mm)
    image.SetSpacing([grid.spacing_mm] * 3)
    return image


def movement_mm(first: Array, second: Array) -> float:
    """Mean distance between where two matrices (4, 4) put the corners of the crop."""
    apart = (first - second)[:3] @ np.c_[CROP_GRID.corners_mm, np.ones(8)].T
    return float(np.linalg.norm(apart, axis=0).mean())


def detail_hu(hu: NDArray[np.number], grid: Grid) -> float:
    """Standard deviation over the crop of what lies between two scales: cochlear turns, not the noise, not the air."""
    clipped = np.clip(hu, *CLIP_HU).astype(np.float32)
    fine, coarse = (gaussian_filter(clipped, sigma / grid.spacing_mm) for sigma in DETAIL_MM)
    low = (np.array(CROP_GRID.origin_mm) - np.array(grid.origin_mm)) / grid.spacing_mm
    size = np.array(CROP_GRID.size) * CROP_GRID.spacing_mm / grid.spacing_mm
    box = tuple(slice(round(start), round(start + length)) for start, length in zip(low[::-1], size[::-1], strict=True))
    return float((fine - coarse)[box].std())


def _again(volume: Volume, known: Places, matcher: Matcher, now: Round) -> Iterator[EarImage]:
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


def _ear_image(volume: Volume, ear: FoundEar, now: Round) -> EarImage:
    matrix = ear.fit.matrix @ now.correction
    hu, inside = resample(volume.scan, matrix, now.grid)
    place = Place(volume.series, volume.volume, matrix)
    return EarImage(ear.fit.mirrored, place, hu, inside, detail_hu(hu, now.grid))


def _mean_movement(before: dict[int, Places], after: dict[int, Places]) -> float:
    """Mean over the ears of both rounds, mm; infinite after the first."""
    moved = [
        movement_mm(before[number][mirrored].matrix, place.matrix)
        for number, places in after.items()
        for mirrored, place in places.items()
        if mirrored in before.get(number, {})
    ]
    return float(np.mean(moved)) if moved else float(np.inf)


def _grid_of(image: sitk.Image) -> Grid:
    spacing = np.array(image.GetSpacing())
    if np.ptp(spacing) > 1e-3:
        raise MedlangevinError("the reference's voxels are no cubes; resample it to one spacing first")
    return Grid(image.GetOrigin(), image.GetSize(), float(spacing[0]))


def _check_covered(count: NDArray[np.integer], grid: Grid) -> None:
    """The search looks at a ball around the labyrinth: most of it must have been seen in at least one scan."""
    ball = np.linalg.norm(grid.centres_mm - np.array(BALL_CENTRE_MM), axis=-1) <= BALL_RADIUS_MM + MARGIN_MM
    covered = float((count[ball] > 0).mean())
    if covered < MIN_COVERED:
        raise MedlangevinError(
            f"the scans cover only {100 * covered:.0f} % of the surroundings of the ear; give scans that hold all of it"
        )
