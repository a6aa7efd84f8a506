"""A deep latent Gaussian model whose decoder learns from Langevin chains (Hoffman 2017)."""

from typing import Any

import torch
from torch import Tensor

from medlangevin.models.base import Loss, standard_normal_log_prob
from medlangevin.models.vae import VAE, gaussian_kl
from medlangevin.samplers import mala, ula


class Hoffman(VAE):
    """The encoder learns from the ELBO of its q; the decoder from log p(x, z) at the end of a chain started in q.

    The steps are on U(z) = -log p(x, z) of one image, in nats (a sum over the image's elements, no mean):
    z' = z - eta grad U + sqrt(2 eta) xi. ``elbo`` and ``log_weights`` are those of q; the approximate posterior is the
    end of the chain.

    Args:
        num_steps: Langevin steps of a chain; 2 in the baseline of the LAE paper.
        step_size: eta; 0.005 there.
        metropolis: Whether each step has an accept/reject test per image; not there.
        parts: The encoder, decoder, likelihood and latent_dim of ``AmortizedModel``.

    Source: Hoffman (2017), with Langevin steps as in the LAE paper's baseline.
    """

    def __init__(self, *, num_steps: int, step_size: float, metropolis: bool = True, **parts: Any) -> None:
        super().__init__(**parts)
        self.num_steps, self.step_size, self.metropolis = num_steps, step_size, metropolis

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Its value is minus the ELBO of q, averaged over the batch; its gradient is that only in the encoder.

        In the decoder and the likelihood it is the gradient of -log p(x | z) at the end z of the chain, through which
        no gradient flows.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            The loss; its parts are elbo, log_likelihood and kl of q; chain_log_likelihood; acceptance.
        """
        draw = self._draw_initial(x, generator)
        # The chain's first evaluation also gives the encoder its gradient, and leaves the decoder's untouched.
        chain = ula.init(draw.z, self.potential(x))
        log_likelihood = -chain.value - standard_normal_log_prob(chain.position)
        slope = chain.position - chain.gradient  # of log p(x | z), as the gradient of -log p(z) is z
        chain, acceptance = self._run(chain, x, generator)
        chain_log_likelihood = self.likelihood.log_prob(x, self.decoder(chain.position))
        divergence = gaussian_kl(draw.mean, draw.scale)
        elbo = (log_likelihood - divergence).mean().detach()
        objective = (divergence - (slope * draw.z).sum(-1) - chain_log_likelihood).mean()
        return Loss.of(
            objective - objective.detach() - elbo,
            elbo=elbo,
            log_likelihood=log_likelihood.mean(),
            kl=divergence.mean(),
            chain_log_likelihood=chain_log_likelihood.mean(),
            acceptance=acceptance,
        )

    def _run(self, chain: ula.State, x: Tensor, generator: torch.Generator | None) -> tuple[ula.State, Tensor]:
        """The end of the chain, and the mean acceptance probability (1 without the test)."""
        potential = self.potential(x)
        acceptance = torch.zeros_like(chain.value)
        for _ in range(self.num_steps):
            kernel = mala.step if self.metropolis else ula.step
            chain, info = kernel(chain, potential, generator, step_size=self.step_size)
            acceptance += (1 if info.acceptance_probability is None else info.acceptance_probability) / self.num_steps
        return chain, acceptance.mean()

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        start = ula.init(self._draw_initial(x, generator).z, self.potential(x))
        return self._run(start, x, generator)[0].position
