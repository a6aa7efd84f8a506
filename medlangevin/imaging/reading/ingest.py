"""Find the CT series in any folder tree: headers by pydicom, grouped by series; all else is named and passed over."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medlangevin.imaging.reading.foreign_file import is_volume_file, system_file
from medlangevin.imaging.reading.identity import with_persons
from medlangevin.imaging.reading.read_headers import read_many
from medlangevin.imaging.reading.reconstruction_kernel import UNKNOWN
from medlangevin.imaging.reading.rejection import CLOSED_FILE, CLOSED_FOLDER, SYSTEM_FILE, Reason
from medlangevin.imaging.reading.slice_header import SliceHeader


@dataclass(frozen=True)
class Series:
    """The slices of one series of one study, of one orientation, matrix and pixel size, or one volume file.

    Attributes:
        person: What tells persons apart. In memory only.
        series_uid: As in the headers.
        slices: Empty for a volume file.
        volume_file: A NIfTI or NRRD file, or None.
        doubts: What is to be said of whose it is.
    """

    person: str
    series_uid: str
    slices: tuple[SliceHeader, ...] = ()
    volume_file: Path | None = None
    doubts: tuple[Reason, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lies, for the terminal only."""
        return self.volume_file or self.slices[0].path.parent

    @property
    def sharpness(self) -> int:
        """The class of the reconstruction kernel: 2 sharp (bone), 1 unknown (as for volume files), 0 soft."""
        return self.slices[0].sharpness if self.slices else UNKNOWN

    @property
    def study_uid(self) -> str:
        """The study that it belongs to; empty where that is unknown, as for volume files. In memory only."""
        return self.slices[0].study_uid if self.slices else ""

    @property
    def thickness_mm(self) -> float:
        """The thickness of the thickest slice, as the headers say; 0 where they do not, as in volume files."""
        return max((item.thickness_mm for item in self.slices), default=0.0)


@dataclass(frozen=True)
class PassedOver:
    """Files of one folder that gave no series, for one reason.

    Attributes:
        folder: Where they lie.
        reason: Why they are not used.
        files: How many.
        series_uid: Their series; empty where it is unknown.
    """

    folder: Path
    reason: Reason
    files: int
    series_uid: str = ""


@dataclass(frozen=True)
class Ingest:
    """Everything found below a folder.

    Attributes:
        series: What may hold ears, sorted by person and series.
        passed_over: All else.
        files: How many files there are.
    """

    series: tuple[Series, ...]
    passed_over: tuple[PassedOver, ...]
    files: int


def ingest(raw: Path, *, workers: int = 0) -> Ingest:
    """Read every header below a folder. Order of files and names play no part in the result.

    Args:
        raw: The folder of an export.
        workers: Processes, where the files are many; 0 reads here.

    Returns:
        The series, and what was passed over.
    """
    slices: list[SliceHeader] = []
    common: dict[Any, Any] = {}
    rejected: Counter[tuple[Path, Reason, str]] = Counter()
    volumes: list[Series] = []
    others: list[Path] = []
    closed: list[Path] = []
    files = 0
    for path in _files(raw, closed):
        files += 1
        if system_file(path, raw):
            rejected[path.parent, SYSTEM_FILE, ""] += 1
        elif is_volume_file(path):
            if not _can_be_opened(path):
                rejected[path.parent, CLOSED_FILE, ""] += 1
                continue
            # A name in another encoding than the system's must still go through a hash.
            name = path.relative_to(raw).as_posix().encode(errors="backslashreplace").decode()
            volumes.append(Series(person=f"file:{name}", series_uid=f"file:{name}", volume_file=path))
        else:
            others.append(path)
    for path, headers in read_many(others, workers=workers):
        slices += (_sharing(header, common) for header in headers.slices)
        if headers.reason is not None:
            rejected[path.parent, headers.reason, headers.series_uid] += 1
    rejected.update((folder, CLOSED_FOLDER, "") for folder in closed)
    slices, doubts = with_persons(slices, raw)
    series = [
        Series(group[0].person, group[0].series_uid, tuple(group), doubts=doubts[group[0].person, group[0].series_uid])
        for group in _grouped(slices)
    ]
    return Ingest(
        series=tuple(sorted(series + volumes, key=lambda item: (item.person, item.series_uid, str(item.folder)))),
        passed_over=tuple(PassedOver(folder, why, n, uid) for (folder, why, uid), n in rejected.items()),
        files=files,
    )


def _can_be_opened(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except OSError:
        return False
    return True


def _sharing(header: SliceHeader, common: dict[Any, Any]) -> SliceHeader:
    """The same header, with what other slices have too held once: an export may hold a million slices."""
    fields = [
        *("person", "study_uid", "series_uid", "acquisition", "time", "phase", "kernel"),
        *("orientation", "spacing_mm", "shape", "padding"),
    ]
    return replace(header, **{name: common.setdefault(getattr(header, name), getattr(header, name)) for name in fields})


def _grouped(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Slices of one study, series, matrix, class of reconstruction kernel, orientation and pixel size."""
    groups: dict[tuple[Any, ...], list[list[SliceHeader]]] = {}
    for header in headers:
        # Some archives use a series UID again in another study.
        key = (header.person, header.study_uid, header.series_uid, header.shape, header.sharpness)
        alike = groups.setdefault(key, [])
        group = next((members for members in alike if _parallel(members[0], header)), [])
        if not group:
            alike.append(group)
        group.append(header)
    return [group for alike in groups.values() for group in alike]


def _parallel(one: SliceHeader, other: SliceHeader) -> bool:
    """The same orientation and pixel size, to the digits that writers give."""
    turned = np.subtract(one.orientation, other.orientation)
    scaled = np.divide(one.spacing_mm, other.spacing_mm) - 1
    return bool(np.abs(turned).max() < 1e-3 and np.abs(scaled).max() < 1e-3)


def _files(raw: Path, closed: list[Path]) -> Iterator[Path]:
    """Every regular file; folders that cannot be listed go to ``closed``, as they may hold anybody's scan."""
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(
        raw, followlinks=True, onerror=lambda error: closed.append(Path(error.filename))
    ):
        # Exports may be gathered by symbolic links; each real folder is read once, so that links in a ring end.
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():
                yield path
