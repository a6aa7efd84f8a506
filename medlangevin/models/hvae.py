"""The Hamiltonian VAE (Caterini, Doucet & Sejdinovic 2018): leapfrog steps with tempering of the velocity."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.likelihoods import Likelihood
from medlangevin.models.refined import (
    RefinedModel,
    Refinement,
    bounded_step_size,
    halve_step_size,
    inverse_softplus,
    step_size_logit,
)
from medlangevin.samplers import FlowResult, PhaseState, Potential, leapfrog_flow
from medlangevin.samplers.tempering import initial_temperature as temperature_of
from medlangevin.samplers.tempering import quadratic_schedule
from medlangevin.system.errors import MedlangevinError

Tempering = Literal["none", "fixed", "free"]


class HVAE(RefinedModel):
    """phi_0 ~ q(z | x), kappa_0 ~ N(0, T0 I), then leapfrog steps down U = -log p(x, .).

    After step k the velocity is multiplied by alpha_k, prod_k alpha_k = T0^(-1/2).

    Args:
        encoder: x -> mean and scale of q(z | x), each (N, d).
        decoder: z (N, d) -> what the likelihood is of.
        likelihood: p(x | z).
        latent_dim: d.
        num_steps: K.
        step_size: t at first, one for each dimension.
        max_step_size: t lies inside (0, ``max_step_size``).
        learn_step_size: Whether t is learned.
        tempering: ``none``, T0 = 1; ``fixed``, the quadratic schedule with a learned T0 > 1; ``free``, learned alpha_k
            in (0, 1).
        initial_temperature: What T0 starts at, above 1 for the latter two.
        checkpoint_steps: Compute each step again in the backward pass, for memory that does not grow with
            ``num_steps``.

    Raises:
        MedlangevinError: ``tempering`` and ``initial_temperature`` do not go together.

    Source: Caterini, Doucet & Sejdinovic (2018), Algorithm 1; docs/mathematics.md, the bound.
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
        tempering: Tempering = "none",
        initial_temperature: float = 1.0,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(encoder=encoder, decoder=decoder, likelihood=likelihood, latent_dim=latent_dim)
        if (tempering == "none") != (initial_temperature == 1) or initial_temperature < 1:
            raise MedlangevinError(
                f"tempering: {tempering} with an initial temperature of {initial_temperature:g}; "
                "none goes with 1, fixed and free need more than 1"
            )
        self.num_steps = num_steps
        self.max_step_size = max_step_size
        self.tempering = tempering
        self.checkpoint_steps = checkpoint_steps
        self.step_size_logit = nn.Parameter(
            step_size_logit(step_size, max_step_size, (latent_dim,)), requires_grad=learn_step_size
        )
        if tempering == "fixed":
            self.raw_temperature = nn.Parameter(inverse_softplus(initial_temperature - 1))
        elif tempering == "free":
            scale = initial_temperature ** (-0.5 / num_steps)
            self.velocity_scale_logit = nn.Parameter(torch.full((num_steps,), math.log(scale / (1 - scale))))

    @property
    def step_size(self) -> Tensor:
        """t of each dimension, (d,)."""
        return bounded_step_size(self.step_size_logit, self.max_step_size)

    @property
    def velocity_scales(self) -> Tensor | None:
        """alpha_k, (num_steps,); None without tempering."""
        if self.tempering == "fixed":
            return quadratic_schedule(self.initial_temperature, self.num_steps)
        return torch.sigmoid(self.velocity_scale_logit) if self.tempering == "free" else None

    @property
    def initial_temperature(self) -> Tensor:
        """T0, a 0-d tensor."""
        if self.tempering == "fixed":
            return 1 + functional.softplus(self.raw_temperature)
        if self.tempering == "free":
            return temperature_of(torch.sigmoid(self.velocity_scale_logit))
        return torch.ones_like(self.step_size_logit[0])

    def shorten_steps(self) -> bool:
        """Halve t.

        Returns:
            True.
        """
        halve_step_size(self.step_size_logit)
        return True

    def _refine(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        temperature = self.initial_temperature

        def flow(start: PhaseState, potential: Potential) -> FlowResult:
            return leapfrog_flow(
                start,
                potential,
                num_steps=self.num_steps,
                step_size=self.step_size,
                velocity_scales=self.velocity_scales,
                create_graph=create_graph,
                checkpoint_steps=self.checkpoint_steps,
            )

        refinement = self._refine_by_flow(x, generator, flow, initial_temperature=temperature)
        settings = {"step_size": self.step_size.mean(), "temperature": temperature}
        return refinement._replace(parts={**refinement.parts, **settings})
