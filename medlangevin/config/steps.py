"""The schema of the steps that models take: flows (hvae, qsl_vae) and Langevin chains (hoffman, lae, ae)."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from medlangevin.config.fields import Float, Integer, Repeats, Scale, Section, kind_unless_given

FlowSteps = Annotated[Repeats, Field(description="Number K of steps, 1 to 10,000.")]
FlowStepSize = Annotated[
    Scale,
    Field(
        description="Step size t at first, above 0 and below max_step_size. In units of z the steps are stable while "
        "t < 2 / sqrt(curvature of the potential): below 0.006 on crops, and 0.1 is usual on 28 x 28 images. With "
        "step_unit posterior 0.2 to 0.5 suits any images, and 0.45 is the default."
    ),
]
MaxStepSize = Annotated[
    Scale, Field(description="What t stays below, 1e-12 to 1,000; 1.0 is the default with step_unit posterior.")
]
LearnStepSize = Annotated[bool, Field(description="Whether t is learned, one for each dimension.")]
Damping = Annotated[
    Float, Field(ge=0, le=1000, description="nu, 0 or 1e-6 to 1,000; learned with the annealed bound, unless it is 0.")
]
VAEEpochs = Annotated[
    Integer,
    Field(
        ge=0,
        description="So many epochs at first train a VAE, without the steps; at equal time that wins. 0: none of them.",
    ),
]
CheckpointSteps = Annotated[
    bool, Field(description="Whether each step is computed again in the backward pass, for less memory.")
]


class FlowSection(Section):
    """The steps of a flow (docs/mathematics.md)."""

    @model_validator(mode="after")
    def _settings_go_together(self: Any) -> Any:
        if self.step_size > 0.999 * self.max_step_size:
            raise ValueError("step_size must be smaller than max_step_size (at most 0.999 times)")
        if 0 < getattr(self, "damping", 0.0) < 1e-6:
            raise ValueError("damping must be 0 or at least 1e-6; less of it refreshes nothing")
        return self


class HamiltonianFlow(FlowSection):
    """What the flows of the HVAE share."""

    tempering: str
    steps: FlowSteps = 5
    step_size: FlowStepSize = 0.001
    max_step_size: MaxStepSize = 0.05
    learn_step_size: LearnStepSize = True
    vae_epochs: VAEEpochs = 0


class UntemperedFlow(HamiltonianFlow):
    """The Hamiltonian steps of the HVAE, with T0 = 1."""

    initial_temperature: ClassVar[float] = 1.0
    tempering: Literal["none"] = Field(default="none", description="No tempering of the velocity.")
    checkpoint_steps: CheckpointSteps = False


class TemperedFlow(HamiltonianFlow):
    """The Hamiltonian steps of the HVAE, with a learned T0 > 1."""

    tempering: Literal["fixed", "free"] = Field(
        description="The quadratic schedule (fixed), or learned factors (free)."
    )
    initial_temperature: Annotated[
        Float, Field(ge=0.01, le=100, description="T0 of the velocity at first, 1.001 to 100; it is learned.")
    ] = 1.5
    checkpoint_steps: CheckpointSteps = False

    @model_validator(mode="after")
    def _starts_hot(self) -> "TemperedFlow":
        if self.initial_temperature < 1.001:
            raise ValueError(
                f"initial_temperature must be more than 1 (at least 1.001) with tempering: {self.tempering}"
            )
        return self


StepUnit = Annotated[
    Literal["latent", "posterior"],
    Field(description="Steps in units of z (latent), or of the standard deviations of the encoder's q (posterior)."),
]


class QSLFlow(FlowSection):
    """What the flows of the QSL-VAE share, with the default step sizes of a ``step_unit``."""

    bound: str
    steps: FlowSteps = 5
    step_unit: StepUnit = "latent"
    step_size: FlowStepSize = 0.001
    max_step_size: MaxStepSize = 0.05
    learn_step_size: LearnStepSize = True
    damping: Damping = 0.1
    vae_epochs: VAEEpochs = 0

    @model_validator(mode="before")
    @classmethod
    def _sizes_of_the_unit(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("step_unit") == "posterior":
            return {"step_size": 0.45, "max_step_size": 1.0} | raw
        return raw


class AnnealedFlow(QSLFlow):
    """The Langevin steps of the QSL-VAE with our annealed bound."""

    noise: ClassVar[float] = 0.0
    initial_temperature: ClassVar[float] = 1.0
    bound: Literal["annealed"] = Field(default="annealed", description="Our bound.")
    checkpoint_steps: CheckpointSteps = False


class PublishedFlow(QSLFlow):
    """The Langevin steps of the QSL-VAE as published."""

    bound: Literal["flow"] = Field(description="The bound of the paper.")
    noise: Annotated[Float, Field(ge=0, le=1000, description="sigma, 0 to 1,000.")] = 0.0
    initial_temperature: Annotated[Float, Field(ge=0.01, le=100, description="T0 of the velocity, 0.01 to 100.")] = 1.0
    checkpoint_steps: CheckpointSteps = False


HVAEFlowConfig = Annotated[
    UntemperedFlow | TemperedFlow,
    Field(discriminator="tempering", description="The Hamiltonian steps."),
    kind_unless_given("tempering", "none"),
]
QSLFlowConfig = Annotated[
    AnnealedFlow | PublishedFlow,
    Field(discriminator="bound", description="The Langevin steps."),
    kind_unless_given("bound", "annealed"),
]

ChainSteps = Annotated[Repeats, Field(description="Langevin steps for each mini-batch, 1 to 10,000.")]
LastLayerStepSize = Annotated[
    Scale,
    Field(
        description="Step size on the mean energy of the mini-batch, 1e-12 to 1,000; crops accept nearly every step of "
        "1e-5 and none of 1e-4."
    ),
]

Metropolis = Annotated[bool, Field(description="Whether each step is accepted or rejected.")]
PosteriorScale = Annotated[Scale, Field(description="Standard deviation of q(z | x), 1e-12 to 1,000.")]
PosteriorSteps = Annotated[
    Integer, Field(ge=2, le=1_000_000, description="Steps of the MALA chain of a posterior sample, 2 to 1,000,000.")
]
PosteriorStepSize = Annotated[Scale, Field(description="Step size of that chain at first, 1e-12 to 1,000.")]


class LatentChain(Section):
    """Langevin steps of each image's z while training (hoffman)."""

    steps: ChainSteps = 2
    step_size: Scale = Field(
        default=1e-5, description="Step size on each image's z, 1e-12 to 1,000; stable below 2 / curvature."
    )
    metropolis: Metropolis = True


