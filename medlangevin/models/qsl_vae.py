"""The quasi-symplectic Langevin VAE: a VAE whose posterior samples are refined by a Langevin flow.

Source: Wang & Delingette (2021), Eqs. 9 to 13 and 21, corrected: log |det J| = -nu * sum of t over steps and dimensions
(docs/mathematics.md, corrections 1 to 4).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medlangevin.likelihoods import Likelihood
from medlangevin.models.base import Loss, standard_normal_log_prob
from medlangevin.models.vae import AmortizedModel
from medlangevin.samplers import PhaseState, quasi_symplectic_flow, standard_normal


class _Path(NamedTuple):
    """A flow from (phi_0, kappa_0) to ``end`` and the densities the bounds are made of; each (N,) float64."""

    end: PhaseState
    log_det_jacobian: Tensor
    log_q_position: Tensor
    log_q_velocity: Tensor
    log_scale_sum: Tensor


class QSLVAE(AmortizedModel):
    """phi_0 ~ q(z | x), kappa_0 ~ N(0, T0 I), then ``num_steps`` quasi-symplectic steps down U = -log p(x, .).

    ``step_size`` t lies inside (0, ``max_step_size``), one per dimension, by a sigmoid of unconstrained parameters that
    are learned if ``learn_step_size``. ``damping`` nu >= 0, ``noise_scale`` sigma >= 0, ``initial_temperature`` T0 > 0.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent_dim: int,
        num_steps: int,
        step_size: float,
        max_step_size: float,
        learn_step_size: bool = True,
        damping: float = 0.0,
        noise_scale: float = 0.0,
        initial_temperature: float = 1.0,
    ) -> None:
        super().__init__(encoder=encoder, decoder=decoder, likelihood=likelihood, latent_dim=latent_dim)
        self.num_steps = num_steps
        self.max_step_size = max_step_size
        self.damping = damping
        self.noise_scale = noise_scale
        self.initial_temperature = initial_temperature
        fraction = step_size / max_step_size
        logit = torch.full((latent_dim,), math.log(fraction) - math.log1p(-fraction))
        self.step_size_logit = nn.Parameter(logit, requires_grad=learn_step_size)

    @property
    def step_size(self) -> Tensor:
        """t of each dimension, (d,)."""
        return self.max_step_size * torch.sigmoid(self.step_size_logit)

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Minus the Rao-Blackwellised bound L_RB, averaged over the batch; gradients flow through the force as well.

        Parts: elbo, log_likelihood, kl (what the bound takes off the log-likelihood), log_det_jacobian in nats per
        image; step_size, the mean over dimensions.
        """
        bound, log_likelihood, path = self._rao_blackwellised(x, generator, create_graph=True)
        elbo = bound.mean()
        parts = {
            "elbo": elbo,
            "log_likelihood": log_likelihood.mean(),
            "kl": (log_likelihood - bound).mean(),
            "log_det_jacobian": path.log_det_jacobian.mean(),
            "step_size": self.step_size.mean(),
        }
        return Loss(-elbo, {name: part.detach() for name, part in parts.items()})

    @torch.no_grad()
    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of L_RB for each image, (N,) in nats."""
        return self._rao_blackwellised(x, generator, create_graph=False)[0]

    @torch.no_grad()
    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """L = log p(x, phi) + log N(kappa) - log q(phi_0 | x) - log N(kappa_0; 0, T0 I) + log |det J|, (N,) in nats.

        exp(L) is unbiased for p(x) whatever the step size, damping and noise; exp(L_RB) is not.
        """
        path = self._flow(x, generator, create_graph=False)
        log_p = -self.potential(x)(path.end.position) + standard_normal_log_prob(path.end.velocity)
        return log_p - path.log_q_position - path.log_q_velocity + path.log_det_jacobian

    def _rao_blackwellised(
        self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool
    ) -> tuple[Tensor, Tensor, _Path]:
        """L_RB, log p(x | phi) and the path. QSL-VAE paper, Eq. 13, with the corrected Jacobian.

        L_RB is L with -log q(phi_0 | x) - log N(kappa_0; 0, T0 I) replaced by its expectation: equal mean, less noise.
        """
        path = self._flow(x, generator, create_graph=create_graph)
        log_likelihood = self.likelihood.log_prob(x, self.decoder(path.end.position))
        squares = path.end.position.double().square().sum(-1) + path.end.velocity.double().square().sum(-1)
        entropy = path.log_scale_sum + self.latent_dim * (1 + 0.5 * math.log(self.initial_temperature))
        return log_likelihood - 0.5 * squares + entropy + path.log_det_jacobian, log_likelihood, path

    def _flow(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> _Path:
        position, log_q_position, scale = self._draw_initial(x, generator)
        noise = standard_normal(tuple(position.shape), like=position, generator=generator)
        log_q_velocity = standard_normal_log_prob(noise) - 0.5 * self.latent_dim * math.log(self.initial_temperature)
        flow = quasi_symplectic_flow(
            PhaseState(position, math.sqrt(self.initial_temperature) * noise),
            self.potential(x),
            num_steps=self.num_steps,
            step_size=self.step_size,
            damping=self.damping,
            noise_scale=self.noise_scale,
            generator=generator,
            create_graph=create_graph,
        )
        return _Path(
            flow.state,
            flow.log_det_jacobian.double(),
            log_q_position,
            log_q_velocity,
            scale.double().log().sum(-1),
        )

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return self._flow(x, generator, create_graph=False).end.position
