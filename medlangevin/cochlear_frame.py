"""Where the cochlea lies in the reference frame, agreed between the rooms that make, align and measure ears.

Reference frame: LPS mm of a RIGHT ear (+x medial, +y posterior, +z superior), origin at the centroid of the cochlear
lumen's surface. Modiolar coordinates (u, v, h) in it, mm: h along the modiolar axis from base to apex, u towards the
oval window, v = axis x u. Seen from the apex a right duct winds inwards counter-clockwise, from u towards v.
The numbers are rounded means over a cohort of inner-ear surfaces aligned in that frame.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector))


MODIOLUS_CENTRE_LPS: Final[Vector] = np.array([0.26, 0.44, 0.23])
MODIOLAR_AXIS_LPS: Final[Vector] = _unit(np.array([-0.45, -0.81, -0.37]))
OVAL_WINDOW_LPS: Final[Vector] = np.array([-4.3, 2.85, 1.35])
_TO_OVAL_WINDOW: Final[Vector] = OVAL_WINDOW_LPS - MODIOLUS_CENTRE_LPS
U_LPS: Final[Vector] = _unit(_TO_OVAL_WINDOW - _TO_OVAL_WINDOW @ MODIOLAR_AXIS_LPS * MODIOLAR_AXIS_LPS)
V_LPS: Final[Vector] = np.cross(MODIOLAR_AXIS_LPS, U_LPS)
# The duct winds about a line parallel to the axis, beside the middle of the modiolus. Polar angles are about this line.
SPIRAL_CENTRE_UV: Final[Vector] = np.array([-0.25, -0.45])
SPIRAL_CENTRE_LPS: Final[Vector] = MODIOLUS_CENTRE_LPS + SPIRAL_CENTRE_UV[0] * U_LPS + SPIRAL_CENTRE_UV[1] * V_LPS
# The middle of the crops, of 12 x 10 x 10 mm.
CROP_CENTRE_LPS: Final = (-0.4, 0.45, 0.4)
# Direction of the round window, where the duct's own angle is zero.
ROUND_WINDOW_ANGLE_DEG: Final = 28.0
