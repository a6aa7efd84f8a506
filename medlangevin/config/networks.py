"""The schema of a model's networks and of its likelihood: for each kind a section with the settings of that kind."""

from typing import Annotated, Literal

from pydantic import Field

from medlangevin.config.fields import Float, Section, Width, kind_unless_given

Channels = Annotated[
    tuple[Width, ...],
    Field(min_length=1, max_length=4, description="Filters of each convolution: 1 to 4 numbers of 1 to 16,384."),
]
Hidden = Annotated[Width, Field(description="Units of the dense layer behind the convolutions, 1 to 16,384.")]
Activation = Annotated[
    Literal["relu", "softplus"],
    Field(
        description="What follows each layer; softplus suits kinds that differentiate through a force (hvae, qsl_vae), "
        "as a relu has no curvature of its own to learn from."
    ),
]


class ConvNetwork(Section):
    """Strided convolutions, softplus, and a dense layer; 2D or 3D."""

    kind: Literal["conv"] = Field(default="conv", description="Convolutions with kernels of 3, in 2D or 3D.")
    channels: Channels = (16, 32, 64)
    hidden: Hidden = 256
    warp: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Cosines along each axis of the smooth displacements by which the decoded image is moved, 0 to 5; "
        "their 3 warp^3 coefficients (2 warp^2 in 2D) are the last of the latents. 0: it is not moved.",
    )


class Conv5Network(Section):
    """The same with kernels of 5 x 5, as published for 28 x 28 digits (HVAE, QSL-VAE); 2D only."""

    kind: Literal["conv5"] = Field(default="conv5", description="Convolutions with kernels of 5 x 5, in 2D.")
    channels: Channels = (16, 32, 32)
    hidden: Hidden = 450


class MLPNetwork(Section):
    """Fully connected layers."""

    kind: Literal["mlp"] = Field(default="mlp", description="Fully connected layers.")
    widths: tuple[Width, ...] = Field(
        default=(1024, 1024, 1024),
        min_length=1,
        max_length=8,
        description="Units of each layer: 1 to 8 numbers of 1 to 16,384.",
    )
    activation: Activation = "relu"
    layer_norm: bool = Field(default=True, description="Whether LayerNorm stands before each activation.")


class SmoothMLPNetwork(MLPNetwork):
    """Fully connected layers where the model differentiates through a force."""

    activation: Activation = "softplus"


NetworkConfig = Annotated[
    ConvNetwork | Conv5Network | MLPNetwork,
    Field(discriminator="kind", description="The encoder and the decoder, mirror images of each other."),
    kind_unless_given("kind", "conv"),
]
SmoothNetworkConfig = Annotated[
    ConvNetwork | Conv5Network | SmoothMLPNetwork,
    Field(discriminator="kind", description="The encoder and the decoder, mirror images of each other."),
    kind_unless_given("kind", "conv"),
]


class GaussianLikelihood(Section):
    """A Gaussian about the mean image; its scale is learned. The three switches make its noise that of CT."""

    kind: Literal["gaussian"] = Field(default="gaussian", description="A Gaussian of windowed HU or grey values.")
    initial_scale: Annotated[
        Float, Field(ge=1e-4, le=100, description="The scale at first, in units of x, 0.0001 to 100.")
    ] = 0.1
    scale_per_ear: bool = Field(
        default=False,
        description="Whether each ear has its own scale, integrated out; what is learned is how scales are "
        "distributed over ears.",
    )
    scale_map: bool = Field(
        default=False, description="Whether the scale varies smoothly over the voxels; the map is learned."
    )
    correlated: bool = Field(
        default=False,
        description="Whether neighbouring voxels share noise; its spectrum is measured on homogeneous bone of the "
        "training ears before training, or, where there is none, on high frequencies. The scale then starts there.",
    )


class BernoulliLikelihood(Section):
    """For zeros and ones."""

    kind: Literal["bernoulli"] = Field(default="bernoulli", description="A Bernoulli of zeros and ones.")


class ContinuousBernoulliLikelihood(Section):
    """For grey values."""

    kind: Literal["continuous_bernoulli"] = Field(
        default="continuous_bernoulli", description="A continuous Bernoulli of grey values."
    )


class LogisticLikelihood(Section):
    """A logistic over 256 grey levels; one scale for all elements is learned."""

    kind: Literal["discretized_logistic"] = Field(
        default="discretized_logistic", description="A logistic over 256 grey levels."
    )
    initial_scale: Annotated[
        Float, Field(ge=1e-4, le=100, description="The scale at first, in units of 2 x - 1, 0.0001 to 100.")
    ] = 0.1


LikelihoodConfig = Annotated[
    GaussianLikelihood | BernoulliLikelihood | ContinuousBernoulliLikelihood | LogisticLikelihood,
    Field(discriminator="kind", description="p(x | z) of the images x in [0, 1]: docs/mathematics.md."),
    kind_unless_given("kind", "gaussian"),
]
