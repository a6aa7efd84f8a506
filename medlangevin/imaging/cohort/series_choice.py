"""Which series are used: those that the user names, and the best of several series of one ear."""

from collections.abc import Sequence
from itertools import compress
from operator import not_
from pathlib import Path
from typing import NamedTuple

from medlangevin.imaging.cohort.deidentify import series_hash
from medlangevin.imaging.reading.ingest import Series
from medlangevin.imaging.registration.find_ears import FoundEar
from medlangevin.system.errors import MedlangevinError


class NamedSeries(NamedTuple):
    """The series that are used once the user has named some.

    Attributes:
        kept: The named series, and all series of persons of whom none is named.
        left_out: The other series of persons of whom one is named.
    """

    kept: tuple[Series, ...]
    left_out: tuple[Series, ...]


def choose_named(series: tuple[Series, ...], names: Sequence[str], raw: Path, key: bytes | None) -> NamedSeries:
    """Keep the series that the user names; of their persons, they alone are used.

    Args:
        series: All series that were found.
        names: Each a SeriesInstanceUID, a series hash as printed in outputs, or a folder or file (below ``raw``, or
            as seen from the working folder).
        raw: The folder of the scans.
        key: The key of the pseudonyms; without it no hash is known.

    Returns:
        The named series with all series of persons of whom none is named, and the series that are left out.

    Raises:
        MedlangevinError: A name belongs to no CT series.
    """
    named: set[int] = set()
    for name in names:
        found = {number for number, item in enumerate(series) if is_named(item, name, raw, key)}
        if not found:
            raise MedlangevinError(
                f"no CT series in {raw} is named {name}; give --series a SeriesInstanceUID, a series hash from an "
                "earlier run, or a folder or file of the scan"
            )
        named |= found
    persons = {series[number].person for number in named}
    is_kept = [number in named or item.person not in persons for number, item in enumerate(series)]
    return NamedSeries(tuple(compress(series, is_kept)), tuple(compress(series, map(not_, is_kept))))


def is_named(series: Series, name: str, raw: Path, key: bytes | None) -> bool:
    """Whether a name that the user gives is that of a series.

    Args:
        series: The series.
        name: A SeriesInstanceUID, a series hash, or a folder or file (below ``raw``, or seen from the working folder).
        raw: The folder of the scans.
        key: The key of the pseudonyms; without it no hash is known.

    Returns:
        True where it is.
    """
    if name == series.series_uid or (key is not None and name == series_hash(key, series.series_uid)):
        return True
    places = {(raw / name).absolute(), Path(name).absolute()}
    files = [series.volume_file] if series.volume_file else [item.path for item in series.slices]
    return any(file.absolute().is_relative_to(place) for file in files for place in places)


class RankedEar(NamedTuple):
    """One ear in one series, and what ranks it among the series of the same ear.

    Attributes:
        found: Its registration, figures and verdict.
        sharpness: Class of the series' kernel: 2 bone, 1 unknown, 0 soft.
        spacing_mm: The coarsest side of the voxel, or the thickness of its slice where that is more.
    """

    found: FoundEar
    sharpness: int
    spacing_mm: float

    @property
    def rank(self) -> tuple[int, int, float, float]:
        """Smaller is better: trusted before doubtful, sharp kernel before soft, thin slices, then the better fit."""
        doubt = ("ok", "review", "failed").index(self.found.verdict.word)
        return doubt, -self.sharpness, round(self.spacing_mm, 2), -self.found.fit.ncc


def why_better(taken: RankedEar, other: RankedEar) -> str:
    """Say in words what decided between two series of one ear.

    Args:
        taken: The ear in the series that is used.
        other: The same ear in the other series.

    Returns:
        The first difference between their ranks, as the end of a sentence.
    """
    texts = (
        f"its registration is trusted more ({taken.found.verdict.word}, here {other.found.verdict.word})",
        "its reconstruction kernel is sharper",
        f"its voxels are finer ({taken.spacing_mm:.2g} mm, here {other.spacing_mm:.2g} mm)",
        f"it fits the reference better (correlation {taken.found.fit.ncc:.3f}, here {other.found.fit.ncc:.3f})",
    )
    differences = (text for first, second, text in zip(taken.rank, other.rank, texts, strict=True) if first != second)
    return next(differences, "both are equally good, and it comes first")
