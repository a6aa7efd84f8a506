"""The version of the package; nothing else, so that every room may read it."""

__version__ = "0.1.0"
