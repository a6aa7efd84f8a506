"""Assemble a model from the configuration; the models themselves never read one."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from medlangevin.config import LikelihoodConfig, ModelConfig, NetworkConfig
from medlangevin.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Likelihood
from medlangevin.models.base import LatentVariableModel
from medlangevin.models.hoffman import Hoffman
from medlangevin.models.hvae import HVAE
from medlangevin.models.iwae import IWAE
from medlangevin.models.lae import LAE
from medlangevin.models.qsl_vae import QSLVAE
from medlangevin.models.vae import VAE
from medlangevin.models.vae_flow import VAEFlow
from medlangevin.networks import (
    Conv5Decoder,
    Conv5Encoder,
    Conv5Features,
    ConvDecoder,
    ConvEncoder,
    ConvFeatures,
    MLPDecoder,
    MLPEncoder,
    MLPFeatures,
)
from medlangevin.networks.ends import Output
from medlangevin.system.errors import MedlangevinError


class _Networks(NamedTuple):
    features: type[nn.Module]
    encoder: type[nn.Module]
    decoder: type[nn.Module]


_NETWORKS = {
    "conv": _Networks(ConvFeatures, ConvEncoder, ConvDecoder),
    "conv5": _Networks(Conv5Features, Conv5Encoder, Conv5Decoder),
    "mlp": _Networks(MLPFeatures, MLPEncoder, MLPDecoder),
}
# What each likelihood takes the decoder's output for.
_OUTPUTS: dict[str, Output] = {
    "gaussian": "probability",
    "bernoulli": "logit",
    "continuous_bernoulli": "logit",
    "discretized_logistic": "symmetric",
}
# The standard deviation of grey values about their mean, where no scale of the likelihood says it.
_SPREAD = {"bernoulli": 0.5, "continuous_bernoulli": 0.3}


def build(
    config: ModelConfig,
    image_shape: tuple[int, ...],
    *,
    mean_image: Tensor | None = None,
    data_size: int | None = None,
) -> LatentVariableModel:
    """The model of ``config`` for images of ``image_shape`` (C, *spatial), two or three spatial dimensions.

    ``mean_image`` (C, *spatial), in the model's input units: the mean of the training images, from which the networks
    start; it is part of the model's state, so leave it out to load a checkpoint. ``data_size``: the number of training
    images, over which the prior of a likelihood's own parameter is spread; only training needs it. Weights come from
    torch's default generator: seed it first. Raises MedlangevinError on a shape it cannot handle.
    """
    image_shape = tuple(int(size) for size in image_shape)
    if len(image_shape) not in (3, 4) or min(image_shape) < 1:
        raise MedlangevinError(
            f"images of shape {image_shape} cannot be modelled; expected (channels, height, width) or "
            "(channels, x, y, z), each at least 1"
        )
    if mean_image is not None and tuple(mean_image.shape) != image_shape:
        raise MedlangevinError(f"the mean image has shape {tuple(mean_image.shape)}, the images have {image_shape}")
    networks = _NETWORKS[config.network.kind]
    layers: dict[str, Any] = _layers(config.network) | {"mean_image": mean_image}
    # Differences from the mean, in units of the decoder's initial standard deviation, are of order one.
    scaled = layers | {"input_scale": _SPREAD.get(config.likelihood.kind, config.likelihood.initial_scale)}
    if config.kind in ("lae", "ae"):
        first = {"features": networks.features(image_shape, **scaled)}
    else:
        first = {"encoder": networks.encoder(image_shape, config.latent_dim, **scaled)}
    return _assemble(
        config,
        **first,
        decoder=networks.decoder(image_shape, config.latent_dim, output=_OUTPUTS[config.likelihood.kind], **layers),
        likelihood=_likelihood(config.likelihood, data_size),
        latent_dim=config.latent_dim,
    )


def _layers(network: NetworkConfig) -> dict[str, Any]:
    if network.kind in ("conv", "conv5"):
        return {"channels": network.channels, "hidden": network.hidden}
    return {"widths": network.widths, "activation": network.activation, "layer_norm": network.layer_norm}


def _likelihood(config: LikelihoodConfig, data_size: int | None) -> Likelihood:
    match config.kind:
        case "gaussian":
            return Gaussian(config.initial_scale)
        case "bernoulli":
            return Bernoulli()
        case "continuous_bernoulli":
            return ContinuousBernoulli()
        case "discretized_logistic":
            return DiscretizedLogistic(config.initial_scale, data_size=data_size)


def _assemble(config: ModelConfig, **parts: Any) -> LatentVariableModel:
    """``parts``: encoder or features, decoder, likelihood and latent_dim."""
    flow, langevin = config.flow, config.langevin
    steps: dict[str, Any] = {
        "num_steps": flow.steps,
        "step_size": flow.step_size,
        "max_step_size": flow.max_step_size,
        "learn_step_size": flow.learn_step_size,
        "initial_temperature": flow.initial_temperature,
        "checkpoint_steps": flow.checkpoint_steps,
    }
    match config.kind:
        case "vae":
            return VAE(**parts)
        case "vae_flow":
            return VAEFlow(**parts, num_layers=config.planar.layers)
        case "iwae":
            return IWAE(**parts, num_samples=config.importance.samples)
        case "hvae":
            return HVAE(**parts, **steps, tempering=flow.tempering)
        case "qsl_vae":
            return QSLVAE(
                **parts,
                **steps,
                step_unit=flow.step_unit,
                bound=flow.bound,
                damping=flow.damping,
                noise_scale=flow.noise,
            )
        case "hoffman":
            return Hoffman(
                **parts, num_steps=langevin.steps, step_size=langevin.step_size, metropolis=langevin.metropolis
            )
        case "lae" | "ae":
            return LAE(
                **parts,
                num_features=parts["features"].num_features,
                num_updates=langevin.steps,
                step_size=langevin.step_size,
                metropolis=langevin.metropolis,
                update="gradient" if config.kind == "ae" else langevin.update,
                scale=langevin.scale,
                posterior_steps=langevin.posterior_steps,
                posterior_step_size=langevin.posterior_step_size,
            )