class LastLayerChain(Section):
    """Langevin steps of the encoder's last layer while training, and posterior sampling (lae)."""

    update: Literal["langevin"] = Field(default="langevin", description="The last layer follows Langevin steps.")
    steps: ChainSteps = 2
    step_size: LastLayerStepSize = 1e-5
    metropolis: Metropolis = True
    scale: PosteriorScale = 0.05
    posterior_steps: PosteriorSteps = 200
    posterior_step_size: PosteriorStepSize = 0.01


class RefinedLatents(Section):
    """MALA steps of each image's z, which the encoder learns to predict, and posterior sampling (lae)."""

    update: Literal["mala"] = Field(description="Each image's z is refined, and the encoder predicts it.")
    steps: ChainSteps = 2
    step_size: Scale = Field(
        default=1e-5, description="Step size on each image's z at first, 1e-12 to 1,000; it follows the acceptance."
    )
    scale: PosteriorScale = 0.05
    posterior_steps: PosteriorSteps = 200
    posterior_step_size: PosteriorStepSize = 0.01


class FrozenLastLayer(Section):
    """The control with the last layer as it was drawn, and posterior sampling (lae)."""

    update: Literal["frozen"] = Field(description="The last layer stays as it was drawn.")
    scale: PosteriorScale = 0.05
    posterior_steps: PosteriorSteps = 200
    posterior_step_size: PosteriorStepSize = 0.01


class LearnedLastLayer(Section):
    """Posterior sampling of the control that learns its last layer by gradient (ae)."""

    update: ClassVar[str] = "gradient"
    scale: PosteriorScale = 0.05
    posterior_steps: PosteriorSteps = 200
    posterior_step_size: PosteriorStepSize = 0.01


LAELangevinConfig = Annotated[
    LastLayerChain | RefinedLatents | FrozenLastLayer,
    Field(discriminator="update", description="Where the encoder's last layer comes from, and how z is sampled."),
    kind_unless_given("update", "langevin"),
]
