"""The mode of p(z | x), and Laplace's approximation there: inference by gradients at the scan.

What the encoder says of a scan it has learned from other scans. The decoder says more: follow U(z) = -log p(x, z) down
at the scan itself (docs/mathematics.md, inference at the scan). The way down is by L-BFGS in the coordinates w,
z = start + L w, in which the Gauss-Newton Hessian at the start, I + J^T J, is the identity; J is the derivative of the
decoder's output, whitened by the likelihood. The covariance at the mode is the inverse of the exact Hessian: where the
decoder misfits an ear, the Gauss-Newton Hessian is several times too small along some directions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.models.base import LatentVariableModel
from medlangevin.samplers import evaluate
from medlangevin.system.errors import MedlangevinError

MOST_STEPS = 100
# U is followed until no component of its gradient in w, where its curvature is about 1, exceeds this.
_GRADIENT_TOLERANCE = 0.03
# Bounds the memory of the derivative: so many of its elements at a time, many times as many with activations.
_ELEMENTS_AT_ONCE = 2**21


class Laplace(NamedTuple):
    """Normal approximations of the posteriors of N images, N(mode, L L^T).

    Attributes:
        mode: (N, d).
        factor: L (N, d, d).
        energy: U at the mode, (N,) float64, in nats.
    """

    mode: Tensor
    factor: Tensor
    energy: Tensor


def laplace(model: LatentVariableModel, x: Tensor, mode: Tensor | None = None) -> Laplace:
    """Laplace's approximation of the posterior of each image.

    Curvatures of U below the prior's, 1, are taken for 1: the likelihood of a decoder need not be log-concave.

    Args:
        model: The model, in evaluation mode.
        x: Images (N, C, *spatial).
        mode: Where it is made, (N, d); None: at ``find_mode``.

    Returns:
        The modes, and the covariances there.

    Raises:
        MedlangevinError: U has no finite curvature.
    """
    if mode is None:
        mode = find_mode(model, x)
    parts = [_approximate(model, *part) for part in zip(*(t.split(_at_once(x)) for t in (x, mode)), strict=True)]
    return Laplace(*(torch.cat(values) for values in zip(*parts, strict=True)))


def find_mode(
    model: LatentVariableModel, x: Tensor, start: Tensor | None = None, *, steps: int = MOST_STEPS
) -> Tensor:
    """Follow U from a latent of each image down to a mode of its posterior.

    Args:
        model: The model, in evaluation mode.
        x: Images (N, C, *spatial).
        start: Where the way starts, (N, d); None: at the encoder's estimate or at the prior's mean, where U is lower.
        steps: At most so many evaluations of U.

    Returns:
        (N, d).

    Raises:
        MedlangevinError: U has no finite curvature.
    """
    if start is None:
        by_encoder = model.encode(x)
        by_prior = torch.zeros_like(by_encoder)
        lower = [_energy(model, x, z) for z in (by_encoder, by_prior)]
        start = torch.where((lower[0] <= lower[1])[:, None], by_encoder, by_prior)
    pairs = zip(x.split(_at_once(x)), start.split(_at_once(x)), strict=True)
    return torch.cat([_descend(model, images, points, steps) for images, points in pairs])


def _at_once(x: Tensor) -> int:
    return max(1, _ELEMENTS_AT_ONCE // x[0].numel())


@torch.no_grad()
def _energy(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    pairs = zip(x.split(_at_once(x)), z.split(_at_once(x)), strict=True)
    return torch.cat([model.potential(images)(points) for images, points in pairs])


@torch.no_grad()
def _descend(model: LatentVariableModel, x: Tensor, start: Tensor, steps: int) -> Tensor:
    factor = _gauss_newton_factor(model, x, start)
    potential = model.potential(x)
    w = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [w], max_iter=steps, max_eval=steps, tolerance_grad=_GRADIENT_TOLERANCE, line_search_fn="strong_wolfe"
    )

    def latent() -> Tensor:
        return start + (factor @ w[..., None])[..., 0]

    def closure() -> float:
        energy, gradient = evaluate(potential, latent())
        w.grad = (factor.mT @ gradient[..., None])[..., 0]
        return float(energy.sum())

    optimizer.step(closure)
    return latent()


def _gauss_newton_factor(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """L (N, d, d): L L^T inverts I + J^T J of each image."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        output = model.decoder(z)
        # J^T u is linear in u, and its derivative in u gives J a column at a time, by reverse mode alone, which all
        # layers have.
        u = torch.zeros_like(output, requires_grad=True)
        (pulled,) = torch.autograd.grad(output, z, u, create_graph=True)
        columns = [torch.autograd.grad(part.sum(), u, retain_graph=True, materialize_grads=True)[0] for part in pulled.unbind(1)]
    precisions = []
    for image, mean, tangents in zip(x.split(1), output.detach().split(1), torch.stack(columns, 1), strict=True):
        rows = model.likelihood.whiten(image, mean, tangents).flatten(1).double()
        precisions.append(torch.eye(len(rows), dtype=rows.dtype, device=rows.device) + rows @ rows.T)
    return _root_of_inverse(torch.stack(precisions)).to(z.dtype)


def _approximate(model: LatentVariableModel, x: Tensor, z: Tensor) -> Laplace:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        energy = model.potential(x)(z)
        (gradient,) = torch.autograd.grad(energy.sum(), z, create_graph=True)
        rows = [torch.autograd.grad(column.sum(), z, retain_graph=True, materialize_grads=True)[0] for column in gradient.unbind(1)]
    hessian = torch.stack(rows, 1).double()
    return Laplace(z.detach(), _root_of_inverse(0.5 * (hessian + hessian.mT)).to(z.dtype), energy.detach())


def _root_of_inverse(hessian: Tensor) -> Tensor:
    """L (N, d, d): L L^T inverts the matrices, their eigenvalues raised to 1 at least."""
    if not hessian.isfinite().all():
        raise MedlangevinError("log p(x, z) of an image has no finite curvature; train the model again")
    curvatures, axes = torch.linalg.eigh(hessian)
    return axes * curvatures.clamp(min=1).rsqrt()[..., None, :]
