"""The shape measures of one ear; what cannot be found is missing and says why.

Published estimates of the duct's length from the A and B value are the last functions.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.shape import coil, coordinates, sections, surface
from medlangevin.shape.columns import COLUMNS
from medlangevin.shape.levels import NoLumenError
from medlangevin.shape.sections import Sections
from medlangevin.shape.segment import Lumen, segment_lumen


def _measure(name: str) -> Any:
    about = COLUMNS["measures"][name]
    described = {"title": about["LongName"], "units": about.get("Units", ""), "definition": about["Description"]}
    return field(default=math.nan, metadata=described)


@dataclass(frozen=True)
class Measures:
    """Shape measures of a cochlear lumen, defined in ``columns.json``.

    One that could not be found is NaN, with the reason in ``note``.
    """

    volume_mm3: float = _measure("volume_mm3")
    surface_mm2: float = _measure("surface_mm2")
    extent_1_mm: float = _measure("extent_1_mm")
    extent_2_mm: float = _measure("extent_2_mm")
    extent_3_mm: float = _measure("extent_3_mm")
    a_mm: float = _measure("a_mm")
    b_mm: float = _measure("b_mm")
    b_over_a: float = _measure("b_over_a")
    height_mm: float = _measure("height_mm")
    turns: float = _measure("turns")
    lateral_wall_mm: float = _measure("lateral_wall_mm")
    cdl_corti_a_mm: float = _measure("cdl_corti_a_mm")
    cdl_insertion_a_mm: float = _measure("cdl_insertion_a_mm")
    cdl_wall_ab_mm: float = _measure("cdl_wall_ab_mm")
    mean_area_mm2: float = _measure("mean_area_mm2")
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
    extents = enumerate(surface.principal_extents(mesh), start=1)
    notes = list(lumen.notes)
    values = {
        "volume_mm3": volume,
        "surface_mm2": float(mesh.face_areas[~surface.is_cap(mesh)].sum()),
        **{f"extent_{number}_mm": float(extent) for number, extent in extents},
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
