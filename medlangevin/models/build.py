"""Assemble a model from the configuration; the models themselves never read one."""

from torch import Tensor

from medlangevin.config import ModelConfig
from medlangevin.errors import MedlangevinError
from medlangevin.likelihoods import Gaussian
from medlangevin.models.base import LatentVariableModel
from medlangevin.models.qsl_vae import QSLVAE
from medlangevin.models.vae import VAE
from medlangevin.networks import ConvDecoder, ConvEncoder


def build(
    config: ModelConfig, image_shape: tuple[int, ...], *, mean_image: Tensor | None = None
) -> LatentVariableModel:
    """The model of ``config`` for images of ``image_shape`` (C, *spatial), two or three spatial dimensions.

    ``mean_image`` (C, *spatial), in the model's input units: the mean of the training images, from which the networks
    start; it is part of the model's state, so leave it out to load a checkpoint. Weights come from torch's default
    generator: seed it first. Raises MedlangevinError on a shape it cannot handle.
    """
    image_shape = tuple(int(size) for size in image_shape)
    if len(image_shape) not in (3, 4) or min(image_shape) < 1:
        raise MedlangevinError(
            f"images of shape {image_shape} cannot be modelled; expected (channels, height, width) or "
            "(channels, x, y, z), each at least 1"
        )
    if mean_image is not None and tuple(mean_image.shape) != image_shape:
        raise MedlangevinError(f"the mean image has shape {tuple(mean_image.shape)}, the images have {image_shape}")
    channels, hidden = config.network.channels, config.network.hidden
    encoder = ConvEncoder(
        image_shape,
        config.latent_dim,
        channels=channels,
        hidden=hidden,
        mean_image=mean_image,
        # Differences from the mean, in units of the decoder's initial standard deviation, are of order one.
        input_scale=config.likelihood.initial_scale,
    )
    decoder = ConvDecoder(image_shape, config.latent_dim, channels=channels, hidden=hidden, mean_image=mean_image)
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
