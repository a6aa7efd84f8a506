"""The schema of a model: which kind, and the settings of its parts."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from medlangevin.config.fields import Float, Integer, Repeats, Scale, Section, Width
from medlangevin.config.relevance import fill_defaults, is_used, unused_key, what_uses


class NetworkConfig(Section):
    """The encoder and the decoder, mirror images of each other.

    ``conv``: strided convolutions with ``channels`` filters, softplus, and a dense layer of ``hidden`` units, 2D or 3D.
    ``conv5``: the same with kernels of 5 x 5, as published for 28 x 28 digits (HVAE, QSL-VAE): 2D only; ``channels``
    16, 32, 32 and ``hidden`` 450 unless set.
    ``mlp``: fully connected layers of ``widths``, with LayerNorm if ``layer_norm``. ``activation`` ``softplus`` is for
    kinds that differentiate through a force (hvae, qsl_vae), and their default: a ``relu`` has no curvature of its own
    to learn from. Elsewhere the default is ``relu``.
    """

    kind: Literal["conv", "conv5", "mlp"] = "conv"
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=4)] = (16, 32, 64)
    hidden: Width = 256
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (1024, 1024, 1024)
    activation: Literal["relu", "softplus"] = "relu"
    layer_norm: bool = True


class LikelihoodConfig(Section):
    """p(x | z) of windowed HU, x in [0, 1] (docs/mathematics.md).

    ``gaussian`` and ``discretized_logistic`` (256 grey levels) learn one scale for all elements, at first
    ``initial_scale``: in units of x for the one, of 2 x - 1 for the other. ``bernoulli`` is for zeros and ones,
    ``continuous_bernoulli`` for grey values.
    """

    kind: Literal["gaussian", "bernoulli", "continuous_bernoulli", "discretized_logistic"] = "gaussian"
    initial_scale: Annotated[Float, Field(ge=1e-4, le=100)] = 0.1


class FlowConfig(Section):
    """The Langevin steps of the QSL-VAE and the Hamiltonian ones of the HVAE (docs/mathematics.md).

    ``steps`` K >= 1; ``step_size`` t in (0, ``max_step_size``), learned per dimension when ``learn_step_size``.
    qsl_vae: ``bound`` ``annealed`` (ours) or ``flow`` (the paper's); ``damping`` nu >= 0, learned if annealed and not
    0; for ``flow`` also ``noise`` sigma >= 0 and the velocity's ``initial_temperature`` T0 > 0. hvae: ``tempering``
    ``none``, ``fixed`` or ``free``, the latter two with a learned ``initial_temperature`` T0 > 1.
    ``checkpoint_steps``: compute each step again in the backward pass, for less memory.
    The steps are stable while t < 2 / sqrt(curvature of the potential). On 60 x 50 x 50 crops the curvature reaches
    1e5, so t has to stay below 0.006; on 28 x 28 images 0.1 is usual. qsl_vae with ``step_unit`` ``posterior`` counts t
    in standard deviations of the encoder's q instead of in units of z: 0.2 to 0.5 suits any images, and 0.45, below
    1.0, is the default there.
    """

    bound: Literal["annealed", "flow"] = "annealed"
    tempering: Literal["none", "fixed", "free"] = "none"
    steps: Repeats = 5
    step_unit: Literal["latent", "posterior"] = "latent"
    step_size: Scale = 0.001
    max_step_size: Scale = 0.05
    learn_step_size: bool = True
    damping: Annotated[Float, Field(ge=0, le=1000)] = 0.1
    noise: Annotated[Float, Field(ge=0, le=1000)] = 0.0
    initial_temperature: Annotated[Float, Field(ge=0.01, le=100)] = 1.0
    checkpoint_steps: bool = False

    @model_validator(mode="after")
    def _settings_go_together(self) -> "FlowConfig":
        if self.step_size > 0.999 * self.max_step_size:
            raise ValueError("step_size must be smaller than max_step_size (at most 0.999 times)")
        if 0 < self.damping < 1e-6:
            raise ValueError("damping must be 0 or at least 1e-6; less of it refreshes nothing")
        return self


class PlanarConfig(Section):
    """The planar flow of vae_flow: ``layers`` maps, the same for every image."""

    layers: Repeats = 10


class ImportanceConfig(Section):
    """The bound of iwae: ``samples`` draws of z for each image."""

    samples: Repeats = 5


class LangevinConfig(Section):
    """Langevin steps while training (hoffman, lae), and how the LAE and the AE are evaluated.

    ``steps`` of ``step_size``, accepted or rejected if ``metropolis``: of z for each image (hoffman; stable below 2 /
    curvature), of the encoder's last layer for each mini-batch (lae; on the mean energy, where crops accept nearly
    every step of 1e-5 and none of 1e-4). ``update`` ``mala`` moves z of each image instead, with a step that follows
    the acceptance, and the encoder learns to predict it; ``frozen`` leaves that layer as it was drawn, the control to
    compare with. lae and ae: ``scale``, the standard deviation of q(z | x); ``posterior_steps`` of a MALA chain for
    each posterior sample, at first of ``posterior_step_size``.
    """

    update: Literal["langevin", "mala", "frozen"] = "langevin"
    steps: Repeats = 2
    step_size: Scale = 1e-5
    metropolis: bool = True
    scale: Scale = 0.05
    posterior_steps: Annotated[Integer, Field(ge=2, le=1_000_000)] = 200
    posterior_step_size: Scale = 0.01


class ModelConfig(Section):
    """Which latent-variable model, and its parts. A setting that the model would not use is an error."""

    kind: Literal["vae", "vae_flow", "iwae", "hvae", "qsl_vae", "hoffman", "lae", "ae"]
    latent_dim: Width = 32
    network: NetworkConfig = NetworkConfig()
    likelihood: LikelihoodConfig = LikelihoodConfig()
    flow: FlowConfig = FlowConfig()
    planar: PlanarConfig = PlanarConfig()
    importance: ImportanceConfig = ImportanceConfig()
    langevin: LangevinConfig = LangevinConfig()

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kind(cls, raw: Any) -> Any:
        return fill_defaults(raw)

    @model_validator(mode="after")
    def _only_what_is_used(self) -> "ModelConfig":
        key = unused_key(self)
        if key is not None:
            raise PydanticCustomError("unused_key", "{uses}", {"key": key, "uses": what_uses(key)})
        flow = self.flow
        if self.kind == "hvae" and flow.tempering != "none" and flow.initial_temperature < 1.001:
            raise ValueError(
                f"flow.initial_temperature must be more than 1 (at least 1.001) with tempering: {flow.tempering}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for name, value in list(data.items()):
            if not is_used(self, name):
                del data[name]
            elif isinstance(value, dict):
                data[name] = {key: item for key, item in value.items() if is_used(self, f"{name}.{key}")}
        return data
