"""A trained run as a MONAI bundle: ``export`` writes one, ``load`` reads it, ``workflows`` is what MONAI calls."""

from medlangevin.evaluation.bundle.load import load_bundle
from medlangevin.evaluation.bundle.workflows import Encoder, encode, sample

__all__ = ["Encoder", "encode", "load_bundle", "sample"]
