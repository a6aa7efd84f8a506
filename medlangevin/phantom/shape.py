"""How adult ears differ: the phantom's shape parameters, their means, spreads and correlations.

Means and spreads are those the literature gives for adult cochleae on CT and micro-CT: A 9.2 +- 0.4 mm, B 6.8 +- 0.4,
turns 2.6 +- 0.2, lateral wall 41 +- 1.7 mm, volume 73 +- 11 mm3 within 56 to 113 and so skewed to the right.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.stats import norm, truncnorm

from medlangevin.phantom.duct import Duct, make_duct, solve_stretch
from medlangevin.phantom.labyrinth import LabyrinthShape

VOLUME_RANGE_MM3 = (56.0, 113.0)
# Mean and spread of ln(volume) before the cut to the range, which leaves 73 and 11 mm3.
_LOG_VOLUME = (4.2435, 0.1787)
# The measures that decide the duct, in the order of the constants below.
NAMES = ("a_mm", "b_mm", "turns", "lateral_wall_mm", "height_mm", "volume_mm3")
MEANS = np.array([9.2, 6.8, 2.6, 41.0, 4.3])
SPREADS = np.array([0.4, 0.4, 0.2, 1.7, 0.3])
# Large ears are large in every way; ears with more turns are wound a little tighter.
CORRELATION = np.array(
    [
        # A     B     turns wall  height volume
        [1.00, 0.40, -0.15, 0.50, 0.25, 0.55],
        [0.40, 1.00, -0.15, 0.70, 0.25, 0.60],
        [-0.15, -0.15, 1.00, 0.45, 0.15, 0.05],
        [0.50, 0.70, 0.45, 1.00, 0.30, 0.60],
        [0.25, 0.25, 0.15, 0.30, 1.00, 0.45],
        [0.55, 0.60, 0.05, 0.60, 0.45, 1.00],
    ]
)
_CHOLESKY = np.linalg.cholesky(CORRELATION)
_LARGEST_DEVIATION = 3.0  # in spreads


@dataclass(frozen=True)
class ShapeParameters:
    """An inner ear's shape.

    Attributes:
        a_mm: The cochlea's width through the round window.
        b_mm: The width across it.
        turns: Number of turns.
        lateral_wall_mm: Length of the outer wall.
        height_mm: Height along the modiolar axis.
        volume_mm3: Volume of the duct.
        labyrinth: How vestibule and canals differ from the average.
    """

    a_mm: float = 9.2
    b_mm: float = 6.8
    turns: float = 2.6
    lateral_wall_mm: float = 41.0
    height_mm: float = 4.3
    volume_mm3: float = 73.0
    labyrinth: LabyrinthShape = field(default_factory=LabyrinthShape)

    def duct(self) -> Duct:
        """The cochlear duct of this shape.

        Returns:
            The duct.

        Raises:
            ValueError: No duct has these measures.
        """
        return _duct(self)


@lru_cache(maxsize=8)  # the solver is slow and a shape's duct is asked for again and again
def _duct(shape: ShapeParameters) -> Duct:
    return make_duct(solve_stretch(**{name: getattr(shape, name) for name in NAMES}))


MEAN_SHAPE = ShapeParameters()


def _volume(deviate: float) -> float:
    mean, spread = _LOG_VOLUME
    low, high = ((np.log(end) - mean) / spread for end in VOLUME_RANGE_MM3)
    return float(np.exp(truncnorm.ppf(norm.cdf(deviate), low, high, loc=mean, scale=spread)))


def _sample_labyrinth(rng: np.random.Generator, size: float) -> LabyrinthShape:
    def about_one(spread: float, shared: float) -> float:
        return float(1 + np.clip(shared * size + spread * rng.standard_normal(), -3 * spread, 3 * spread))

    def turned() -> tuple[float, float, float]:
        x, y, z = np.clip(rng.normal(0, 2.0, 3), -5, 5)
        return float(x), float(y), float(z)

    return LabyrinthShape(
        vestibule=about_one(0.04, 0.02),
        canals=(about_one(0.03, 0.02), about_one(0.03, 0.02), about_one(0.03, 0.02)),
        canal_rotation_deg=(turned(), turned(), turned()),
        tube_width=about_one(0.05, 0.02),
    )


def sample_shape(rng: np.random.Generator) -> ShapeParameters:
    """Draw one inner ear. The marginals and their rank correlations are the module's constants.

    Args:
        rng: Source of the draws.

    Returns:
        The shape.
    """
    while True:
        deviates = _CHOLESKY @ rng.standard_normal(len(NAMES))
        labyrinth = _sample_labyrinth(rng, float(deviates[:2].mean()))
        if np.abs(deviates).max() > _LARGEST_DEVIATION:
            continue
        a, b, turns, wall, height = (float(value) for value in MEANS + SPREADS * deviates[:5])
        shape = ShapeParameters(a, b, turns, wall, height, _volume(float(deviates[5])), labyrinth)
        try:
            shape.duct()
        except ValueError:  # a wall length that this A, B and number of turns cannot give
            continue
        return shape
