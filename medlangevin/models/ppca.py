"""Probabilistic PCA (Tipping & Bishop 1999): a linear decoder, estimated in closed form, with an exact log p(x)."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medlangevin.likelihoods import LOG_TWO_PI, Gaussian
from medlangevin.models.base import ClosedForm, LatentVariableModel, Loss, draws_at_once
from medlangevin.models.principal_axes import assign_folds, most_axes, principal_axes
from medlangevin.samplers import standard_normal
from medlangevin.system.errors import MedlangevinError


class LinearDecoder(nn.Linear):
    """z -> mu + W z, in the shape of an image.

    Args:
        latent_dim: Of z.
        image_shape: (C, *spatial).
    """

    def __init__(self, latent_dim: int, image_shape: tuple[int, ...]) -> None:
        super().__init__(latent_dim, math.prod(image_shape))
        self.image_shape = image_shape

    def forward(self, z: Tensor) -> Tensor:
        """The mean images.

        Args:
            z: (N, d).

        Returns:
            (N, C, *spatial).
        """
        return super().forward(z).unflatten(1, self.image_shape)


class Posterior(NamedTuple):
    """p(z | x) = N(mean, covariance), exact.

    Attributes:
        mean: (N, d) float64.
        covariance: (d, d) float64, the same for all images; diagonal where the columns of W are orthogonal, as
            ``fit`` leaves them.
    """

    mean: Tensor
    covariance: Tensor


class PPCA(LatentVariableModel, ClosedForm):
    """x = mu + W z + s e with z ~ N(0, I) and e ~ N(0, I): the bound is log p(x) itself.

    The decoder is mu + W z, and s is the scale of the likelihood. All densities are those of the weights as they are,
    in float64.

    Args:
        image_shape: (C, *spatial).
        latent_dim: The number of axes d.
        folds: Of the cross-validation that estimates the variances; None: they are those of maximum likelihood.
    """

    decoder: LinearDecoder
    likelihood: Gaussian

    def __init__(self, *, image_shape: tuple[int, ...], latent_dim: int, folds: int | None = 5) -> None:
        decoder = LinearDecoder(latent_dim, image_shape)
        super().__init__(decoder=decoder, likelihood=Gaussian(), latent_dim=latent_dim)
        self.folds = folds

    def require_enough(self, groups: Sequence[Hashable]) -> None:
        """Refuse too few images for so many axes.

        Args:
            groups: Whose each training image is, (n,).

        Raises:
            MedlangevinError: They cannot give the axes, or there is only one group to cross-validate with.
        """
        if self.folds is not None and len(set(groups)) < 2:
            raise MedlangevinError(
                "model.ppca: the training images are all of one person, so none can be held out; choose "
                "--set model.ppca.estimate=maximum_likelihood"
            )
        most = most_axes(len(groups), self.decoder.out_features, self._assign(groups))
        if self.latent_dim > most:
            held = "" if self.folds is None else " less those held out"
            remedy = f"choose --set model.latent_dim={most}" if most else "more images are needed"
            raise MedlangevinError(
                f"model.latent_dim {self.latent_dim}: the most axes that {len(groups)} training images{held} give is "
                f"{most}; {remedy}"
            )

    @torch.no_grad()
    def fit(self, images: Tensor, groups: Sequence[Hashable]) -> None:
        """Estimate mu, W and s.

        W = U diag(sqrt(l_k - s^2)) with the principal axes u_k and the variances l_k of ``principal_axes``.

        Args:
            images: All training images (n, C, *spatial).
            groups: Whose each is, (n,): images of one group are held out together.

        Raises:
            MedlangevinError: They leave nothing for the noise.
        """
        folds = self._assign(groups)
        found = principal_axes(images.flatten(1), self.latent_dim, None if folds is None else folds.to(images.device))
        self.decoder.bias.copy_(found.mean)
        self.decoder.weight.copy_(found.axes * (found.variances - found.noise).clamp(min=0).sqrt())
        self.likelihood.log_scale.copy_(0.5 * found.noise.log())

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Minus log p(x), averaged over the batch.

        Args:
            x: Images (N, C, *spatial).
            generator: Not used.

        Returns:
            The loss; its part is elbo, in nats per image.
        """
        elbo = self.log_prob(x).mean()
        return Loss.of(-elbo, elbo=elbo)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) = log N(x; mu, W W^T + s^2 I) of each image, exact.

        With r = x - mu, M = W^T W + s^2 I and C the covariance, |C| = |M| s^(2 (D - d)) and r^T C^-1 r =
        (|r|^2 - |M^(-1/2) W^T r|^2) / s^2: no matrix is larger than d x d.

        Args:
            x: Images (N, C, *spatial).

        Returns:
            (N,) float64, in nats.

        Source: Tipping & Bishop (1999), Eqs. 4 to 6.
        """
        residual, projected, factor = self._factorise(x)
        log_scale = self.likelihood.log_scale.double()
        size = residual.shape[1]
        log_determinant = 2 * factor.diagonal().log().sum() + 2 * (size - self.latent_dim) * log_scale
        explained = torch.linalg.solve_triangular(factor, projected.T, upper=False).square().sum(0)
        distance = (residual.square().sum(1) - explained) * torch.exp(-2 * log_scale)
        return -0.5 * (size * LOG_TWO_PI + log_determinant + distance)

    @torch.no_grad()
    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """log p(x), as the posterior is exact.

        Args:
            x: Images (N, C, *spatial).
            generator: Not used.

        Returns:
            (N,) in nats.
        """
        return self.log_prob(x)

    @torch.no_grad()
    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """log p(x): with z from the exact posterior every weight is the same.

        Args:
            x: Images (N, C, *spatial).
            generator: Not used.

        Returns:
            (N,) in nats.
        """
        return self.log_prob(x)

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """log p(x) of each image, exact: nothing is drawn.

        Args:
            x: Images (N, C, *spatial).
            num_samples: Not used.
            generator: Not used.

        Returns:
            (N,) float64, in nats.
        """
        return torch.cat([self.log_prob(images) for images in x.split(draws_at_once(x[:1]))])

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The posterior mean, which is the mode as well.

        Args:
            x: Images (N, C, *spatial).

        Returns:
            (N, d).
        """
        return self.posterior(x).mean.to(self.decoder.weight.dtype)

    def posterior(self, x: Tensor) -> Posterior:
        """p(z | x) = N(M^-1 W^T (x - mu), s^2 M^-1) with M = W^T W + s^2 I.

        Args:
            x: Images (N, C, *spatial).

        Returns:
            Mean and covariance.

        Source: Tipping & Bishop (1999), Eq. 7.
        """
        _, projected, factor = self._factorise(x)
        inverse = torch.cholesky_inverse(factor)
        return Posterior(projected @ inverse, inverse * torch.exp(2 * self.likelihood.log_scale.double()))

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        mean, covariance = self.posterior(x)
        noise = standard_normal(tuple(mean.shape), like=mean, generator=generator)
        return (mean + noise @ torch.linalg.cholesky(covariance).T).to(self.decoder.weight.dtype)

    def _factorise(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x - mu (N, D), W^T (x - mu) (N, d), and the lower Cholesky factor of M, in float64."""
        weight = self.decoder.weight.double()
        residual = x.flatten(1).double() - self.decoder.bias.double()
        noise = torch.exp(2 * self.likelihood.log_scale.double())
        identity = torch.eye(self.latent_dim, dtype=torch.float64, device=weight.device)
        return residual, residual @ weight, torch.linalg.cholesky(weight.T @ weight + noise * identity)

    def _assign(self, groups: Sequence[Hashable]) -> Tensor | None:
        return None if self.folds is None else assign_folds(groups, self.folds)
