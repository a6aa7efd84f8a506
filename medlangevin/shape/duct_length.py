"""Published estimates of the cochlear duct length from the widths A and B."""

import math


def organ_of_corti_from_a(a_mm: float) -> float:
    """Length in mm of the organ of Corti: CDL(oc) = 4.16 A - 4.

    Alexiades, Dhanasingh and Jolly 2015, Otol Neurotol 36(5):904-907.
    """
    return 4.16 * a_mm - 4.0


def insertion_path_from_a(a_mm: float) -> float:
    """Length in mm of the path that an electrode takes along the lateral wall: CDL(i) = 4.16 A - 2.7.

    Alexiades, Dhanasingh and Jolly 2015, Otol Neurotol 36(5):904-907.
    """
    return 4.16 * a_mm - 2.7


def first_turn_from_a_and_b(a_mm: float, b_mm: float) -> float:
    """Lateral wall length in mm of the first turn, of quarters of ellipses: 1.18 A + 2.69 B - sqrt(0.72 A B).

    Elliptic-circular approximation of Schurzig et al. 2018, OTO Open 2(4), doi 10.1177/2473974X18800238.
    """
    return 1.18 * a_mm + 2.69 * b_mm - math.sqrt(0.72 * a_mm * b_mm)


def lateral_wall_from_a_and_b(a_mm: float, b_mm: float) -> float:
    """Lateral wall length in mm of the whole duct: 1.71 times the first turn's + 0.18 mm (Schurzig et al. 2018)."""
    return 1.71 * first_turn_from_a_and_b(a_mm, b_mm) + 0.18
