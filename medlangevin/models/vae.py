"""The variational autoencoder (Kingma & Welling 2014) with a diagonal Gaussian posterior."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medlangevin.likelihoods import at_least_float32
from medlangevin.models.base import LatentVariableModel, Loss, chunks, standard_normal_log_prob
from medlangevin.samplers import standard_normal


class EncoderDraw(NamedTuple):
    """One z ~ q(z | x) = N(mean, diag(scale)^2) of each image.

    Attributes:
        z: (N, d).
        log_q: log q(z | x), (N,) float64.
        mean: (N, d).
        scale: (N, d).
    """

    z: Tensor
    log_q: Tensor
    mean: Tensor
    scale: Tensor

    def log_density(self, z: Tensor) -> Tensor:
        """log q of other points.

        Args:
            z: (N, d).

        Returns:
            (N,) float64, in nats.
        """
        return standard_normal_log_prob((z - self.mean) / self.scale) - self.scale.double().log().sum(-1)


class AmortizedModel(LatentVariableModel):
    """A model whose encoder maps x to q(z | x) = N(mean, diag(scale)^2).

    Args:
        encoder: x -> mean and scale of q(z | x), each (N, d).
        parts: The decoder, likelihood and latent_dim of ``LatentVariableModel``.
    """

    def __init__(self, *, encoder: nn.Module, **parts: Any) -> None:
        super().__init__(**parts)
        self.encoder = encoder

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z | x).

        Args:
            x: Images (N, C, *spatial).

        Returns:
            (N, d).
        """
        return torch.cat([self._encode(images)[0] for images, _ in chunks(x, 1)])

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of q(z | x), each (N, d), at least in float32.

        Integrators and densities are no place for the half precision that a network may run in.
        """
        mean, scale = self.encoder(x)
        return at_least_float32(mean), at_least_float32(scale)

    def _draw_initial(self, x: Tensor, generator: torch.Generator | None) -> EncoderDraw:
        """A reparametrised draw: differentiable in the encoder's parameters."""
        mean, scale = self._encode(x)
        noise = standard_normal(tuple(mean.shape), like=mean, generator=generator)
        log_q = standard_normal_log_prob(noise) - scale.double().log().sum(-1)
        return EncoderDraw(mean + scale * noise, log_q, mean, scale)


class VAE(AmortizedModel):
    """ELBO = E_q[log p(x | z)] - KL(q || p), the divergence in closed form."""

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Minus the ELBO, averaged over the batch.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            The loss; its parts are elbo, log_likelihood and kl, in nats per image.
        """
        log_likelihood, divergence = self._bound(x, generator)
        elbo = (log_likelihood - divergence).mean()
        return Loss.of(-elbo, elbo=elbo, log_likelihood=log_likelihood.mean(), kl=divergence.mean())

    @torch.no_grad()
    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """log p(x | z) - KL with one z ~ q for each image.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """
        log_likelihood, divergence = self._bound(x, generator)
        return log_likelihood - divergence

    @torch.no_grad()
    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """L = log p(x, z) - log q(z | x), z ~ q.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """
        draw = self._draw_initial(x, generator)
        return -self.potential(x)(draw.z) - draw.log_q

    def _bound(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        draw = self._draw_initial(x, generator)
        return self.likelihood.log_prob(x, self.decoder(draw.z)), gaussian_kl(draw.mean, draw.scale)

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return self._draw_initial(x, generator).z


def gaussian_kl(mean: Tensor, scale: Tensor) -> Tensor:
    """KL(N(mean, diag(scale)^2) || N(0, I)) of each row.

    Args:
        mean: (N, d).
        scale: (N, d).

    Returns:
        (N,) float64, in nats.
    """
    mean, scale = mean.double(), scale.double()
    return 0.5 * (mean.square() + scale.square() - 1).sum(-1) - scale.log().sum(-1)
