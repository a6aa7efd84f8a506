"""Series that the user names: of their persons, they alone are used."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medlangevin.imaging.cohort.deidentify import series_hash
from medlangevin.imaging.reading.ingest import Series
from medlangevin.system.errors import MedlangevinError


class Choice(NamedTuple):
    """``left_out``: the other series of persons of whom one was named."""

    kept: tuple[Series, ...]
    left_out: tuple[Series, ...]


def choose(series: tuple[Series, ...], names: Sequence[str], raw: Path, key: bytes | None) -> Choice:
    """Keep the series that ``names`` name, and all series of persons of whom none is named.

    A name is a SeriesInstanceUID, a series hash as printed in outputs, or a folder or file (below ``raw``, or as seen
    from here). Raises MedlangevinError for a name that no CT series has.
    """
    named: set[int] = set()
    for name in names:
        found = {number for number, item in enumerate(series) if _is_named(item, name, raw, key)}
        if not found:
            raise MedlangevinError(
                f"no CT series in {raw} is named {name}; give --series a SeriesInstanceUID, a series hash from an "
                "earlier run, or a folder or file of the scan"
            )
        named |= found
    persons = {series[number].person for number in named}
    left_out = tuple(item for number, item in enumerate(series) if item.person in persons and number not in named)
    gone = {id(item) for item in left_out}
    return Choice(tuple(item for item in series if id(item) not in gone), left_out)


def _is_named(series: Series, name: str, raw: Path, key: bytes | None) -> bool:
    if name == series.series_uid or (key is not None and name == series_hash(key, series.series_uid)):
        return True
    places = {(raw / name).absolute(), Path(name).absolute()}
    files = [series.volume_file] if series.volume_file else [item.path for item in series.slices]
    return any(file.absolute().is_relative_to(place) for file in files for place in places)
