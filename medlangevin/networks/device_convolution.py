"""Convolutions as a GPU makes them fast; on other devices they are torch's own.

A Langevin step follows the gradient of a decoder, and training differentiates that gradient again. torch's double
backward pass of a convolution sees weight gradients as convolutions whose kernel is a whole image; on a GPU that took
two thirds of a QSL-VAE's step (docs/results/gpu_steps.md). Here every derivative is one of three maps, each with a
kernel of its own: with <y, W * x> trilinear, the derivatives are convolutions, transposed ones and weight gradients.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


def transposed_convolution(layer: nn.Module, x: Tensor) -> Tensor:
    """A transposed convolution, the same on every device, up to rounding.

    Args:
        layer: The layer, without groups or dilation.
        x: (N, C, *spatial).

    Returns:
        What the layer gives.
    """
    if x.device.type != "cuda" or not isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
        y: Tensor = layer(x)
        return y
    return TransposedConvolution.of(layer)(x, layer.weight, layer.bias)


class TransposedConvolution(NamedTuple):
    """The settings of a transposed convolution, one entry a spatial dimension.

    Attributes:
        stride: Steps of the output for one of the input.
        padding: Elements cut off at both ends.
        output_padding: Elements added at the far end.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]

    @classmethod
    def of(cls, layer: nn.ConvTranspose2d | nn.ConvTranspose3d) -> "TransposedConvolution":
        """That of a layer.

        Args:
            layer: The layer, without groups or dilation.

        Returns:
            Its settings.
        """
        return cls(tuple(layer.stride), tuple(map(int, layer.padding)), tuple(layer.output_padding))

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The transposed convolution of x.

        Args:
            x: (N, C, *spatial).
            weight: (C, C', *kernel).
            bias: (C',), or None.

        Returns:
            (N, C', *spatial').
        """
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        y = _convolve(x, weight, self, transposed=True)
        return y if bias is None else y + bias.view(-1, *[1] * (x.ndim - 2))


class _Convolution(torch.autograd.Function):
    """x and weight -> the transposed convolution, or the convolution that is its transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, shape: TransposedConvolution, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape, ctx.transposed = shape, transposed
        return torch.ops.aten.convolution(x, weight, None, *_arguments(shape, transposed))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = _wanted(ctx)
        return (
            _convolve(upstream, weight, ctx.shape, transposed=not ctx.transposed) if of_x else None,
            _WeightGradient.apply(_inner(x), _inner(upstream), weight.shape, ctx.shape, ctx.transposed)
            if of_weight
            else None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    """x and the gradient of ``_Convolution``'s output -> the gradient of its weight."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, weight_shape: torch.Size, shape: TransposedConvolution, transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.shape, ctx.transposed = shape, transposed
        unread = x.new_empty(weight_shape)  # only its shape matters
        arguments = _arguments(shape, transposed)
        _, gradient, _ = torch.ops.aten.convolution_backward(y, x, unread, None, *arguments, [False, True, False])
        return gradient

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        of_x, of_y = _wanted(ctx)
        return (
            _convolve(y, upstream, ctx.shape, transposed=not ctx.transposed) if of_x else None,
            _convolve(x, upstream, ctx.shape, transposed=ctx.transposed) if of_y else None,
            None,
            None,
            None,
        )


def _convolve(x: Tensor, weight: Tensor, shape: TransposedConvolution, *, transposed: bool) -> Tensor:
    y: Tensor = _Convolution.apply(_inner(x), _inner(weight), shape, transposed)
    return y


def _inner(value: Tensor) -> Tensor:
    """``value``, no leaf of the graph: of leaves the engine does not say whether it is heading there."""
    return value.view_as(value) if value.is_leaf and value.requires_grad else value


def _wanted(ctx: Any) -> list[bool]:
    """Which of the two first inputs the backward pass at hand needs a gradient for.

    ``needs_input_grad`` says only which could have one; a force, which is for positions alone, would pay for those of
    all weights.
    """
    return [
        needed and torch._C._will_engine_execute_node(function)
        for needed, (function, _) in zip(ctx.needs_input_grad[:2], ctx.next_functions[:2], strict=True)
    ]


def _arguments(shape: TransposedConvolution, transposed: bool) -> tuple[Any, ...]:
    """stride, padding, dilation, transposed, output padding and groups."""
    ones = [1] * len(shape.stride)
    rest = list(shape.output_padding) if transposed else [0] * len(shape.stride)
    return list(shape.stride), list(shape.padding), ones, transposed, rest, 1
