"""Latent-variable models: one interface, one file each, assembled by ``build``."""

from medlangevin.models.base import ClosedForm, LatentVariableModel, Loss
from medlangevin.models.build import autoencoder, build, register
from medlangevin.models.hoffman import Hoffman
from medlangevin.models.hvae import HVAE
from medlangevin.models.iwae import IWAE
from medlangevin.models.lae import LAE
from medlangevin.models.ppca import PPCA
from medlangevin.models.qsl_vae import QSLVAE
from medlangevin.models.refined import VAEFlow
from medlangevin.models.vae import VAE

__all__ = [
    "HVAE",
    "IWAE",
    "LAE",
    "PPCA",
    "QSLVAE",
    "VAE",
    "ClosedForm",
    "Hoffman",
    "LatentVariableModel",
    "Loss",
    "VAEFlow",
    "autoencoder",
    "build",
    "register",
]
