"""Aligned cochlea crops from temporal-bone CT, Langevin autoencoders, and synthetic cochleae for shape analysis.

What a trained run needs from Python is in ``__init__.pyi`` (docs/python.md); a name is imported when it is first used.
"""

import logging

import lazy_loader

from medlangevin._version import __version__ as __version__

# Without a handler of the caller's, Python would print warnings on standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
