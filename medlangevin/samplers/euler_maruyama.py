"""The Euler-Maruyama integrator of overdamped Langevin dynamics dz = -grad U dt + sqrt(2) dB."""

from torch import Tensor

from medlangevin.samplers.potential import Scalar, scalar_like


def step(position: Tensor, gradient: Tensor, *, step_size: Scalar, noise: Tensor) -> Tensor:
    """One step, z' = z - eta grad U(z) + sqrt(2 eta) xi; no gradient is computed here.

    Its Jacobian's determinant is det(I - diag(eta) Hessian of U). Unlike the quasi-symplectic step's it depends on the
    potential and costs a d x d Hessian for each chain. This is why flows are not built on this integrator.

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
