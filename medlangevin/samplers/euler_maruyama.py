"""The Euler-Maruyama integrator of overdamped Langevin dynamics dz = -grad U dt + sqrt(2) dB."""

import torch
from torch import Tensor

from medlangevin.samplers.potential import Potential, Scalar, scalar_like


def step(position: Tensor, gradient: Tensor, *, step_size: Scalar, noise: Tensor) -> Tensor:
    """One step, z' = z - eta grad U(z) + sqrt(2 eta) xi; no gradient is computed here.

    Args:
        position: z, of any shape.
        gradient: That of U at ``position``, of the same shape.
        step_size: eta > 0, which broadcasts against that shape.
        noise: xi, standard normal, of the same shape.

    Returns:
        z', of the same shape.
    """
    eta = scalar_like(step_size, position)
    return position - eta * gradient + (2 * eta).sqrt() * noise


def log_det_jacobian(position: Tensor, potential: Potential, *, step_size: Scalar) -> Tensor:
    """The log-determinant of one step's Jacobian, log |det(I - diag(eta) Hessian of U)|.

    Unlike the quasi-symplectic step's it depends on the potential and costs a d x d Hessian for each chain. This is why
    flows are not built on this integrator.

    Args:
        position: (chains, d).
        potential: U, in nats.
        step_size: eta, a scalar or (d,).

    Returns:
        log |det J| at each position, (chains,).
    """
    eta = scalar_like(step_size, position)
    hessians = torch.stack(
        [torch.autograd.functional.hessian(lambda row: potential(row[None])[0], row) for row in position]
    )
    identity = torch.eye(position.shape[-1], dtype=position.dtype, device=position.device)
    return torch.linalg.slogdet(identity - eta.expand(position.shape[-1])[:, None] * hessians).logabsdet
