"""Models that move a sample of the encoder's q by a map before the decoder sees it; the simplest, a planar flow.

Step sizes and temperatures, which have to stay positive or bounded, are parameters that an optimiser can move freely.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medlangevin.likelihoods import LOG_TWO_PI
from medlangevin.models.base import Loss, standard_normal_log_prob
from medlangevin.models.vae import AmortizedModel, EncoderDraw, gaussian_kl
from medlangevin.networks.planar import PlanarFlow
from medlangevin.samplers import FlowResult, PhaseState, Potential, scalar_like, standard_normal


class Refinement(NamedTuple):
    """A moved sample and what its move costs.

    Attributes:
        position: z (N, d).
        log_weight: L without its term log p(x | z), (N,) float64.
        bound: The training bound without that term, (N,) float64.
        parts: Named 0-d tensors for the log.
    """

    position: Tensor
    log_weight: Tensor
    bound: Tensor
    parts: dict[str, Tensor]


class Frame(NamedTuple):
    """Coordinates w that a flow moves in, z = origin + unit * w: those of z itself, or standardised by q.

    An affine map of phase space leaves the determinant of a flow's Jacobian as it is, and with it L.

    Attributes:
        origin: (N, d), or a number.
        unit: (N, d), or a number.
    """

    origin: Tensor | float = 0.0
    unit: Tensor | float = 1.0

    def latent(self, w: Tensor) -> Tensor:
        """z of w.

        Args:
            w: (N, d).

        Returns:
            (N, d).
        """
        return self.origin + self.unit * w

    def coordinates(self, z: Tensor) -> Tensor:
        """w of z.

        Args:
            z: (N, d).

        Returns:
            (N, d).
        """
        return (z - self.origin) / self.unit

    def potential(self, potential: Potential) -> Potential:
        """The potential of z as one of w, without the constant log-determinant.

        Args:
            potential: A function of z.

        Returns:
            A function of w.
        """
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

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            The loss; its parts are elbo, log_likelihood, kl (what the bound takes off the log-likelihood), in nats per
                image, and the map's.
        """
        refinement = self._refine(x, generator, create_graph=True)
        log_likelihood = self.likelihood.log_prob(x, self.decoder(refinement.position)).mean()
        cost = -refinement.bound.mean()
        elbo = log_likelihood - cost
        return Loss.of(-elbo, elbo=elbo, log_likelihood=log_likelihood, kl=cost, **refinement.parts)

    @torch.no_grad()
    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the bound for each image.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """
        refinement = self._refine(x, generator, create_graph=False)
        return self.likelihood.log_prob(x, self.decoder(refinement.position)) + refinement.bound

    @torch.no_grad()
    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """L: exp(L) is unbiased for p(x) whatever the settings of the map.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """
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
        parts = {"log_det_jacobian": log_det.mean()}
        return Refinement(end.position, log_end - draw.log_q - log_q_velocity, log_end + entropy, parts)


class VAEFlow(RefinedModel):
    """A VAE whose posterior is sharpened by planar flows: z_0 ~ q(z | x), then maps to z_K, the same for every image.

    L = log p(x, z_K) - log q(z_0 | x) + log |det d z_K / d z_0|, which is the bound as well.

    Args:
        num_layers: K.
        parts: The encoder, decoder, likelihood and latent_dim of ``AmortizedModel``.

    Source: Rezende & Mohamed (2015), Eq. 15.
    """

    def __init__(self, *, num_layers: int, **parts: Any) -> None:
        super().__init__(**parts)
        self.flow = PlanarFlow(self.latent_dim, num_layers)

    def _refine(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        draw = self._draw_initial(x, generator)
        end, log_det = self.flow(draw.z)
        log_weight = standard_normal_log_prob(end) - draw.log_q + log_det.double()
        return Refinement(end, log_weight, log_weight, {"log_det_jacobian": log_det.mean()})


class SteppedModel(RefinedModel):
    """A map made of K integrator steps, whose size t stays inside (0, ``max_step_size``).

    Args:
        num_steps: K.
        max_step_size: What t stays below.
        checkpoint_steps: Compute each step again in the backward pass, for memory that does not grow with
            ``num_steps``.
        vae_epochs: So many epochs at first train the encoder and decoder as a VAE, at a fraction of the cost of a flow,
            whose steps can only pay where both have learned what is easy (docs/mathematics.md, VAE first).
        parts: The encoder, decoder, likelihood and latent_dim of ``AmortizedModel``.
    """

    def __init__(
        self,
        *,
        num_steps: int,
        max_step_size: float,
        checkpoint_steps: bool = False,
        vae_epochs: int = 0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self.num_steps, self.max_step_size, self.checkpoint_steps = num_steps, max_step_size, checkpoint_steps
        self.vae_epochs = vae_epochs
        self._is_moving = True

    @abstractmethod
    def _move(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        """Draw one latent vector per image and move it by the steps; ``create_graph`` keeps it differentiable."""

    def _refine(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        if self._is_moving:
            return self._move(x, generator, create_graph=create_graph)
        draw = self._draw_initial(x, generator)
        log_weight = standard_normal_log_prob(draw.z) - draw.log_q
        # DDP waits for a gradient of every parameter, those of the steps too.
        unused = sum(parameter.sum() for parameter in self._own_parameters() if parameter.requires_grad)
        return Refinement(draw.z, log_weight, -gaussian_kl(draw.mean, draw.scale) + 0.0 * unused, {})

    def _own_parameters(self) -> list[nn.Parameter]:
        """Those of the steps: what encoder, decoder and likelihood do not hold."""
        return list(self.parameters(recurse=False))

    @property
    def preparatory_epochs(self) -> int:
        """``vae_epochs``."""
        return self.vae_epochs

    def start_epoch(self, epoch: int) -> bool:
        """Switch the steps off up to ``vae_epochs``, and on after them.

        Args:
            epoch: The one that comes next, or that the weights are of.

        Returns:
            Whether that is a change.
        """
        before, self._is_moving = self._is_moving, epoch > self.vae_epochs
        return before != self._is_moving

    def _start_steps(self, step_size: float, shape: tuple[int, ...], *, learned: bool) -> None:
        """Make t, ``max_step_size`` times the sigmoid of numbers that an optimiser can move freely."""
        fraction = step_size / self.max_step_size
        logit = torch.full(shape, math.log(fraction) - math.log1p(-fraction))
        self.step_size_logit = nn.Parameter(logit, requires_grad=learned)

    @property
    def step_size(self) -> Tensor:
        """t of each dimension, (d,); where each step has its own, (num_steps, d)."""
        return self.max_step_size * torch.sigmoid(self.step_size_logit)

    @torch.no_grad()
    def shorten_steps(self) -> bool:
        """Halve t.

        Returns:
            True.
        """
        self.step_size_logit.copy_(torch.logit(0.5 * torch.sigmoid(self.step_size_logit)))
        return True


def inverse_softplus(value: float) -> Tensor:
    """The number that a softplus maps to another one; does not overflow.

    Args:
        value: What it maps to, above 0.

    Returns:
        It, 0-d.
    """
    return torch.tensor(value + math.log(-math.expm1(-value)))
