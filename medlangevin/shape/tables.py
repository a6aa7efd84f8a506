"""Tables of ears: measures ear by ear, and cross-sections along the duct, each with its definitions as JSON."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population
from medlangevin.system.files import write_json, write_tsv

_COLUMN_NOTE = "Why measures are missing (empty), or what to know about this volume"
_SECTION_COLUMNS = {
    "population": ("Population", "Name of the folder's table", ""),
    "volume": ("Volume", "Name of the file without its ending", ""),
    "angle_deg": (
        "Angle",
        "From the round window towards the apex, about the modiolar axis, up to the duct's end (where that is not "
        "resolved, up to the duct's highest point)",
        "degrees",
    ),
    "area_mm2": (
        "Cross-section",
        "Area of the duct in the half-plane through the modiolar axis at this angle (Verbist et al. 2010); turns that "
        "touch are parted along the ridge between them; empty where none was found",
        "mm2",
    ),
    "wall_radius_mm": ("Lateral wall radius", "Distance of the section's outermost point from the axis", "mm"),
    "wall_height_mm": ("Lateral wall height", "Height of that point along the axis, towards the apex", "mm"),
}


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
    return write_table(table, ["volume", *names, "note"], rows, column_definitions(), number=".4f")


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
    definitions = {key: _definition(*column) for key, column in _SECTION_COLUMNS.items()}
    return write_table(folder / "cross_sections.tsv", [*_SECTION_COLUMNS], rows, definitions, number=".4f")


def column_definitions() -> dict[str, Any]:
    """What each column of a population's table means, and its units.

    Returns:
        Name, definition and units of each column, as the JSON file has them.
    """
    fields = {item.name: item.metadata for item in measure_fields()}
    return {
        "volume": _definition("Volume", "Name of the file without its ending", ""),
        **{name: _definition(about["title"], about["definition"], about["units"]) for name, about in fields.items()},
        "note": _definition("Note", _COLUMN_NOTE, ""),
    }


def _definition(title: str, text: str, units: str) -> dict[str, str]:
    return {"LongName": title, "Description": text, **({"Units": units} if units else {})}
