from .inference.bundle import load_bundle as load_bundle
from .inference.generation import generate as generate
from .runs.load import load_run as load_run
from .runs.run import Run as Run
from .shape.measure import Measures as Measures
from .shape.measure import measure as measure
from .system.errors import MedlangevinError as MedlangevinError
from .system.nifti import read_volume as read_volume
from .system.nifti import write_volume as write_volume

__all__: list[str]
__version__: str
