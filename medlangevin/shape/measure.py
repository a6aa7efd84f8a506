"""The shape measures of one ear, each with its definition; what cannot be found is missing and says why."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medlangevin.shape import coil, frame, surface
from medlangevin.shape.levels import NoLumenError
from medlangevin.shape.segment import Lumen, segment_lumen

NAN = float("nan")


def _measure(title: str, units: str, definition: str) -> Any:
    return field(default=NAN, metadata={"title": title, "units": units, "definition": definition})


@dataclass(frozen=True)
class Measures:
    """Shape measures of a cochlear lumen; NaN where one could not be found, with the reason in ``note``."""

    volume_mm3: float = _measure(
        "Volume", "mm3", "Volume inside the wall of the cochlear lumen, up to the cut that parts it from the vestibule"
    )
    surface_mm2: float = _measure(
        "Surface", "mm2", "Area of the wall of the cochlear lumen, without the cut that parts it from the vestibule"
    )
    extent_1_mm: float = _measure(
        "Longest extent", "mm", "Length of the wall along the first principal axis of its surface"
    )
    extent_2_mm: float = _measure(
        "Middle extent", "mm", "Length of the wall along the second principal axis of its surface"
    )
    extent_3_mm: float = _measure(
        "Shortest extent", "mm", "Length of the wall along the third principal axis of its surface"
    )
    a_mm: float = _measure(
        "A value",
        "mm",
        "Basal diameter, perpendicular to the modiolar axis: lateral wall at the round window's angle (continued from "
        "the wall 10 to 60 degrees on), through the axis, to the opposite lateral wall of the first turn. A from the "
        "centre of the round window, as read by hand, is shorter",
    )
    b_mm: float = _measure(
        "B value",
        "mm",
        "Width, perpendicular to A and to the modiolar axis, through the axis: lateral wall to lateral wall of the "
        "first turn",
    )
    b_over_a: float = _measure("B / A", "", "B value divided by A value")
    height_mm: float = _measure(
        "Height", "mm", "Extent of the lumen along the modiolar axis, floor of the first turn to apex, without the hook"
    )
    turns: float = _measure(
        "Turns",
        "turns",
        "Turns of the duct's centre about the modiolar axis, from the round window to the end of the lumen",
    )
    note: str = ""


def measure_fields() -> list[dataclasses.Field[Any]]:
    """The fields of Measures that are measures, in order, each with title, units and definition in its metadata."""
    return [item for item in dataclasses.fields(Measures) if item.metadata]


def measure(hu: NDArray[np.generic], affine: NDArray[np.float64]) -> Measures:
    """Segment the lumen of a crop in the reference frame and measure it.

    ``hu``: (i, j, k); ``affine``: (4, 4) voxel to RAS mm. A volume without a lumen gives measures that are all missing
    and a note that says why; it is never an error.
    """
    try:
        return measure_lumen(segment_lumen(hu, affine))
    except NoLumenError as error:
        return Measures(note=f"nothing measured: {error}")


def measure_lumen(lumen: Lumen) -> Measures:
    """Measure a segmented lumen."""
    mesh = surface.mesh_of(lumen.level, lumen.affine)
    volume, _ = surface.volume_and_centroid(mesh)
    extents = surface.principal_extents(mesh)
    vertices = frame.to_modiolar(mesh.vertices)
    notes = list(lumen.notes)
    values = {
        "volume_mm3": volume,
        "surface_mm2": float(mesh.face_areas[~surface.is_cap(mesh)].sum()),
        "extent_1_mm": float(extents[0]),
        "extent_2_mm": float(extents[1]),
        "extent_3_mm": float(extents[2]),
    }
    path = coil.trace(lumen)
    if path.angle_deg.size and path.angle_deg[-1] >= 360.0:
        values["a_mm"], values["b_mm"] = coil.a_value(lumen), coil.b_value(lumen)
        values["height_mm"] = coil.height(vertices)
        values["turns"] = coil.turns(path, float(vertices[:, 2].max()))
        values["b_over_a"] = values["b_mm"] / values["a_mm"]
        if math.isnan(values["a_mm"]) or math.isnan(values["b_mm"]):
            notes.append("A or B: no lateral wall on a ray from the axis")
        if math.isnan(values["turns"]):
            notes.append("turns: the apical turns are not resolved")
    else:
        notes.append("A, B, height, turns: the lumen does not coil once about the modiolar axis")
    return Measures(**values, note="; ".join(notes))
