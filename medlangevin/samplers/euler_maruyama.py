"""The Euler-Maruyama integrator of overdamped Langevin dynamics dz = -grad U dt + sqrt(2) dB."""

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential
from medlangevin.samplers.scalar import Scalar, scalar_like


def step(position: Tensor, gradient: Tensor, *, step_size: Scalar, noise: Tensor) -> Tensor:
    """z' = z - eta grad U(z) + sqrt(2 eta) xi; ``gradient`` is that of U at ``position``, so none is made here.

    ``position``, ``gradient`` and ``noise`` xi have one shape; ``step_size`` eta > 0 broadcasts against it.
    """
    eta = scalar_like(step_size, position)
    return position - eta * gradient + (2 * eta).sqrt() * noise


def log_det_jacobian(position: Tensor, potential: Potential, *, step_size: Scalar) -> Tensor:
    """log |det J| of one step at each position (chains, d): log |det(I - diag(eta) Hessian of U)|, (chains,).

    Unlike the quasi-symplectic step's it depends on the potential and costs a d x d Hessian a chain: the reason why
    flows are not built on this integrator.
    """
    eta = scalar_like(step_size, position)
    hessians = torch.stack(
        [torch.autograd.functional.hessian(lambda row: potential(row[None])[0], row) for row in position]
    )
    identity = torch.eye(position.shape[-1], dtype=position.dtype, device=position.device)
    return torch.linalg.slogdet(identity - eta.expand(position.shape[-1])[:, None] * hessians).logabsdet
