"""The quasi-symplectic Langevin VAE: a VAE whose posterior samples are refined by Langevin steps.

Source: Wang & Delingette (2021), Eqs. 9 to 13 and 21, corrected: log |det J| = -nu * sum of t over steps and dimensions
(docs/mathematics.md, corrections 1 to 4). The annealed bound is ours (docs/mathematics.md, the annealed bound).
"""

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.models.base import standard_normal_log_prob
from medlangevin.models.refined import Frame, Refinement, SteppedModel, inverse_softplus
from medlangevin.models.vae import EncoderDraw
from medlangevin.samplers import annealed_flow, quasi_symplectic_flow, scalar_like
from medlangevin.system.errors import MedlangevinError


class QSLVAE(SteppedModel):
    """phi_0 ~ q(z | x), then quasi-symplectic Langevin steps; ``bound`` says towards what.

    Args:
        step_size: t at first.
        learn_step_size: Whether t is learned.
        step_unit: Steps in units of z (``latent``), or (``posterior``) of the standard deviations of q(z | x), where
            one t suits all likelihoods and the flow follows the posterior as it narrows; there no force changes the
            velocity by more than sqrt(d) a step. exp(L) is unbiased either way (docs/mathematics.md, how large may the
            step be).
        bound: ``flow``, the paper's: kappa_0 ~ N(0, T0 I), steps down U = -log p(x, .) with fixed nu, sigma and T0; t
            per dimension. ``annealed``: steps along densities from q to p(x, .) at learned fractions; t per step and
            dimension; sigma and T0 follow from nu, so they cannot be set.
        damping: nu >= 0; with ``annealed`` what it starts at and is learned from, unless it is 0, when the velocity is
            never refreshed.
        noise_scale: sigma >= 0.
        initial_temperature: T0 > 0.
        parts: Those of ``SteppedModel``.

    Raises:
        MedlangevinError: A setting that ``annealed`` has no use for.
    """

    def __init__(
        self,
        *,
        step_size: float,
        learn_step_size: bool = True,
        step_unit: Literal["latent", "posterior"] = "latent",
        bound: Literal["annealed", "flow"] = "annealed",
        damping: float | Tensor = 0.0,
        noise_scale: float | Tensor = 0.0,
        initial_temperature: float | Tensor = 1.0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self.step_unit = step_unit
        # Velocities are about as long, and so are forces where q fits; an encoder that has not learned its width yet
        # draws z where they are a hundred times as long.
        self.max_kick = self.latent_dim**0.5 if step_unit == "posterior" else math.inf
        self.bound = bound
        self.noise_scale, self.initial_temperature = noise_scale, initial_temperature
        self._damping = damping
        self.raw_damping: nn.Parameter | None = None
        shape: tuple[int, ...] = (self.latent_dim,)
        if bound == "annealed":
            if noise_scale != 0 or initial_temperature != 1:
                raise MedlangevinError(
                    f"noise {float(noise_scale):g} and initial temperature {float(initial_temperature):g} are settings "
                    "of bound: flow; the annealed bound takes its noise from the damping, so leave them at 0 and 1"
                )
            shape = (self.num_steps, self.latent_dim)
            self.fraction_logits = nn.Parameter(torch.zeros(self.num_steps))
            # A single step is never damped, so there is nothing to learn.
            if damping > 0 and self.num_steps > 1:
                self.raw_damping = nn.Parameter(inverse_softplus(float(damping)))
        self._start_steps(step_size, shape, learned=learn_step_size)

    @property
    def damping(self) -> float | Tensor:
        """nu: a number, or a 0-d tensor where it is learned."""
        return self._damping if self.raw_damping is None else functional.softplus(self.raw_damping)

    @property
    def fractions(self) -> Tensor:
        """b_k, (num_steps,): rising to 1, how far from q to p(x, .) each step of the annealed bound is."""
        return self.fraction_logits.softmax(0).cumsum(0)

    def _frame(self, draw: EncoderDraw) -> Frame:
        return Frame(draw.mean, draw.scale) if self.step_unit == "posterior" else Frame()

    def _move(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        if self.bound == "annealed":
            refinement = self._refine_by_annealing(x, generator, create_graph=create_graph)
        else:
            flow = partial(
                quasi_symplectic_flow,
                num_steps=self.num_steps,
                step_size=self.step_size,
                damping=self.damping,
                noise_scale=self.noise_scale,
                max_kick=self.max_kick,
                generator=generator,
                create_graph=create_graph,
                checkpoint_steps=self.checkpoint_steps,
            )
            refinement = self._refine_by_flow(x, generator, flow, initial_temperature=self.initial_temperature)
        damping = scalar_like(self.damping, refinement.bound)
        settings = {"step_size": self.step_size.mean(), "damping": damping}
        return refinement._replace(parts={**refinement.parts, **settings})

    def _refine_by_annealing(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        """L is the bound as well: its terms log q and log p vary together, so the entropy in their place adds noise."""
        draw = self._draw_initial(x, generator)
        frame = self._frame(draw)
        end, log_kernels = annealed_flow(
            frame.coordinates(draw.z),
            frame.potential(lambda z: -draw.log_density(z)),
            frame.potential(self.potential(x)),
            fractions=self.fractions,
            step_size=self.step_size,
            damping=self.damping,
            max_kick=self.max_kick,
            generator=generator,
            create_graph=create_graph,
            checkpoint_steps=self.checkpoint_steps,
        )
        z = frame.latent(end.position)
        log_weight = log_kernels + standard_normal_log_prob(z) - draw.log_q
        return Refinement(z, log_weight, log_weight, {})
