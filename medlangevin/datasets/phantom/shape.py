"""How adult ears differ: the phantom's shape parameters, their means, spreads and correlations."""

from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from medlangevin.datasets.phantom.labyrinth import LabyrinthShape


class CochleaMeasures(TypedDict):
    """What decides the duct: lengths in mm, volume in mm3."""

    a_mm: float
    b_mm: float
    turns: float
    lateral_wall_mm: float
    height_mm: float
    volume_mm3: float


@dataclass(frozen=True)
class ShapeParameters:
    """An inner ear's shape. ``a_mm``: largest width through the round window; ``b_mm``: width across it;
    ``lateral_wall_mm``: length of the outer wall; ``volume_mm3``: of the cochlear lumen; ``height_mm``: along the
    modiolar axis."""

    a_mm: float = 9.2
    b_mm: float = 6.8
    turns: float = 2.6
    lateral_wall_mm: float = 41.0
    height_mm: float = 4.5
    volume_mm3: float = 73.0
    labyrinth: LabyrinthShape = field(default_factory=LabyrinthShape)

    def cochlea(self) -> CochleaMeasures:
        """The duct's measures, by the names ``solve_stretch`` takes."""
        return CochleaMeasures(
            a_mm=self.a_mm,
            b_mm=self.b_mm,
            turns=self.turns,
            lateral_wall_mm=self.lateral_wall_mm,
            height_mm=self.height_mm,
            volume_mm3=self.volume_mm3,
        )


MEAN_SHAPE = ShapeParameters()
