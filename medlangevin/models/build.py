"""Assemble a model from the configuration; the models themselves never read one."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from medlangevin import networks
from medlangevin.config.fields import Section
from medlangevin.config.model import (
    AEConfig,
    CrossValidated,
    HoffmanConfig,
    HVAEConfig,
    IWAEConfig,
    LAEConfig,
    ModelConfig,
    PPCAConfig,
    QSLVAEConfig,
    VAEConfig,
    VAEFlowConfig,
    add_kind,
)
from medlangevin.config.networks import LikelihoodConfig
from medlangevin.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Likelihood
from medlangevin.models.base import LatentVariableModel
from medlangevin.models.hoffman import Hoffman
from medlangevin.models.hvae import HVAE
from medlangevin.models.iwae import IWAE
from medlangevin.models.lae import LAE
from medlangevin.models.ppca import PPCA
from medlangevin.models.qsl_vae import QSLVAE
from medlangevin.models.refined import VAEFlow
from medlangevin.models.vae import VAE
from medlangevin.networks.ends import Output
from medlangevin.networks.warped import WarpedDecoder, displacement_coefficients
from medlangevin.system.errors import MedlangevinError

# config section, image_shape, mean_image, data_size: as ``build`` has them.
Factory = Callable[[Any, tuple[int, ...], Tensor | None, int | None], LatentVariableModel]
_FACTORIES: dict[type[ModelConfig], Factory] = {}


# Features, encoder and decoder of each kind.
_NETWORKS: dict[str, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    "conv": (networks.ConvFeatures, networks.ConvEncoder, networks.ConvDecoder),
    "conv5": (networks.Conv5Features, networks.Conv5Encoder, networks.Conv5Decoder),
    "mlp": (networks.MLPFeatures, networks.MLPEncoder, networks.MLPDecoder),
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


def register(section: type[ModelConfig], factory: Factory) -> None:
    """Make a kind of model known, so that a configuration can name it.

    Args:
        section: The settings of the kind: a subclass of ModelConfig with ``kind: Literal["its_name"] = "its_name"``.
        factory: Makes the model of a configuration's section, ``image_shape``, ``mean_image`` and ``data_size``, which
            are those of ``build``.

    Raises:
        MedlangevinError: The section does not name one kind, or names one of the package's own.
    """
    add_kind(section)
    _FACTORIES[section] = factory


def build(
    config: ModelConfig,
    image_shape: tuple[int, ...],
    *,
    mean_image: Tensor | None = None,
    data_size: int | None = None,
) -> LatentVariableModel:
    """The model of a configuration. Weights come from torch's default generator: seed it first.

    Args:
        config: The section of its kind.
        image_shape: (C, *spatial), two or three spatial dimensions.
        mean_image: (C, *spatial), in the model's input units: the mean of the training images, from which the networks
            start. It is part of the model's state, so leave it out to load a checkpoint.
        data_size: The number of training images, over which the prior of a likelihood's own parameter is spread; only
            training needs it.

    Returns:
        The model, in training mode.

    Raises:
        MedlangevinError: It cannot handle the shape.
    """
    image_shape = tuple(int(size) for size in image_shape)
    if len(image_shape) not in (3, 4) or min(image_shape) < 1:
        raise MedlangevinError(
            f"images of shape {image_shape} cannot be modelled; expected (channels, height, width) or "
            "(channels, x, y, z), each at least 1"
        )
    if mean_image is not None and tuple(mean_image.shape) != image_shape:
        raise MedlangevinError(f"the mean image has shape {tuple(mean_image.shape)}, the images have {image_shape}")
    return _FACTORIES[type(config)](config, image_shape, mean_image, data_size)


def autoencoder(
    config: ModelConfig, image_shape: tuple[int, ...], mean_image: Tensor | None, data_size: int | None
) -> dict[str, Any]:
    """The parts that most kinds are made of, as ``config.network`` and ``config.likelihood`` say.

    Args:
        config: The section of a kind.
        image_shape: As in ``build``.
        mean_image: As in ``build``.
        data_size: As in ``build``.

    Returns:
        ``encoder``, ``decoder``, ``likelihood`` and ``latent_dim``; ``features`` and ``num_features`` in place of
            ``encoder`` where the model has a last layer of its own (lae, ae).
    """
    kind, latent_dim = config.likelihood.kind, config.latent_dim
    features, encoder, decoder = _NETWORKS[config.network.kind]
    layers: dict[str, Any] = _settings(config.network) | {"mean_image": mean_image}
    del layers["kind"]
    warp = layers.pop("warp", 0)
    moves = displacement_coefficients(len(image_shape) - 1, warp) if warp else 0
    if moves >= latent_dim:
        raise MedlangevinError(
            f"model.network.warp: {warp} takes {moves} latents of {len(image_shape) - 1}D images, and model.latent_dim "
            f"is {latent_dim}; set it above {moves}"
        )
    # Differences from the mean, in units of the decoder's initial standard deviation, are of order one.
    scaled = layers | {"input_scale": getattr(config.likelihood, "initial_scale", _SPREAD.get(kind))}
    if isinstance(config, LAEConfig | AEConfig):
        first: dict[str, Any] = {"features": features(image_shape, **scaled)}
        first["num_features"] = first["features"].num_features
    else:
        first = {"encoder": encoder(image_shape, latent_dim, **scaled)}
    decoding = decoder(image_shape, latent_dim - moves, output=_OUTPUTS[kind], **layers)
    return first | {
        "decoder": WarpedDecoder(decoding, image_shape[1:], degree=warp) if warp else decoding,
        "likelihood": _likelihood(config.likelihood, image_shape, data_size),
        "latent_dim": latent_dim,
    }


def _likelihood(config: LikelihoodConfig, image_shape: tuple[int, ...], data_size: int | None) -> Likelihood:
    match config.kind:
        case "gaussian":
            settings = _settings(config)
            del settings["kind"]
            return Gaussian(**settings, image_shape=image_shape)
        case "bernoulli":
            return Bernoulli()
        case "continuous_bernoulli":
            return ContinuousBernoulli()
        case "discretized_logistic":
            return DiscretizedLogistic(config.initial_scale, data_size=data_size)


def _settings(section: Section, **renamed: str) -> dict[str, Any]:
    """The settings of a section as arguments; ``renamed``: those that a model calls otherwise."""
    return {renamed.get(name, name): value for name, value in section}


def _assembled(model: Callable[..., LatentVariableModel], section: str = "", **renamed: str) -> Factory:
    """Makes a model of its parts and of the settings in a section of its kind."""

    def factory(config: ModelConfig, *images: Any) -> LatentVariableModel:
        settings = _settings(getattr(config, section), **renamed) if section else {}
        return model(**autoencoder(config, *images), **settings)

    return factory


def _ppca(config: PPCAConfig, image_shape: tuple[int, ...], *_: Any) -> PPCA:
    folds = config.ppca.folds if isinstance(config.ppca, CrossValidated) else None
    return PPCA(image_shape=image_shape, latent_dim=config.latent_dim, folds=folds)


register(PPCAConfig, _ppca)
register(VAEConfig, _assembled(VAE))
register(VAEFlowConfig, _assembled(VAEFlow, "planar", layers="num_layers"))
register(IWAEConfig, _assembled(IWAE, "importance", samples="num_samples"))
register(HVAEConfig, _assembled(HVAE, "flow", steps="num_steps"))
register(QSLVAEConfig, _assembled(QSLVAE, "flow", steps="num_steps", noise="noise_scale"))
register(HoffmanConfig, _assembled(Hoffman, "langevin", steps="num_steps"))
register(LAEConfig, _assembled(LAE, "langevin", steps="num_updates"))
register(AEConfig, _assembled(partial(LAE, update="gradient"), "langevin"))
