"""The Hamiltonian VAE (Caterini, Doucet & Sejdinovic 2018): leapfrog steps with tempering of the velocity."""

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.models.refined import Refinement, SteppedModel, inverse_softplus
from medlangevin.samplers import leapfrog_flow
from medlangevin.samplers.tempering import initial_temperature as temperature_of
from medlangevin.samplers.tempering import quadratic_schedule
from medlangevin.system.errors import MedlangevinError

Tempering = Literal["none", "fixed", "free"]


class HVAE(SteppedModel):
    """phi_0 ~ q(z | x), kappa_0 ~ N(0, T0 I), then leapfrog steps down U = -log p(x, .).

    After step k the velocity is multiplied by alpha_k, prod_k alpha_k = T0^(-1/2).

    Args:
        step_size: t at first, one for each dimension.
        learn_step_size: Whether t is learned.
        tempering: ``none``, T0 = 1; ``fixed``, the quadratic schedule with a learned T0 > 1; ``free``, learned alpha_k
            in (0, 1).
        initial_temperature: What T0 starts at, above 1 for the latter two.
        parts: Those of ``SteppedModel``.

    Raises:
        MedlangevinError: ``tempering`` and ``initial_temperature`` do not go together.

    Source: Caterini, Doucet & Sejdinovic (2018), Algorithm 1; docs/mathematics.md, the bound.
    """

    def __init__(
        self,
        *,
        step_size: float,
        learn_step_size: bool = True,
        tempering: Tempering = "none",
        initial_temperature: float = 1.0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        if (tempering == "none") != (initial_temperature == 1) or initial_temperature < 1:
            raise MedlangevinError(
                f"tempering: {tempering} with an initial temperature of {initial_temperature:g}; "
                "none goes with 1, fixed and free need more than 1"
            )
        self.tempering = tempering
        self._start_steps(step_size, (self.latent_dim,), learned=learn_step_size)
        if tempering == "fixed":
            self.raw_temperature = nn.Parameter(inverse_softplus(initial_temperature - 1))
        elif tempering == "free":
            scale = initial_temperature ** (-0.5 / self.num_steps)
            self.velocity_scale_logit = nn.Parameter(torch.full((self.num_steps,), math.log(scale / (1 - scale))))

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

    def _move(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        temperature = self.initial_temperature
        flow = partial(
            leapfrog_flow,
            num_steps=self.num_steps,
            step_size=self.step_size,
            velocity_scales=self.velocity_scales,
            create_graph=create_graph,
            checkpoint_steps=self.checkpoint_steps,
        )
        refinement = self._refine_by_flow(x, generator, flow, initial_temperature=temperature)
        settings = {"step_size": self.step_size.mean(), "temperature": temperature}
        return refinement._replace(parts={**refinement.parts, **settings})
