"""What models share that move a sample of the encoder's q by a map before the decoder sees it."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from medlangevin.likelihoods import LOG_TWO_PI
from medlangevin.models.base import Loss, standard_normal_log_prob
from medlangevin.models.vae import AmortizedModel, EncoderDraw
from medlangevin.samplers import FlowResult, PhaseState, Potential, scalar_like, standard_normal


class Refinement(NamedTuple):
    """A moved sample and what its move costs.

    ``position`` z (N, d); ``log_weight`` and ``bound`` (N,) float64: L and the training bound, both without their term
    log p(x | z); ``parts``: named 0-d tensors for the log.
    """

    position: Tensor
    log_weight: Tensor
    bound: Tensor
    parts: dict[str, Tensor]


class Frame(NamedTuple):
    """Coordinates w that a flow moves in, z = ``origin`` + ``unit`` * w: those of z itself, or standardised by q.

    An affine map of phase space leaves the determinant of a flow's Jacobian as it is, and with it L.
    """

    origin: Tensor | float = 0.0
    unit: Tensor | float = 1.0

    def latent(self, w: Tensor) -> Tensor:
        """z (N, d) of ``w``."""
        return self.origin + self.unit * w

    def coordinates(self, z: Tensor) -> Tensor:
        """w (N, d) of ``z``."""
        return (z - self.origin) / self.unit

    def potential(self, potential: Potential) -> Potential:
        """The potential of z as one of w, without the constant log-determinant."""
        return lambda w: potential(self.latent(w))


class RefinedModel(AmortizedModel):
    """z0 ~ q(z | x), then a map to the z that the decoder sees; subclasses say which map, in ``_refine``."""

    @abstractmethod
    def _refine(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        """Draw and move one latent vector per image; ``create_graph`` keeps it differentiable."""

    def _frame(self, draw: EncoderDraw) -> Frame:
        """The coordinates that the map of ``draw`` works in: those of z, unless a subclass says otherwise."""
        return Frame()

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Minus the bound, averaged over the batch; gradients flow through the whole map, its forces included.

        Parts: elbo, log_likelihood, kl (what the bound takes off the log-likelihood), nats per image, and the map's.
        """
        refinement = self._refine(x, generator, create_graph=True)
        log_likelihood = self.likelihood.log_prob(x, self.decoder(refinement.position)).mean()
        cost = -refinement.bound.mean()
        elbo = log_likelihood - cost
        parts = {"elbo": elbo, "log_likelihood": log_likelihood, "kl": cost, **refinement.parts}
        return Loss(-elbo, {name: part.detach() for name, part in parts.items()})

    @torch.no_grad()
    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the bound for each image, (N,) in nats."""
        refinement = self._refine(x, generator, create_graph=False)
        return self.likelihood.log_prob(x, self.decoder(refinement.position)) + refinement.bound

    @torch.no_grad()
    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """L, (N,) in nats: exp(L) is unbiased for p(x) whatever the settings of the map."""
        refinement = self._refine(x, generator, create_graph=False)
        return self.likelihood.log_prob(x, self.decoder(refinement.position)) + refinement.log_weight

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return self._refine(x, generator, create_graph=False).position

    def _refine_by_flow(
        self,
        x: Tensor,
        generator: torch.Generator | None,
        flow: Callable[[PhaseState, Potential], FlowResult],
        *,
        initial_temperature: float | Tensor,
    ) -> Refinement:
        """phi_0 ~ q(. | x), kappa_0 ~ N(0, T0 I), then ``flow`` down U = -log p(x, .) to (phi, kappa).

        ``flow`` sees positions and U in the coordinates of ``_frame``.
        L = log p(x, phi) + log N(kappa) - log q(phi_0 | x) - log N(kappa_0; 0, T0 I) + log |det J|. The bound is L_RB,
        where the two initial densities are replaced by their expectations: equal mean (docs/mathematics.md, the bound).
        QSL-VAE paper, Eqs. 12 and 13, with the corrected Jacobian; Caterini et al. (2018), section 3.
        """
        draw = self._draw_initial(x, generator)
        noise = standard_normal(tuple(draw.z.shape), like=draw.z, generator=generator)
        temperature = scalar_like(initial_temperature, draw.z)
        log_cooling = 0.5 * self.latent_dim * temperature.double().log()
        frame = self._frame(draw)
        start = PhaseState(frame.coordinates(draw.z), temperature.sqrt() * noise)
        end, log_det = flow(start, frame.potential(self.potential(x)))
        end = end._replace(position=frame.latent(end.position))
        log_end = standard_normal_log_prob(end.position) + standard_normal_log_prob(end.velocity) + log_det.double()
        log_q_velocity = standard_normal_log_prob(noise) - log_cooling
        entropy = self.latent_dim * (1 + LOG_TWO_PI) + draw.scale.double().log().sum(-1) + log_cooling
        return Refinement(
            end.position,
            log_end - draw.log_q - log_q_velocity,
            log_end + entropy,
            {"log_det_jacobian": log_det.mean()},
        )
