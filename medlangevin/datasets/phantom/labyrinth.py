"""Vestibule, semicircular canals and the nerve canals of an average right ear, and how ears differ in them.

Every tube is a list of points and radii (x, y, z, radius), mm in the reference frame.
"""

from dataclasses import dataclass

import numpy as np

from medlangevin.datasets.phantom.frame import FloatArray, rotation_matrix

VESTIBULE = np.array([-3.2, 4.5, 2.4])

# Ellipsoids of the vestibule: centre, semi-axes. Saccule end, main cavity, utricle recess.
_SACS = [
    (np.array([-3.4, 3.8, 0.4]), np.array([1.15, 1.75, 1.5])),
    (np.array([-3.2, 4.6, 2.5]), np.array([1.95, 2.85, 1.6])),
    (np.array([-4.1, 3.1, 3.8]), np.array([1.9, 1.4, 1.1])),
]
_LATERAL = np.array(
    [
        (-4.5, 3.0, 3.9, 1.0), (-6.5, 2.9, 4.1, 1.05), (-8.2, 3.5, 4.1, 0.9), (-9.5, 4.8, 3.7, 0.55),
        (-9.9, 6.3, 3.2, 0.5), (-9.0, 7.8, 2.9, 0.5), (-7.3, 8.3, 2.8, 0.5), (-5.5, 7.8, 2.9, 0.55),
        (-3.8, 6.8, 3.0, 0.6),
    ]
)  # fmt: skip
_POSTERIOR = np.array(
    [
        (-3.0, 6.3, 1.6, 0.7), (-2.8, 7.1, 0.7, 0.95), (-3.5, 7.8, 0.1, 0.7), (-5.0, 9.3, -0.1, 0.5),
        (-6.5, 10.8, 0.4, 0.5), (-7.3, 11.6, 2.0, 0.5), (-7.3, 11.8, 3.7, 0.5), (-6.7, 11.3, 5.1, 0.5),
        (-5.4, 10.2, 5.9, 0.5), (-4.0, 9.0, 6.1, 0.55), (-2.8, 8.1, 5.8, 0.6),
    ]
)  # fmt: skip
_COMMON_CRUS = np.array([(-2.9, 6.5, 3.2, 0.8), (-2.8, 7.1, 4.2, 0.75), (-2.7, 7.7, 5.1, 0.7), (-2.6, 8.1, 5.9, 0.65)])
_SUPERIOR = np.array(
    [
        (-2.6, 8.1, 5.9, 0.6), (-2.4, 8.0, 7.2, 0.55), (-2.7, 7.5, 8.7, 0.5), (-3.6, 6.4, 10.0, 0.5),
        (-5.0, 4.9, 10.4, 0.5), (-6.3, 3.6, 9.7, 0.5), (-6.9, 2.8, 8.4, 0.5), (-6.7, 2.4, 7.0, 0.55),
        (-6.0, 2.5, 5.9, 0.8), (-5.0, 2.8, 4.9, 0.9), (-4.2, 3.0, 4.0, 0.8),
    ]
)  # fmt: skip
# The tip of the internal auditory canal lies on the modiolar axis; it turns medially and backwards.
INTERNAL_AUDITORY_CANAL = np.array(
    [
        (0.95, 1.70, 0.80, 1.10), (1.3, 2.35, 1.1, 1.55), (1.8, 3.1, 1.45, 1.85), (3.0, 4.0, 1.75, 2.0),
        (4.8, 4.8, 1.95, 2.2), (7.0, 5.6, 1.95, 2.5), (9.0, 6.4, 1.9, 3.0), (11.5, 7.4, 1.8, 3.7),
        (14.0, 8.5, 1.8, 4.6),
    ]
)  # fmt: skip
FACIAL_NERVE = np.array(
    [
        (1.3, 2.6, 2.9, 0.5), (0.5, 1.3, 3.9, 0.45), (-0.6, -0.2, 4.7, 0.45), (-1.8, -1.7, 5.0, 0.6),
        (-2.9, -0.9, 4.7, 0.5), (-4.0, 0.7, 4.2, 0.5), (-5.6, 2.7, 3.4, 0.5), (-7.2, 5.0, 2.5, 0.5),
        (-8.6, 6.8, 1.4, 0.55), (-9.2, 7.6, 0.0, 0.55),
    ]
)  # fmt: skip
COCHLEAR_NERVE = np.array(
    [(0.85, 1.5, 0.7, 1.0), (0.5, 0.9, 0.45, 0.9), (0.1, 0.2, 0.1, 0.7), (-0.25, -0.5, -0.15, 0.5)]
)


@dataclass(frozen=True)
class LabyrinthShape:
    """How an ear's vestibule and canals differ from the average: sizes relative to it (1 = average), each canal's
    turning about the vestibule (rotation vectors, degrees), the tubes' relative width."""

    vestibule: float = 1.0
    canals: tuple[float, float, float] = (1.0, 1.0, 1.0)
    canal_rotation_deg: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),) * 3
    tube_width: float = 1.0


def sacs(shape: LabyrinthShape) -> list[tuple[FloatArray, FloatArray]]:
    """Ellipsoids (centre, semi-axes) whose union is the vestibule."""
    return [(VESTIBULE + shape.vestibule * (centre - VESTIBULE), shape.vestibule * half) for centre, half in _SACS]


def canals(shape: LabyrinthShape) -> list[FloatArray]:
    """Tubes (n, 4) of the lateral, posterior and superior canal; the common crus goes with the last two."""

    def varied(path: FloatArray, index: int) -> FloatArray:
        turn = rotation_matrix(np.asarray(shape.canal_rotation_deg[index]))
        points = VESTIBULE + shape.canals[index] * (path[:, :3] - VESTIBULE) @ turn.T
        return np.c_[points, shape.tube_width * path[:, 3]]

    posterior, crus, superior = varied(_POSTERIOR, 1), varied(_COMMON_CRUS, 2), varied(_SUPERIOR, 2)
    posterior[-1, :3] = superior[0, :3]
    return [varied(_LATERAL, 0), posterior, crus, superior]
