"""Assemble a model from the configuration; the models themselves never read one."""

from medlangevin.config import ModelConfig
from medlangevin.errors import MedlangevinError
from medlangevin.likelihoods import Gaussian
from medlangevin.models.base import LatentVariableModel
from medlangevin.models.qsl_vae import QSLVAE
from medlangevin.models.vae import VAE
from medlangevin.networks import ConvDecoder, ConvEncoder


def build(config: ModelConfig, image_shape: tuple[int, ...]) -> LatentVariableModel:
    """The model of ``config`` for images of ``image_shape`` (C, *spatial), two or three spatial dimensions.

    Weights come from torch's default generator: seed it first. Raises MedlangevinError on a shape it cannot handle.
    """
    image_shape = tuple(int(size) for size in image_shape)
    if len(image_shape) not in (3, 4) or min(image_shape) < 1:
        raise MedlangevinError(
            f"images of shape {image_shape} cannot be modelled; expected (channels, height, width) or "
            "(channels, x, y, z), each at least 1"
        )
    channels, hidden = config.network.channels, config.network.hidden
    encoder = ConvEncoder(image_shape, config.latent_dim, channels=channels, hidden=hidden)
    decoder = ConvDecoder(image_shape, config.latent_dim, channels=channels, hidden=hidden)
    likelihood = Gaussian(config.likelihood.initial_scale)
    if config.kind == "vae":
        return VAE(encoder=encoder, decoder=decoder, likelihood=likelihood, latent_dim=config.latent_dim)
    flow = config.flow
    return QSLVAE(
        encoder=encoder,
        decoder=decoder,
        likelihood=likelihood,
        latent_dim=config.latent_dim,
        num_steps=flow.steps,
        step_size=flow.step_size,
        max_step_size=flow.max_step_size,
        learn_step_size=flow.learn_step_size,
        damping=flow.damping,
        noise_scale=flow.noise,
        initial_temperature=flow.initial_temperature,
    )
