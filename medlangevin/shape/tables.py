"""Tables of ears: measures ear by ear, and cross-sections along the duct, each with its definitions as JSON."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medlangevin.shape.columns import COLUMNS
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population
from medlangevin.system.files import write_json, write_tsv


def write_table(
    table: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    description: dict[str, Any],
    *,
    number: str,
) -> Path:
    """Write a table of tab-separated values, and beside it the JSON file that describes it.

    Args:
        table: The table's file; the description's has the ending ``.json``.
        header: Names of the columns.
        rows: A cell a column; NaN becomes an empty cell.
        description: What the JSON file holds.
        number: Format of the cells that are floating-point numbers, such as ``.4f``.

    Returns:
        The table's file.

    Raises:
        MedlangevinError: The folder cannot be written.
    """
    write_json(table.with_suffix(".json"), description)
    write_tsv(table, [header, *([_cell(value, number) for value in row] for row in rows)])
    return table


def _cell(value: object, number: str) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else format(value, number)
    return str(value)


def write_population(population: Population, folder: Path) -> Path:
    """Write ``<population>.tsv``, a row a volume (missing values empty), and ``<population>.json``.

    Args:
        population: The measured volumes.
        folder: Where to write.

    Returns:
        The table's file.

    Raises:
        MedlangevinError: The folder cannot be written.
    """
    names = [item.name for item in measure_fields()]
    rows = [(ear.name, *(getattr(ear.measures, name) for name in names), ear.measures.note) for ear in population.ears]
    table = folder / f"{population.name}.tsv"
    return write_table(table, ["volume", *names, "note"], rows, COLUMNS["measures"], number=".4f")


def write_sections(populations: Sequence[Population], folder: Path) -> Path:
    """Write the ducts' cross-sections, one row an ear and angle, as ``cross_sections.tsv`` and ``.json``.

    Args:
        populations: The measured volumes. Ears whose lumen does not coil have no rows.
        folder: Where to write.

    Returns:
        The table's file.

    Raises:
        MedlangevinError: The folder cannot be written.
    """
    rows = [
        (population.name, ear.name, f"{angle:g}", *values)
        for population in populations
        for ear in population.ears
        if ear.sections is not None
        for angle, *values in zip(*ear.sections, strict=True)
    ]
    columns = COLUMNS["cross_sections"]
    return write_table(folder / "cross_sections.tsv", [*columns], rows, columns, number=".4f")
