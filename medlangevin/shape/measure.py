"""The shape measures of one ear, each with its definition; what cannot be found is missing and says why.

Published estimates of the duct's length from the A and B value are the last functions.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.shape import coil, coordinates, sections, surface
from medlangevin.shape.levels import NoLumenError
from medlangevin.shape.sections import Sections
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
    lateral_wall_mm: float = _measure(
        "Lateral wall",
        "mm",
        "Length in space of the lateral wall, from the round window's angle to the end of the duct: the outermost "
        "points of the cross-sections every 5 degrees, smoothed over 75 degrees; before 30 degrees the wall's radius "
        "is continued as for A",
    )
    cdl_corti_a_mm: float = _measure(
        "Duct length (organ of Corti) from A",
        "mm",
        "4.16 A - 4: CDL(oc) of Alexiades et al. 2015 (Otol Neurotol 36:904), with A as defined here; with A from the "
        "centre of the round window, as in that paper, it is shorter",
    )
    cdl_insertion_a_mm: float = _measure(
        "Duct length (electrode path) from A",
        "mm",
        "4.16 A - 2.7: CDL(i), along the lateral wall where an electrode lies, of Alexiades et al. 2015 (Otol Neurotol "
        "36:904), with A as defined here",
    )
    cdl_wall_ab_mm: float = _measure(
        "Lateral wall from A and B",
        "mm",
        "1.71 (1.18 A + 2.69 B - sqrt(0.72 A B)) + 0.18: the elliptic-circular approximation of Schurzig et al. 2018 "
        "(OTO Open 2(4), doi 10.1177/2473974X18800238), with A and B as defined here",
    )
    mean_area_mm2: float = _measure(
        "Mean cross-section, first turn",
        "mm2",
        "Mean area of the duct's cross-sections by half-planes through the modiolar axis, every 5 degrees from 30 "
        "(clear of the round window) to 360 degrees from the round window (cylindrical coordinates of Verbist et al. "
        "2010, Otol Neurotol 31:722)",
    )
    note: str = ""


class Analysis(NamedTuple):
    """All that was found in one volume.

    Attributes:
        measures: Its measures.
        lumen: The segmented lumen; None where there is none.
        sections: The duct's cross-sections; None where the lumen does not coil.
    """

    measures: Measures
    lumen: Lumen | None = None
    sections: Sections | None = None


def measure_fields() -> list[dataclasses.Field[Any]]:
    """The fields of ``Measures`` that are measures.

    Returns:
        They, in order, each with title, units and definition in its metadata.
    """
    return [item for item in dataclasses.fields(Measures) if item.metadata]


def measure(hu: NDArray[np.generic], affine: NDArray[np.float64]) -> Measures:
    """Segment the lumen of a crop in the reference frame and measure it.

    Args:
        hu: Grey values (i, j, k).
        affine: Voxel to RAS mm (4, 4).

    Returns:
        The measures of ``analyse`` alone.
    """
    return analyse(hu, affine).measures


def analyse(hu: NDArray[np.generic], affine: NDArray[np.float64]) -> Analysis:
    """Segment the lumen of a crop in the reference frame and measure it.

    Args:
        hu: Grey values (i, j, k).
        affine: Voxel to RAS mm (4, 4).

    Returns:
        All that was found. A volume without a lumen gives measures that are all missing and a note that says why; it is
        never an error.
    """
    try:
        lumen = segment_lumen(hu, affine)
    except NoLumenError as error:
        return Analysis(Measures(note=f"nothing measured: {error}"))
    return analyse_lumen(lumen)


def analyse_lumen(lumen: Lumen) -> Analysis:
    """Measure a segmented lumen.

    Args:
        lumen: The lumen.

    Returns:
        All that was found.
    """
    mesh = surface.mesh_of(lumen.level, lumen.affine)
    volume, _ = surface.volume_and_centroid(mesh)
    extents = surface.principal_extents(mesh)
    notes = list(lumen.notes)
    values = {
        "volume_mm3": volume,
        "surface_mm2": float(mesh.face_areas[~surface.is_cap(mesh)].sum()),
        "extent_1_mm": float(extents[0]),
        "extent_2_mm": float(extents[1]),
        "extent_3_mm": float(extents[2]),
    }
    path = coil.trace(lumen)
    cuts = None
    if path.angle_deg.size and path.angle_deg[-1] >= 360.0:
        cuts = sections.cut_sections(lumen, path)
        values |= _coil_values(lumen, path, cuts, coordinates.to_modiolar(mesh.vertices))
        cuts = _up_to_the_end(cuts, path, values["turns"])
        if math.isnan(values["a_mm"]) or math.isnan(values["b_mm"]):
            notes.append("A or B: no lateral wall on a ray from the axis")
        if math.isnan(values["turns"]):
            notes.append("turns, lateral wall: the apical turns are not resolved")
    else:
        notes.append(
            "A, B, height, turns, lengths, cross-sections: the lumen does not coil once about the modiolar axis"
        )
    return Analysis(Measures(**values, note="; ".join(notes)), lumen, cuts)


def _up_to_the_end(cuts: Sections, path: coil.Path, turns: float) -> Sections:
    """The sections of the duct itself: beyond its end a path goes on in the turn below."""
    highest = float(path.angle_deg[path.height_mm.argmax()])
    end = max(360.0, highest if math.isnan(turns) else 360.0 * turns)
    return Sections(*(values[cuts.angle_deg <= end] for values in cuts))


def _coil_values(lumen: Lumen, path: coil.Path, cuts: Sections, vertices: NDArray[np.float64]) -> dict[str, float]:
    """What is measured along the coil; ``vertices``: the wall (n, 3) in modiolar coordinates."""
    a, b = coil.a_value(lumen), coil.b_value(lumen)
    turns = coil.turns(path, float(vertices[:, 2].max()))
    step = float(path.angle_deg[1] - path.angle_deg[0])
    start = coil.wall_from_round_window(lumen, np.arange(0.0, path.angle_deg[0], step))
    return {
        "a_mm": a,
        "b_mm": b,
        "b_over_a": b / a,
        "height_mm": coil.height(vertices),
        "turns": turns,
        "lateral_wall_mm": sections.wall_length(cuts, start, end_deg=360.0 * turns),
        "cdl_corti_a_mm": organ_of_corti_from_a(a),
        "cdl_insertion_a_mm": insertion_path_from_a(a),
        "cdl_wall_ab_mm": lateral_wall_from_a_and_b(a, b),
        "mean_area_mm2": sections.mean_area(cuts),
    }


def organ_of_corti_from_a(a_mm: float) -> float:
    """Length of the organ of Corti: CDL(oc) = 4.16 A - 4.

    Args:
        a_mm: A value.

    Returns:
        mm (Alexiades, Dhanasingh and Jolly 2015, Otol Neurotol 36(5):904-907).
    """
    return 4.16 * a_mm - 4.0


def insertion_path_from_a(a_mm: float) -> float:
    """Length of the path that an electrode takes along the lateral wall: CDL(i) = 4.16 A - 2.7.

    Args:
        a_mm: A value.

    Returns:
        mm (Alexiades, Dhanasingh and Jolly 2015, Otol Neurotol 36(5):904-907).
    """
    return 4.16 * a_mm - 2.7


def first_turn_from_a_and_b(a_mm: float, b_mm: float) -> float:
    """Lateral wall length of the first turn, of quarters of ellipses: 1.18 A + 2.69 B - sqrt(0.72 A B).

    Args:
        a_mm: A value.
        b_mm: B value.

    Returns:
        mm, by the elliptic-circular approximation of Schurzig et al. 2018, OTO Open 2(4), doi 10.1177/2473974X18800238.
    """
    return 1.18 * a_mm + 2.69 * b_mm - math.sqrt(0.72 * a_mm * b_mm)


def lateral_wall_from_a_and_b(a_mm: float, b_mm: float) -> float:
    """Lateral wall length of the whole duct: 1.71 times the first turn's + 0.18 mm.

    Args:
        a_mm: A value.
        b_mm: B value.

    Returns:
        mm (Schurzig et al. 2018).
    """
    return 1.71 * first_turn_from_a_and_b(a_mm, b_mm) + 0.18
