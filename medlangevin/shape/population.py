"""Shape measures of all volumes in a folder, side by side in one table."""

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medlangevin.errors import MedlangevinError
from medlangevin.io import write_json, write_text
from medlangevin.progress import progress
from medlangevin.shape.measure import Measures, measure, measure_fields
from medlangevin.shape.volumes import Volume, find_volumes, read_volume
from medlangevin.workers import run_all

_COLUMN_NOTE = "Why measures are missing (empty), or what to know about this volume"


@dataclass(frozen=True)
class Population:
    """Measures of a folder's volumes: ``names`` and ``measures`` in the same order, ``failures`` as (name, reason)."""

    name: str
    names: tuple[str, ...]
    measures: tuple[Measures, ...]
    failures: tuple[tuple[str, str], ...] = ()

    def column(self, measure_name: str) -> NDArray[np.float64]:
        """The values of one measure over all volumes, NaN where missing."""
        return np.array([getattr(item, measure_name) for item in self.measures], dtype=np.float64)


def measure_folder(folder: Path | str, *, workers: int = 1, name: str | None = None) -> Population:
    """Measure every volume of a folder (preprocess or generate output, or any NIfTI crops in the reference frame).

    ``workers`` processes share the work; the result does not depend on their number. A file that cannot be read is
    listed in ``failures`` and skipped. ``name`` defaults to the folder's. Raises MedlangevinError when the folder holds
    no volume, or none that can be read.
    """
    volumes = find_volumes(folder)
    label = name or Path(folder).resolve().name
    done: dict[str, Measures | str] = {}
    work = closing(run_all(_measure, volumes, workers=workers))
    with progress(len(volumes), f"measure {label}") as track, work as measuring:
        for count, (volume, result) in enumerate(measuring, start=1):
            done[volume.name] = result
            track.advance(count, volume.name)
    results = [(volume.name, done[volume.name]) for volume in volumes]
    failures = tuple((key, value) for key, value in results if isinstance(value, str))
    measured = [(key, value) for key, value in results if isinstance(value, Measures)]
    if not measured:
        raise MedlangevinError(
            f"none of the {len(volumes)} volumes in {folder} can be read; the first: {failures[0][1]}"
        )
    return Population(label, tuple(key for key, _ in measured), tuple(value for _, value in measured), failures)


def _measure(volume: Volume) -> Measures | str:
    """Measures of one file, or one line that says why it cannot be read."""
    try:
        return measure(*read_volume(volume.path))
    except MedlangevinError as error:
        return str(error)


def write_population(population: Population, folder: Path) -> Path:
    """Write ``<population>.tsv`` (missing values empty) and ``<population>.json``, which defines its columns."""
    fields = measure_fields()
    header = ["volume", *(item.name for item in fields), "note"]
    rows = [
        [name, *(_cell(getattr(measures, item.name)) for item in fields), measures.note]
        for name, measures in zip(population.names, population.measures, strict=True)
    ]
    table = folder / f"{population.name}.tsv"
    write_json(table.with_suffix(".json"), column_definitions())
    write_text(table, "".join("\t".join(row) + "\n" for row in [header, *rows]))
    return table


def column_definitions() -> dict[str, Any]:
    """What each column of the table means, and its units."""
    columns: dict[str, Any] = {"volume": {"LongName": "Volume", "Description": "Name of the file without its ending"}}
    for item in measure_fields():
        entry = {"LongName": item.metadata["title"], "Description": item.metadata["definition"]}
        columns[item.name] = {**entry, "Units": item.metadata["units"]} if item.metadata["units"] else entry
    columns["note"] = {"LongName": "Note", "Description": _COLUMN_NOTE}
    return columns


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
