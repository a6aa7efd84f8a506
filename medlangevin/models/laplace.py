"""The mode of p(z | x), and Laplace's approximation there: inference by gradients at the scan.

What the encoder says of a scan it has learned from other scans. The decoder says more: follow U(z) = -log p(x, z) down
at the scan itself (docs/mathematics.md, inference at the scan). The way down is by L-BFGS in the coordinates w,
z = start + L w, in which the Gauss-Newton Hessian at the start, I + J^T J, is the identity; J is the derivative of the
decoder's output, whitened by the likelihood. The covariance at the mode is the inverse of the exact Hessian: where the
decoder misfits an ear, the Gauss-Newton Hessian is several times too small along some directions.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.models.base import LatentVariableModel, repeat_images
from medlangevin.samplers import evaluate, standard_normal
from medlangevin.system.errors import MedlangevinError

MOST_STEPS = 40
# U is followed until no component of its gradient in w, where its curvature is about 1, exceeds this.
_GRADIENT_TOLERANCE = 0.03


class NormalPosterior(NamedTuple):
    """Normal approximations of the posteriors of N images, N(mean, L L^T).

    Attributes:
        mean: (N, d).
        factor: L (N, d, d).
    """

    mean: Tensor
    factor: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw a latent of each image.

        Args:
            generator: The source of noise; None: torch's default one.

        Returns:
            (N, d).
        """
        noise = standard_normal(tuple(self.mean.shape), like=self.mean, generator=generator)
        return self.mean + (self.factor @ noise[..., None])[..., 0]


def laplace(model: LatentVariableModel, x: Tensor) -> NormalPosterior:
    """Laplace's approximation of the posterior of each image, at ``find_mode``.

    Curvatures of U below the prior's, 1, are taken for 1: the likelihood of a decoder need not be log-concave.

    Args:
        model: The model, in evaluation mode.
        x: Images (N, C, *spatial).

    Returns:
        The modes, and the covariances there.

    Raises:
        MedlangevinError: U has no finite curvature.
    """
    modes = find_mode(model, x)
    return NormalPosterior(modes, torch.stack([_factor_at(model, *pair) for pair in _each(x, modes)]))


def encoder_posterior(
    model: LatentVariableModel, x: Tensor, generator: torch.Generator | None = None, *, draws: int = 64
) -> NormalPosterior:
    """What the encoder says of each image: a normal with the mean and the deviations of the model's own draws.

    Args:
        model: The model.
        x: Images (N, C, *spatial).
        generator: Of the draws.
        draws: How many, at least 2.

    Returns:
        The means, and diagonal factors.
    """
    z = model.posterior_sample(x, draws, generator)
    return NormalPosterior(z.mean(0), torch.diag_embed(z.std(0)))


def find_mode(model: LatentVariableModel, x: Tensor, start: Tensor | None = None, *, steps: int = MOST_STEPS) -> Tensor:
    """Follow U from a latent of each image down to a mode of its posterior; each image alone.

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
        start = torch.stack([_lower_start(model, image) for image in x.split(1)])
    return torch.stack([_descend(model, *pair, steps) for pair in _each(x, start)])


def _each(x: Tensor, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each image (1, C, *spatial) with its latent (d,)."""
    return zip(x.split(1), z.unbind(), strict=True)


@torch.no_grad()
def _lower_start(model: LatentVariableModel, x: Tensor) -> Tensor:
    estimate = model.encode(x)
    starts = torch.cat([estimate, torch.zeros_like(estimate)])
    return starts[model.potential(repeat_images(x, 2))(starts).argmin()]


@torch.no_grad()
def _descend(model: LatentVariableModel, x: Tensor, start: Tensor, steps: int) -> Tensor:
    factor = _gauss_newton_factor(model, x, start)
    potential = model.potential(x)
    w = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [w], max_iter=steps, max_eval=steps, tolerance_grad=_GRADIENT_TOLERANCE, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        energy, gradient = evaluate(potential, (start + factor @ w)[None])
        w.grad = factor.T @ gradient[0]
        return float(energy)

    optimizer.step(closure)
    return start + factor @ w


def _gauss_newton_factor(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """L (d, d): L L^T inverts I + J^T J."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        output = model.decoder(z[None])
        # J^T u is linear in u, and its derivative in u gives J a column at a time, by reverse mode alone, which all
        # layers have.
        u = torch.zeros_like(output, requires_grad=True)
        tangents = _derivatives(torch.autograd.grad(output, z, u, create_graph=True)[0], u)
        rows = model.likelihood.whiten(x, output, tangents[:, 0]).detach().flatten(1).double()
    return _root_of_inverse(torch.eye(len(z), dtype=rows.dtype, device=rows.device) + rows @ rows.T).to(z.dtype)


def _factor_at(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """L (d, d): L L^T inverts the Hessian of U."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.potential(x)(z[None]).sum(), z, create_graph=True)
        hessian = _derivatives(gradient, z).double()
    return _root_of_inverse(0.5 * (hessian + hessian.T)).to(z.dtype)


def _derivatives(values: Tensor, at: Tensor) -> Tensor:
    """The derivative of each of the values (d,), stacked: (d, ...)."""
    return torch.stack(
        [
            torch.autograd.grad(value, at, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for value in values.unbind()
        ]
    )


def _root_of_inverse(hessian: Tensor) -> Tensor:
    """L (d, d): L L^T inverts a matrix, its eigenvalues raised to 1 at least."""
    if not hessian.isfinite().all():
        raise MedlangevinError("log p(x, z) of an image has no finite curvature; train the model again")
    curvatures, axes = torch.linalg.eigh(hessian)
    return axes * curvatures.clamp(min=1).rsqrt()
