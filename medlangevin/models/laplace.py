"""The mode of p(z | x), and Laplace's approximation there: inference by gradients at the scan.

What the encoder says of a scan it has learned from other scans. The decoder says more: follow U(z) = -log p(x, z) down
at the scan itself (docs/mathematics.md, inference at the scan). The way down is by L-BFGS in the coordinates w,
z = start + L w, in which the Gauss-Newton Hessian at the start, I + J^T J, is the identity; J is the derivative of the
decoder's output, whitened by the likelihood. The covariance at the mode is the inverse of the Hessian of U: where the
decoder misfits an ear, the Gauss-Newton Hessian is several times too small along some directions. It comes from
gradients one posterior deviation away from the mode, which sees the bends of ReLUs and of linear interpolation; the
derivative at the mode does not.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.models.base import LatentVariableModel, draws_at_once, repeat_images, standard_normal_log_prob
from medlangevin.samplers import evaluate, standard_normal
from medlangevin.system.errors import MedlangevinError

MOST_STEPS = 120
# After so many evaluations the coordinates are made anew.
_ROUND = 40
# Evaluations of U on the way down that compares epochs.
_SHORT = 20
# U is flat where no component of its gradient in w, where its curvature is about 1, exceeds this.
_FLAT = 0.03
# Outputs are compared so far apart.
_DECODED_APART = 0.01
# Gradients are compared so many posterior deviations apart.
_DEVIATIONS_APART = 1.0


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


def refined_elbo(
    model: LatentVariableModel, x: Tensor, generator: torch.Generator | None = None, *, draws: int = 4
) -> Tensor:
    """The evidence lower bound of each image by a normal posterior found at the image, whatever the encoder says.

    Its mean is where a short way down from ``find_mode``'s start ends, and its covariance is that of Gauss and Newton:
    quick enough to compare epochs by.

    Args:
        model: The model, in evaluation mode.
        x: Images (N, C, *spatial).
        generator: Of the draws.
        draws: How many.

    Returns:
        (N,) in nats.

    Raises:
        MedlangevinError: U has no finite curvature.
    """
    bounds = []
    for image, z in _each(x, find_mode(model, x, steps=_SHORT)):
        factor = _gauss_newton_factor(model, image, z)
        noise = standard_normal((draws, len(z)), like=z, generator=generator)
        with torch.no_grad():
            energy = model.potential(repeat_images(image, draws))(z + noise @ factor.T)
        log_q = standard_normal_log_prob(noise) - torch.linalg.slogdet(factor.double()).logabsdet
        bounds.append((-energy - log_q).mean())
    return torch.stack(bounds)


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
def _descend(model: LatentVariableModel, x: Tensor, z: Tensor, steps: int) -> Tensor:
    """Round after round, each in the coordinates of where it starts, until U is flat."""
    potential = model.potential(x)
    while steps > 0:
        factor, start = _gauss_newton_factor(model, x, z), z
        w = torch.zeros_like(z, requires_grad=True)
        round_steps = min(steps, _ROUND)
        optimizer = torch.optim.LBFGS(
            [w], max_iter=round_steps, max_eval=round_steps, tolerance_grad=_FLAT, line_search_fn="strong_wolfe"
        )

        def closure(start: Tensor = start, factor: Tensor = factor, w: Tensor = w) -> float:
            energy, gradient = evaluate(potential, (start + factor @ w)[None])
            w.grad = factor.T @ gradient[0]
            return float(energy)

        optimizer.step(closure)
        z = start + factor @ w.detach()
        steps -= round_steps
        if w.grad is None or w.grad.abs().max() < _FLAT:
            break
    return z


@torch.no_grad()
def _gauss_newton_factor(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """L (d, d): L L^T inverts I + J^T J, with J by differences of the decoder's outputs."""
    steps = _DECODED_APART * torch.eye(len(z), dtype=z.dtype, device=z.device)
    output = model.decoder(z[None])
    apart = torch.cat([model.decoder(z + part) - output for part in steps.split(draws_at_once(x))])
    rows = model.likelihood.whiten(x, output, apart / _DECODED_APART).flatten(1).double()
    return _root_of_inverse(torch.eye(len(z), dtype=rows.dtype, device=rows.device) + rows @ rows.T).to(z.dtype)


@torch.no_grad()
def _factor_at(model: LatentVariableModel, x: Tensor, z: Tensor) -> Tensor:
    """L (d, d): L L^T inverts the Hessian of U, by differences of gradients along the axes of Gauss and Newton."""
    axes = _gauss_newton_factor(model, x, z).T
    gradients = [
        evaluate(model.potential(repeat_images(x, len(part))), z + part).gradient
        for part in (_DEVIATIONS_APART * axes).split(draws_at_once(x))
    ]
    products = torch.cat(gradients).double() - evaluate(model.potential(x), z[None]).gradient.double()
    hessian = torch.linalg.solve(axes.double(), products / _DEVIATIONS_APART)
    return _root_of_inverse(0.5 * (hessian + hessian.T)).to(z.dtype)


def _root_of_inverse(hessian: Tensor) -> Tensor:
    """L (d, d): L L^T inverts a matrix, its eigenvalues raised to 1 at least."""
    if not hessian.isfinite().all():
        raise MedlangevinError("log p(x, z) of an image has no finite curvature; train the model again")
    curvatures, axes = torch.linalg.eigh(hessian)
    return axes * curvatures.clamp(min=1).rsqrt()
