"""Persons and scans that the user leaves out: a list in a file, kept in the output folder as hashes for later runs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from medlangevin.imaging.cohort.deidentify import pseudonym, series_hash
from medlangevin.imaging.cohort.series_choice import is_named
from medlangevin.imaging.reading.ingest import Series
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_bounded

MOST_BYTES = 2**24


class Exclusion(NamedTuple):
    """What is left out, and what is not.

    Attributes:
        persons: Pseudonyms.
        series: Series that are named, without those of ``persons``.
        kept: All other series.
    """

    persons: frozenset[str]
    series: tuple[Series, ...]
    kept: tuple[Series, ...]

    def hashes(self, key: bytes) -> set[str]:
        """What to record of it.

        Args:
            key: The key of the pseudonyms.

        Returns:
            Pseudonyms and series hashes.
        """
        return set(self.persons) | {series_hash(key, item.series_uid) for item in self.series}


def read_exclusions(file: Path) -> list[str]:
    """Read a list of persons and scans, one a line; what follows ``#`` is a comment.

    Args:
        file: The list.

    Returns:
        The names.

    Raises:
        MedlangevinError: The file cannot be read as text.
    """
    try:
        lines = read_bounded(file, MOST_BYTES).removeprefix("\ufeff").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MedlangevinError(
            f"--exclude {file} cannot be read; give a text file with a pseudonym or scan in each line"
        ) from error
    names = (line.partition("#")[0].strip() for line in lines)
    return [name for name in names if name]


def leave_out(
    series: Sequence[Series],
    names: Iterable[str],
    raw: Path,
    key: bytes | None,
    *,
    recorded: Iterable[str],
    strict: bool,
) -> Exclusion:
    """Part the series in those that are left out and the others.

    Args:
        series: All series that were found.
        names: Each a pseudonym (with or without ``sub-``), or a series as ``--series`` takes it.
        raw: The folder of the scans.
        key: The key of the pseudonyms; without it no pseudonym and no hash is known.
        recorded: Pseudonyms on record, which may be named though their scans are gone.
        strict: Whether every name has to be that of a person or series.

    Returns:
        What is left out, and what is not.

    Raises:
        MedlangevinError: A name is neither a person nor a CT series.
    """
    owners = [pseudonym(key, item.person) if key is not None else "" for item in series]
    people = ({*owners, *recorded} if key is not None else set()) - {""}
    persons: set[str] = set()
    places: set[int] = set()
    for name in names:
        subject = name.removeprefix("sub-")
        if subject in people:
            persons.add(subject)
            continue
        found = {at for at, item in enumerate(series) if is_named(item, name, raw, key)}
        places |= found
        if strict and not found:
            raise MedlangevinError(
                f"--exclude names {name}, which is neither a person nor a CT series in {raw}; give a pseudonym, a "
                "SeriesInstanceUID, a series hash, or a folder or file of the scan"
            )
    kept = [item for at, item in enumerate(series) if at not in places and owners[at] not in persons]
    return Exclusion(frozenset(persons), tuple(series[at] for at in sorted(places)), tuple(kept))
