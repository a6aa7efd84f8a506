"""A trained run as a MONAI bundle: ``export`` writes one, ``load`` reads it, ``workflows`` is what MONAI calls."""

from medlangevin.inference.bundle.load import load_bundle
from medlangevin.inference.bundle.workflows import Encoder, encode, sample

__all__ = ["Encoder", "encode", "load_bundle", "sample"]
