"""Series to persons: the persons to work on, and what has to be the same for earlier work to count."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
import torch

from medlangevin._version import __version__
from medlangevin.imaging.cohort.deidentify import pseudonym, series_hash
from medlangevin.imaging.cohort.person import Person
from medlangevin.imaging.reading.ingest import Series
from medlangevin.imaging.registration.reference import Reference
from medlangevin.imaging.registration.register import Method

# Raise it whenever the same scan would give another crop: crops of older settings are then made again.
ALGORITHM = 4


def persons_of(series: tuple[Series, ...], raw: Path, key: bytes, reference: Reference, method: Method) -> list[Person]:
    """Group series by person, one unit of work each.

    Args:
        series: All series to use.
        raw: The folder of the scans.
        key: The key of the pseudonyms.
        reference: What ears are registered to.
        method: How they are registered.

    Returns:
        The persons, in the order of their pseudonyms.
    """
    provenance: dict[str, Any] = {
        "reference_sha256": reference.digest,
        "registration": method,
        "algorithm": ALGORITHM,
        "software": {
            "medlangevin": __version__,
            "SimpleITK": sitk.Version.VersionString(),
            "pydicom": pydicom.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    settings = json.dumps([ALGORITHM, reference.digest, method, __version__])
    groups: dict[str, list[Series]] = {}
    for item in series:
        groups.setdefault(pseudonym(key, item.person), []).append(item)
    return [
        Person(
            subject=subject,
            inputs=series_hash(key, settings + "".join(sorted(_content(item, raw) for item in members))),
            series=tuple((series_hash(key, item.series_uid), item) for item in members),
            provenance=provenance,
        )
        for subject, members in sorted(groups.items())
    ]


def _content(series: Series, raw: Path) -> str:
    """What a series consists of, without reading its pixels: names, sizes and times of change of its files."""
    paths = {series.volume_file} if series.volume_file else {item.path for item in series.slices}
    return json.dumps(sorted((path.relative_to(raw).as_posix(), *_state(path)) for path in paths))


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        # Gone since its header was read: the reading of its pixels will say so.
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
