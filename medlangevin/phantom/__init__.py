"""The digital cochlea phantom: parametric inner ears rendered as CT, with truth.

``write_cohort`` writes DICOM studies; ``sample_shape`` and ``MEAN_SHAPE`` are the shapes; ``reference`` makes the image
that all ears are registered to.
"""

from medlangevin.phantom.cohort import write_cohort
from medlangevin.phantom.shape import MEAN_SHAPE, ShapeParameters, sample_shape

__all__ = ["MEAN_SHAPE", "ShapeParameters", "sample_shape", "write_cohort"]
