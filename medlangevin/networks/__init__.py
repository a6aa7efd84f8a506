"""Encoders and decoders for 2D and 3D images, by the number of dimensions of ``image_shape``; normalising flows."""

from medlangevin.networks.conv5 import Conv5Decoder, Conv5Encoder, Conv5Features
from medlangevin.networks.convolutional import ConvDecoder, ConvEncoder, ConvFeatures, strided_shapes
from medlangevin.networks.mlp import MLPDecoder, MLPEncoder, MLPFeatures
from medlangevin.networks.planar import PlanarFlow

__all__ = [
    "Conv5Decoder",
    "Conv5Encoder",
    "Conv5Features",
    "ConvDecoder",
    "ConvEncoder",
    "ConvFeatures",
    "MLPDecoder",
    "MLPEncoder",
    "MLPFeatures",
    "PlanarFlow",
    "strided_shapes",
]
