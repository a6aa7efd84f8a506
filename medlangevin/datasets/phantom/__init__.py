"""The digital cochlea phantom: parametric inner ears rendered as CT, with truth.

``write_cohort`` writes DICOM studies; ``sample_shape`` and ``MEAN_SHAPE`` are the shapes; ``reference`` makes the image
that all ears are registered to.
"""

from medlangevin.datasets.phantom.cohort import write_cohort
from medlangevin.datasets.phantom.shape import MEAN_SHAPE, ShapeParameters, sample_shape

__all__ = ["MEAN_SHAPE", "ShapeParameters", "sample_shape", "write_cohort"]
