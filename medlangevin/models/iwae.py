"""The importance-weighted autoencoder (Burda, Grosse & Salakhutdinov 2016)."""

import math
from typing import Any

import torch
from torch import Tensor

from medlangevin.models.base import Loss, draws_at_once, repeat_images, standard_normal_log_prob
from medlangevin.models.vae import VAE
from medlangevin.samplers import standard_normal, uniform
from medlangevin.samplers.flow import recomputed


class IWAE(VAE):
    """A VAE trained on log (1/K) sum_k p(x, z_k) / q(z_k | x), with K draws.

    Its approximate posterior is not q but what q becomes when one of K draws is kept in proportion to its weight.

    Args:
        num_samples: K.
        parts: The encoder, decoder, likelihood and latent_dim of ``AmortizedModel``.

    Source: Burda, Grosse & Salakhutdinov (2016), Eq. 8.
    """

    def __init__(self, *, num_samples: int, **parts: Any) -> None:
        super().__init__(**parts)
        self.num_samples = num_samples

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Minus the K-sample bound, averaged over the batch.

        Draws that do not fit into memory together are weighed in turn, and again in the backward pass.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            The loss; its parts are elbo; log_likelihood (of the draws, weighted); kl, the difference of the two;
            effective_samples, 1 / sum of squared normalised weights.
        """
        mean, scale = self._encode(x)
        # Draw by draw, one row for each image: so several processes can share a batch.
        draws = [standard_normal(tuple(mean.shape), like=mean, generator=generator) for _ in range(self.num_samples)]
        noise = torch.stack(draws)

        def weigh(part: Tensor) -> tuple[Tensor, Tensor]:
            z = mean + scale * part
            images = repeat_images(x, len(part))
            log_likelihood = self.likelihood.log_prob(images, self.decoder(z.flatten(0, 1))).unflatten(0, z.shape[:2])
            log_q = standard_normal_log_prob(part) - scale.double().log().sum(-1)
            return log_likelihood, log_likelihood + standard_normal_log_prob(z) - log_q

        parts_of_noise = noise.split(draws_at_once(x))
        weighed = [weigh(part) if len(parts_of_noise) == 1 else recomputed(weigh, part) for part in parts_of_noise]
        log_likelihood, log_weights = (torch.cat(values) for values in zip(*weighed, strict=True))
        elbo = (log_weights.logsumexp(0) - math.log(self.num_samples)).mean()
        weights = log_weights.softmax(0)
        weighted = (weights * log_likelihood).sum(0).mean()
        effective = (1 / weights.square().sum(0)).mean()
        return Loss.of(-elbo, elbo=elbo, log_likelihood=weighted, kl=weighted - elbo, effective_samples=effective)

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the K-sample bound for each image.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """
        return self.log_likelihood(x, self.num_samples, generator)

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Sampling-importance-resampling: one of K draws, chosen in proportion to the weights.

        The largest of log weight + Gumbel noise is such a choice, so only the best of the draws so far are kept.
        """
        keys, latents = [], []
        at_once = draws_at_once(x)
        for first in range(0, self.num_samples, at_once):
            images = repeat_images(x, min(at_once, self.num_samples - first))
            draw = self._draw_initial(images, generator)
            log_weights = -self.potential(images)(draw.z) - draw.log_q
            gumbel = -(-uniform(tuple(log_weights.shape), like=log_weights, generator=generator).log()).log()
            key, index = (log_weights + gumbel).unflatten(0, (-1, len(x))).max(0)
            keys.append(key)
            latents.append(_pick(draw.z.unflatten(0, (-1, len(x))), index))
        return _pick(torch.stack(latents), torch.stack(keys).argmax(0))


def _pick(z: Tensor, index: Tensor) -> Tensor:
    """z (K, N, d), index (N,) -> for each of N the draw of that index, (N, d)."""
    return z[index, torch.arange(z.shape[1], device=z.device)]
