"""Latent-variable models: one interface, one file each, assembled by ``build``."""

from medlangevin.models.base import LatentVariableModel, Loss
from medlangevin.models.build import build
from medlangevin.models.qsl_vae import QSLVAE
from medlangevin.models.vae import VAE

__all__ = ["QSLVAE", "VAE", "LatentVariableModel", "Loss", "build"]
