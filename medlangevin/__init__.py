"""Aligned cochlea crops from temporal-bone CT, Langevin autoencoders, and synthetic cochleae for shape analysis."""

__version__ = "0.1.0"
