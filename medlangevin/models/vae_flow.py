"""A VAE whose posterior is sharpened by planar flows (Rezende & Mohamed 2015)."""

import torch
from torch import Tensor, nn

from medlangevin.likelihoods import Likelihood
from medlangevin.models.base import standard_normal_log_prob
from medlangevin.models.refined import RefinedModel, Refinement
from medlangevin.networks.planar import PlanarFlow


class VAEFlow(RefinedModel):
    """z_0 ~ q(z | x), then ``num_layers`` planar maps to z_K, the same for every image.

    L = log p(x, z_K) - log q(z_0 | x) + log |det d z_K / d z_0|, which is the bound as well. Rezende & Mohamed, Eq. 15.
    """

    def __init__(
        self, *, encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood, latent_dim: int, num_layers: int
    ) -> None:
        super().__init__(encoder=encoder, decoder=decoder, likelihood=likelihood, latent_dim=latent_dim)
        self.flow = PlanarFlow(latent_dim, num_layers)

    def _refine(self, x: Tensor, generator: torch.Generator | None, *, create_graph: bool) -> Refinement:
        draw = self._draw_initial(x, generator)
        end, log_det = self.flow(draw.z)
        log_weight = standard_normal_log_prob(end) - draw.log_q + log_det.double()
        return Refinement(end, log_weight, log_weight, {"log_det_jacobian": log_det.mean()})
