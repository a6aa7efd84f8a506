"""Aligned cochlea crops from temporal-bone CT, Langevin autoencoders, and synthetic cochleae for shape analysis.

What a trained run needs from Python is here (docs/python.md); a name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from medlangevin._version import __version__

if TYPE_CHECKING:
    from medlangevin.inference.bundle import load_bundle
    from medlangevin.inference.generation import generate
    from medlangevin.inference.trained_run import TrainedRun, load_run
    from medlangevin.shape.measure import Measures, measure
    from medlangevin.system.errors import MedlangevinError
    from medlangevin.system.nifti import read_volume, write_volume


__all__ = [
    "Measures",
    "MedlangevinError",
    "TrainedRun",
    "__version__",
    "generate",
    "load_bundle",
    "load_run",
    "measure",
    "read_volume",
    "write_volume",
]

_HOMES = {
    "Measures": "shape.measure",
    "MedlangevinError": "system.errors",
    "TrainedRun": "inference.trained_run",
    "generate": "inference.generation",
    "load_bundle": "inference.bundle",
    "load_run": "inference.trained_run",
    "measure": "shape.measure",
    "read_volume": "system.nifti",
    "write_volume": "system.nifti",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
