"""Vestibule, semicircular canals and the nerve canals of an average right ear, and how ears differ in them.

Every tube is a list of points and radii (x, y, z, radius), mm in the reference frame.
"""

from dataclasses import dataclass

import numpy as np

from medlangevin.phantom.frame import FloatArray, rotation_matrix

VESTIBULE = np.array([-3.2, 4.5, 2.4])

# Ellipsoids of the vestibule: centre, semi-axes. Saccule end, main cavity, utricle recess.
_SACS = [
    (np.array([-3.3, 3.9, 1.9]), np.array([1.65, 2.35, 2.25])),
    (np.array([-3.2, 5.5, 2.7]), np.array([1.6, 1.9, 1.5])),
    (np.array([-4.1, 3.5, 3.2]), np.array([1.6, 2.0, 1.65])),
]
_LATERAL = np.array(
    [
        (-4.8, 2.3, 3.9, 0.85), (-6.7, 3.1, 3.9, 0.95), (-8.2, 3.5, 3.9, 0.7), (-9.1, 4.7, 3.7, 0.55),
        (-9.3, 6.1, 3.3, 0.5), (-8.7, 7.5, 3.1, 0.5), (-7.5, 8.2, 3.1, 0.5), (-5.5, 7.9, 3.1, 0.6),
        (-3.8, 7.0, 2.9, 0.75),
    ]
)  # fmt: skip
_POSTERIOR = np.array(
    [
        (-2.6, 6.3, 1.7, 0.7), (-2.8, 7.1, 0.7, 0.95), (-3.9, 8.1, -0.1, 0.65), (-4.9, 9.1, 0.0, 0.5),
        (-6.3, 10.7, 0.6, 0.5), (-7.3, 11.5, 2.2, 0.5), (-7.3, 11.6, 3.8, 0.5), (-6.4, 11.3, 5.3, 0.5),
        (-5.1, 10.5, 6.0, 0.5), (-3.6, 9.4, 6.0, 0.55), (-2.8, 8.4, 5.9, 0.65),
    ]
)  # fmt: skip
_COMMON_CRUS = np.array([(-2.7, 6.2, 2.9, 1.0), (-2.8, 7.1, 4.2, 0.75), (-2.7, 7.7, 5.1, 0.65), (-2.7, 8.0, 6.1, 0.65)])
_SUPERIOR = np.array(
    [
        (-2.8, 8.3, 5.9, 0.65), (-2.5, 7.9, 7.2, 0.55), (-2.6, 7.4, 8.6, 0.5), (-3.5, 6.4, 9.8, 0.5),
        (-5.0, 4.9, 10.1, 0.5), (-6.2, 3.6, 9.6, 0.5), (-6.7, 2.8, 8.3, 0.5), (-6.4, 2.3, 6.4, 0.6),
        (-5.6, 2.5, 5.5, 0.9), (-4.9, 3.1, 4.8, 0.85), (-4.3, 3.3, 4.1, 0.75),
    ]
)  # fmt: skip
# The tip of the internal auditory canal lies on the modiolar axis; it turns medially and backwards.
INTERNAL_AUDITORY_CANAL = np.array(
    [
        (0.95, 1.65, 0.8, 0.75), (1.3, 2.35, 1.15, 1.55), (1.8, 3.2, 1.5, 1.95), (2.9, 3.9, 1.65, 2.1),
        (5.2, 4.8, 1.8, 2.3), (7.7, 6.3, 1.85, 2.9), (9.4, 7.3, 1.85, 3.5), (11.5, 9.2, 1.8, 5.0),
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
    """How an ear's vestibule and canals differ from the average.

    Attributes:
        vestibule: Size of the vestibule relative to the average (1 = average).
        canals: Sizes of the lateral, posterior and superior canal relative to the average.
        canal_rotation_deg: How each canal is turned about the vestibule, rotation vectors in degrees.
        tube_width: Relative width of the tubes.
    """

    vestibule: float = 1.0
    canals: tuple[float, float, float] = (1.0, 1.0, 1.0)
    canal_rotation_deg: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),) * 3
    tube_width: float = 1.0


def sacs(shape: LabyrinthShape) -> list[tuple[FloatArray, FloatArray]]:
    """Ellipsoids whose union is the vestibule.

    Args:
        shape: How the ear differs from the average.

    Returns:
        Centre (3,) and semi-axes (3,) of each, mm.
    """
    return [(VESTIBULE + shape.vestibule * (centre - VESTIBULE), shape.vestibule * half) for centre, half in _SACS]


def canals(shape: LabyrinthShape) -> list[FloatArray]:
    """Tubes of the lateral, posterior and superior canal; the common crus goes with the last two.

    Args:
        shape: How the ear differs from the average.

    Returns:
        Points and radii (n, 4) of the lateral and posterior canal, the common crus and the superior canal, mm.
    """

    def varied(path: FloatArray, index: int) -> FloatArray:
        turn = rotation_matrix(np.asarray(shape.canal_rotation_deg[index]))
        points = VESTIBULE + shape.canals[index] * (path[:, :3] - VESTIBULE) @ turn.T
        return np.c_[points, shape.tube_width * path[:, 3]]

    posterior, crus, superior = varied(_POSTERIOR, 1), varied(_COMMON_CRUS, 2), varied(_SUPERIOR, 2)
    posterior[-1, :3] = superior[0, :3]
    return [varied(_LATERAL, 0), posterior, crus, superior]
