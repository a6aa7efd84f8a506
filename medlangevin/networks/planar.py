"""Planar normalising flow (Rezende & Mohamed 2015, Eqs. 10 to 12 and appendix A.1)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# m(0) = 0, so that a layer with u = 0 is the identity; the paper's m(x) = softplus(x) - 1 would start off it.
_SHIFT = math.log(math.e - 1)


class PlanarFlow(nn.Module):
    """z (N, ``dim``) -> (z_K (N, ``dim``), log |det dz_K / dz| (N,)), K = ``num_layers`` layers z + u tanh(w . z + b).

    Each layer is invertible: the part of u along w is replaced by m(w . u) / |w|, m(x) = softplus(x + log(e - 1)) - 1,
    so that w . u > -1 (A.1, with the argument shifted; any increasing m into (-1, inf) will do). Starts near the
    identity.

    Args:
        dim: The dimensions of z.
        num_layers: K.
    """

    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(dim**-0.5 * torch.randn(num_layers, dim))
        self.direction = nn.Parameter(0.01 * torch.randn(num_layers, dim))
        self.bias = nn.Parameter(torch.zeros(num_layers))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Through all layers, in full precision, autocast or not.

        Args:
            z: (N, ``dim``).

        Returns:
            z_K (N, ``dim``), and the summed log-determinants (N,), in nats.
        """
        with torch.autocast(z.device.type, enabled=False):
            return self._transform(z)

    def _transform(self, z: Tensor) -> tuple[Tensor, Tensor]:
        log_det = torch.zeros(z.shape[:-1], dtype=z.dtype, device=z.device)
        for w, u, b in zip(self.weight, self.direction, self.bias, strict=True):
            product = w @ u
            above = functional.softplus(product + _SHIFT)  # 1 + w . u of the layer as it is applied
            u = u + (above - 1 - product) * w / w.square().sum().clamp_min(torch.finfo(w.dtype).tiny)
            activation = torch.tanh(z @ w + b)
            z = z + u * activation[..., None]
            squared = activation.square()
            # 1 + (w . u)(1 - tanh^2), written as a sum of positive terms: no cancellation as w . u approaches -1.
            log_det = log_det + torch.log(squared + above * (1 - squared))
        return z, log_det
