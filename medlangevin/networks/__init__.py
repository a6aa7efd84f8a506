"""Encoders and decoders, 2D and 3D by one ``spatial_dims`` argument."""

from medlangevin.networks.convolutional import ConvDecoder, ConvEncoder, strided_shapes

__all__ = ["ConvDecoder", "ConvEncoder", "strided_shapes"]
