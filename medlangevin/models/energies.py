"""Energies of a batch at states that a sampler visits, with every gradient from the evaluation the sampler made.

An accept/reject test needs U and its gradient for z; training needs, for the states that were visited, the gradients
of the same numbers for the parameters. Evaluating again would double the decoder's work.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medlangevin.samplers import Potential
from medlangevin.system.errors import MedlangevinError


class Energies:
    """U of each image at its latent, by one forward pass.

    Args:
        potential: U of latents.
        latent: (N, d_z).
        parameters: Whose gradients may be needed.
        parameters_at_once: A single backward pass gives their gradients as well; otherwise a second one does, only if
            they are needed, and the graph is kept until then.
        share: The gradients of parameters are of this times the sum of U over the images: for large networks each pass
            over them afterwards costs as much as the optimiser.

    Attributes:
        value: U, (N,) in nats.
        gradient: Of U for the latents, (N, d_z).
    """

    def __init__(
        self,
        potential: Potential,
        latent: Tensor,
        parameters: Sequence[Tensor],
        *,
        parameters_at_once: bool,
        share: float,
    ) -> None:
        latent = latent.detach().requires_grad_()
        self._parameters = parameters
        self.share = share
        with torch.enable_grad():
            self._energy = potential(latent)
        self.value = self._energy.detach()
        inputs = [latent, *parameters] if parameters_at_once else [latent]
        gradient, *rest = self._differentiate(inputs, keep=not parameters_at_once)
        self._parameter_gradients = tuple(rest) if parameters_at_once else None
        self.gradient = gradient / share

    def parameter_gradients(self) -> tuple[Tensor, ...]:
        """The gradient of ``share`` times the sum of U over the images.

        Returns:
            One tensor for each of the parameters.
        """
        if self._parameter_gradients is None:
            self._parameter_gradients = self._differentiate(self._parameters)
        return self._parameter_gradients

    def _differentiate(self, inputs: Sequence[Tensor], *, keep: bool = False) -> tuple[Tensor, ...]:
        if not inputs:
            return ()
        weight = torch.full_like(self._energy, self.share)
        return torch.autograd.grad(self._energy, inputs, weight, retain_graph=keep, materialize_grads=True)


class Visit(NamedTuple):
    """A state of the last layer that a chain visited.

    Attributes:
        energies: At the latents G Phi^T.
        weight: Phi (d_z, d_features).
        times: How many steps the chain stayed.
    """

    energies: Energies
    weight: Tensor
    times: int


def mean_energy(visits: Sequence[Visit], features: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The energy in nats per image, averaged over all visits.

    The backward pass hands ``parameters`` and ``features`` the gradients that they hold, so everything that listens to
    an ordinary backward pass sees them; gradients of gradients there are none, and it can be made once. The first
    visit's gradients are overwritten by the sum, to save a copy.

    Args:
        visits: Energies whose ``share`` is one visit's weight, 1 / (number of visits, repeated ones counted, times
            number of images).
        features: G (N, d_features).
        parameters: Those of the energies.

    Returns:
        A 0-d float64 tensor with known gradients.
    """
    value = torch.zeros((), dtype=torch.float64, device=features.device)
    feature_gradient = torch.zeros_like(features)
    parameter_gradients = visits[0].energies.parameter_gradients()
    for number, (energies, weight, times) in enumerate(visits):
        value += times * energies.share * energies.value.sum()
        with torch.autocast(features.device.type, enabled=False):
            feature_gradient += times * energies.share * (energies.gradient @ weight).to(features.dtype)
        if number > 0:
            for total, part in zip(parameter_gradients, energies.parameter_gradients(), strict=True):
                total.add_(part, alpha=times)
        elif times > 1:
            for total in parameter_gradients:
                total.mul_(times)
    return _Known.apply(value, (feature_gradient, *parameter_gradients), features, *parameters)


def mean_energy_of_shares(
    visits: Sequence[Visit], shares: Tensor, features: Tensor, parameters: Sequence[Tensor]
) -> Tensor:
    """``mean_energy`` where the device alone knows how long the chain stayed; nothing is read on the host.

    A share of zero counts as nothing even where the energy is NaN, as that of a refused proposal can be.

    Args:
        visits: The start and each proposal; their ``times`` are not used.
        shares: (visits,), adding up to one.
        features: G (N, d_features).
        parameters: Those of the energies.

    Returns:
        A 0-d float64 tensor with known gradients.
    """

    def weigh(values: Tensor, share: Tensor) -> Tensor:
        return (values * share.to(values.dtype)).masked_fill(share == 0, 0)

    value = torch.zeros((), dtype=torch.float64, device=features.device)
    gradients = [torch.zeros_like(features), *(torch.zeros_like(parameter) for parameter in parameters)]
    for (energies, weight, _), share in zip(visits, shares / len(features), strict=True):
        with torch.autocast(features.device.type, enabled=False):
            force = (energies.gradient @ weight).to(features.dtype)
        value += weigh(energies.value.sum(), share)
        gradients[0].add_(weigh(force, share))
        for total, part in zip(gradients[1:], energies.parameter_gradients(), strict=True):
            total.add_(weigh(part, share / energies.share))
    return _Known.apply(value, tuple(gradients), features, *parameters)


class _Known(torch.autograd.Function):
    """A value whose gradients for the inputs, ``gradients``, were computed beforehand; they are handed on once."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: tuple[Tensor, ...], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        # Held by nobody else, they become the parameters' gradients as they are; a second backward pass would find them
        # changed by whatever was done to those.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise MedlangevinError("the Langevin loss of an LAE has one backward pass; evaluate it again for another")
        if upstream.device.type == "cpu" and upstream.item() == 1:
            return None, None, *gradients
        return None, None, *(gradient * upstream.to(gradient.dtype) for gradient in gradients)
