"""The schema of a model: for each kind a section with the settings of that kind; kinds of one's own can be added."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from medlangevin.config.fields import Integer, Repeats, Section, Width, kind_unless_given
from medlangevin.config.networks import (
    ConvNetwork,
    GaussianLikelihood,
    LikelihoodConfig,
    NetworkConfig,
    SmoothNetworkConfig,
)
from medlangevin.config.plugins import VARIABLE, import_plugins
from medlangevin.config.steps import (
    AnnealedFlow,
    HVAEFlowConfig,
    LAELangevinConfig,
    LastLayerChain,
    LatentChain,
    LearnedLastLayer,
    QSLFlowConfig,
    UntemperedFlow,
)
from medlangevin.system.errors import MedlangevinError


class ModelConfig(Section):
    """What the settings of every kind of model begin with; checking a mapping gives the section of its ``kind``."""

    kind: str = Field(description="Which latent-variable model.")
    latent_dim: Width = Field(default=32, description="Dimensions of the latent z, 1 to 16,384.")
    network: NetworkConfig = ConvNetwork()
    likelihood: LikelihoodConfig = GaussianLikelihood()

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, raw: Any, handler: ModelWrapValidatorHandler["ModelConfig"]) -> "ModelConfig":
        if cls is not ModelConfig or not isinstance(raw, dict):
            return handler(raw)
        if "kind" not in raw:
            raise _problem("missing", raw)
        kind = raw["kind"] if isinstance(raw["kind"], str) else ""
        if kind not in KINDS:
            import_plugins()
        if kind not in KINDS:
            *others, last = (f"'{known}'" for known in KINDS)
            what = f"input should be {', '.join(others)} or {last}; for one of your own set {VARIABLE} to its file"
            raise _problem(PydanticCustomError("unknown_kind", "{what}", {"what": what}), raw["kind"])
        return KINDS[kind].model_validate(raw)


class VAEConfig(ModelConfig):
    """A variational autoencoder."""

    kind: Literal["vae"] = Field(default="vae", description="VAE.")


class PlanarConfig(Section):
    """The planar flow of vae_flow."""

    layers: Repeats = Field(default=10, description="Number of maps, the same for every image, 1 to 10,000.")


class VAEFlowConfig(ModelConfig):
    """A VAE with a planar flow."""

    kind: Literal["vae_flow"] = Field(default="vae_flow", description="VAE with a planar flow.")
    planar: PlanarConfig = Field(default=PlanarConfig(), description="The planar flow.")


class ImportanceConfig(Section):
    """The bound of iwae."""

    samples: Repeats = Field(default=5, description="Draws of z for each image, 1 to 10,000.")


class IWAEConfig(ModelConfig):
    """An importance-weighted autoencoder."""

    kind: Literal["iwae"] = Field(default="iwae", description="Importance-weighted autoencoder.")
    importance: ImportanceConfig = Field(default=ImportanceConfig(), description="The bound.")


class HVAEConfig(ModelConfig):
    """A Hamiltonian VAE."""

    kind: Literal["hvae"] = Field(default="hvae", description="Hamiltonian VAE.")
    network: SmoothNetworkConfig = ConvNetwork()
    flow: HVAEFlowConfig = UntemperedFlow()


class QSLVAEConfig(ModelConfig):
    """A quasi-symplectic Langevin VAE."""

    kind: Literal["qsl_vae"] = Field(default="qsl_vae", description="Quasi-symplectic Langevin VAE.")
    network: SmoothNetworkConfig = ConvNetwork()
    flow: QSLFlowConfig = AnnealedFlow()


class HoffmanConfig(ModelConfig):
    """A VAE whose decoder learns from Langevin chains."""

    kind: Literal["hoffman"] = Field(default="hoffman", description="VAE whose decoder learns from Langevin chains.")
    langevin: LatentChain = Field(default=LatentChain(), description="The chains.")


class LAEConfig(ModelConfig):
    """A Langevin autoencoder."""

    kind: Literal["lae"] = Field(default="lae", description="Langevin autoencoder.")
    langevin: LAELangevinConfig = LastLayerChain()


class AEConfig(ModelConfig):
    """An autoencoder, the control of the LAE."""

    kind: Literal["ae"] = Field(default="ae", description="Autoencoder, the control of the LAE.")
    langevin: LearnedLastLayer = Field(default=LearnedLastLayer(), description="How z is sampled.")


class CrossValidated(Section):
    """Variances of images that were held out, along the axes of the others."""

    estimate: Literal["cross_validated"] = Field(
        default="cross_validated", description="Variances of images that were held out, along the axes of the others."
    )
    folds: Integer = Field(
        default=5,
        ge=2,
        le=1000,
        description="How many parts are held out in turn, 2 to 1,000; both ears of a person are in one.",
    )


class MaximumLikelihood(Section):
    """Variances of the training images, which are too large where the images are few."""

    estimate: Literal["maximum_likelihood"] = Field(description="Variances of the training images themselves.")


class EstimatedGaussian(GaussianLikelihood):
    """A Gaussian about the mean image; one scale for all elements is estimated, as the closed form has it."""

    initial_scale: ClassVar[float] = 0.1  # type: ignore[misc]
    scale_per_ear: ClassVar[bool] = False  # type: ignore[misc]
    scale_map: ClassVar[bool] = False  # type: ignore[misc]
    correlated: ClassVar[bool] = False  # type: ignore[misc]


class PPCAConfig(ModelConfig):
    """Probabilistic PCA, fitted in closed form: no network, and one epoch without gradient steps."""

    kind: Literal["ppca"] = Field(default="ppca", description="Probabilistic PCA.")
    latent_dim: Width = Field(
        default=32, description="Principal axes, 1 to 16,384, fewer than images to train on and than their elements."
    )
    network: ClassVar[None] = None  # type: ignore[misc,assignment]
    likelihood: EstimatedGaussian = Field(default=EstimatedGaussian(), description="The Gaussian about the mean image.")
    ppca: Annotated[
        CrossValidated | MaximumLikelihood,
        Field(discriminator="estimate", description="How the variances are estimated."),
        kind_unless_given("estimate", "cross_validated"),
    ] = CrossValidated()


_BUILT_IN = (
    VAEConfig,
    VAEFlowConfig,
    IWAEConfig,
    HVAEConfig,
    QSLVAEConfig,
    HoffmanConfig,
    LAEConfig,
    AEConfig,
    PPCAConfig,
)
# The section of each kind that a configuration can name.
KINDS: dict[str, type[ModelConfig]] = {section().kind: section for section in _BUILT_IN}


def add_kind(section: type[ModelConfig]) -> None:
    """Let configurations name a kind of model.

    Args:
        section: The settings of the kind, which its ``kind``, a Literal of one word, names.

    Raises:
        MedlangevinError: It does not name one kind, or names one of the package's own.
    """
    kinds = get_args(section.model_fields["kind"].annotation)
    if len(kinds) != 1:
        raise MedlangevinError(f'{section.__name__} names no kind of model; it needs kind: Literal["name"] = "name"')
    if KINDS.get(kinds[0]) in _BUILT_IN and KINDS[kinds[0]] is not section:
        raise MedlangevinError(f"{section.__name__}: the kind '{kinds[0]}' is medlangevin's own; choose another name")
    KINDS[kinds[0]] = section


def _problem(what: str | PydanticCustomError, given: Any) -> ValidationError:
    return ValidationError.from_exception_data("model", [InitErrorDetails(type=what, loc=("kind",), input=given)])
