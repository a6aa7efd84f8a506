"""The tables of a population: measures ear by ear, and cross-sections along the duct, each with its definitions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population
from medlangevin.system.files import write_json, write_tsv

_COLUMN_NOTE = "Why measures are missing (empty), or what to know about this volume"


def write_population(population: Population, folder: Path) -> Path:
    """Write ``<population>.tsv`` (missing values empty) and ``<population>.json``, which defines its columns."""
    fields = measure_fields()
    header = ["volume", *(item.name for item in fields), "note"]
    rows = [
        [ear.name, *(_cell(getattr(ear.measures, item.name)) for item in fields), ear.measures.note]
        for ear in population.ears
    ]
    table = folder / f"{population.name}.tsv"
    write_json(table.with_suffix(".json"), column_definitions())
    write_tsv(table, [header, *rows])
    return table


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


def write_sections(populations: Sequence[Population], folder: Path) -> Path:
    """Write the ducts' cross-sections, one row an ear and angle, as ``cross_sections.tsv`` and what defines it as JSON.

    Ears whose lumen does not coil have no rows.
    """
    rows = [list(_SECTION_COLUMNS)]
    for population in populations:
        for ear in population.ears:
            if ear.sections is not None:
                for angle, *values in zip(*ear.sections, strict=True):
                    rows.append([population.name, ear.name, f"{angle:g}", *map(_cell, values)])
    definitions = {
        key: {"LongName": title, "Description": text, **({"Units": units} if units else {})}
        for key, (title, text, units) in _SECTION_COLUMNS.items()
    }
    write_json(folder / "cross_sections.json", definitions)
    table = folder / "cross_sections.tsv"
    write_tsv(table, rows)
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
