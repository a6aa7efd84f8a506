"""Encoders and decoders for 2D and 3D images, by the number of dimensions of ``image_shape``; normalising flows."""

from medlangevin.networks.convolutional import ConvDecoder, ConvEncoder, ConvFeatures, strided_shapes
from medlangevin.networks.mlp import MLPDecoder, MLPEncoder, MLPFeatures
from medlangevin.networks.planar import PlanarFlow

__all__ = [
    "ConvDecoder",
    "ConvEncoder",
    "ConvFeatures",
    "MLPDecoder",
    "MLPEncoder",
    "MLPFeatures",
    "PlanarFlow",
    "strided_shapes",
]
