"""The schema of a training run: its data, its model, its optimisation."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from medlangevin.config.fields import Count, Float, Integer, Positive, Section, kind_unless_given
from medlangevin.config.model import ModelConfig


class DataConfig(Section):
    """Where the crops are and how HU become the network's input.

    Training crops are changed a little each time they are seen: moved, deformed, and with white noise added.
    """

    root: Path = Field(default=Path("data/cochlea"), description="A folder that medlangevin preprocess wrote.")
    window_hu: tuple[Float, Float] = Field(
        default=(-1000.0, 2500.0), description="HU are clipped to this range, [low, high], and mapped to [0, 1]."
    )
    cache_mb: Integer = Field(
        default=2048,
        ge=0,
        description="Memory for decoded crops, in MB (0.6 each); those beyond are read again every epoch.",
    )
    num_workers: Integer = Field(
        default=0, ge=0, le=64, description="Processes that read crops, 0 to 64; 0: the training itself reads."
    )
    shift_voxels: Annotated[
        Float, Field(ge=0, lt=1, description="How far training crops are moved along each axis, at most, in voxels.")
    ] = 0.0
    deform_voxels: Annotated[
        Float,
        Field(
            ge=0,
            le=5,
            description="Standard deviation of the smooth displacements that training crops are deformed by, 0 to 5 "
            "voxels.",
        ),
    ] = 0.0
    noise_hu: Annotated[
        Float, Field(ge=0, le=1000, description="Standard deviation of white noise on training crops, 0 to 1,000 HU.")
    ] = 0.0

    @model_validator(mode="after")
    def _window_is_ordered(self) -> "DataConfig":
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError("window_hu must be [low, high] with low < high")
        return self


# The image sets that have a name.
IMAGE_SETS = ("mnist", "svhn", "cifar10", "celeba", "binarized_mnist")


class ImagesConfig(Section):
    """The 2D images of a benchmark, in place of crops."""

    set: str = Field(
        min_length=1,
        description="mnist, svhn, cifar10, celeba, binarized_mnist, or the path of an .npz with x_train, x_valid "
        "and x_test (uint8, N x C x H x W).",
    )
    root: Path | None = Field(
        default=None, description="The folder of the sets; left out, the variable MEDLANGEVIN_DATA or data/images."
    )
    download: bool = Field(
        default=False, description="Whether a set that is not there is fetched, where torchvision can."
    )
    binarization: Literal["none", "dynamic", "static"] = Field(
        default="none",
        description="none: grey levels; dynamic: training images are drawn anew each time they are seen, "
        "validation and test images once; static: the images are 0 and 1 in the file.",
    )
    train_on: Literal["training", "all"] = Field(
        default="training",
        description="all: also on the validation images, for a fixed number of epochs; the last epoch is the model.",
    )
    first: Count | None = Field(
        default=None, description="Of each split only so many images, at least 1, for quick trials."
    )

    @field_validator("set")
    @classmethod
    def _set_is_known(cls, name: str) -> str:
        if name not in IMAGE_SETS and not name.endswith(".npz"):
            raise ValueError(f"no image set is called so; choose {', '.join(IMAGE_SETS)} or a path ending in .npz")
        return name


class TrainingConfig(Section):
    """The optimisation, and early stopping on the validation ELBO."""

    epochs: Count = Field(default=200, description="Passes over the training data, at least 1.")
    batch_size: Count = Field(default=10, description="Images of a gradient step, at least 1.")
    optimizer: Literal["adam", "adamax", "sgd"] = Field(
        default="adam", description="adam or adamax (Kingma & Ba 2015), or sgd, plain gradient descent."
    )
    epsilon: Annotated[
        Float, Field(gt=0, le=1, description="What is added to the denominators of adam and adamax, above 0, up to 1.")
    ] = 1e-8
    learning_rate: Positive = Field(default=1e-3, description="The learning rate after the warm-up, above 0.")
    learning_rate_schedule: Literal["constant", "cosine"] = Field(
        default="constant",
        description="After the warm-up the rate stays (constant) or falls to zero along half a cosine at the last "
        "epoch (cosine).",
    )
    weight_decay: Annotated[
        Float,
        Field(
            ge=0,
            le=10,
            description="What weights (not biases, scales or steps) shrink by at each step, times the learning rate, "
            "0 to 10: AdamW.",
        ),
    ] = 0.0
    warmup_epochs: Integer = Field(
        default=0, ge=0, description="Epochs over which the learning rate rises linearly, 0 or more."
    )
    gradient_clip: Positive = Field(
        default=100.0, description="The norm that the gradient of all parameters together is clipped to, above 0."
    )
    patience: Count = Field(
        default=30, description="Epochs without a gain of the validation ELBO after which training stops, at least 1."
    )
    refined_validation: bool = Field(
        default=False,
        description="Whether the validation ELBO judges the decoder: latents are found at each of 12 validation images "
        "at most, instead of the encoder's.",
    )
    validate_every: Count = Field(
        default=1,
        description="Epochs between two looks at the validation data, at least 1; the last epoch in any case.",
    )
    accelerator: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where it runs; auto: on a CUDA device if there is one."
    )
    matmul_precision: Literal["highest", "high", "medium"] = Field(
        default="highest",
        description="torch's float32 matrix products (and CUDA's convolutions); below highest a device may round "
        "their factors to fewer bits.",
    )
    precision: Literal["float32", "bf16"] = Field(
        default="float32",
        description="bf16: the networks run in bfloat16 while training; densities, energies and accept tests stay "
        "in float32 and float64.",
    )
    weight_averaging: Annotated[
        Float,
        Field(
            ge=0,
            lt=1,
            description="Decay, 0 to 1, of an exponential moving average of the weights, which is then what is "
            "validated and kept as best; 0: none.",
        ),
    ] = 0.0
    cuda_graphs: bool = Field(
        default=True,
        description="On one GPU, a step is recorded once and launched as a whole: the same numbers, many times "
        "faster for small networks.",
    )
    tune_kernels: bool = Field(
        default=True,
        description="On GPUs, volumes have their channels last in memory, and cuDNN tries which kernels are "
        "fastest: seconds at the start, and about a fifth less time for every step after them.",
    )
    devices: Integer = Field(
        default=1,
        ge=1,
        le=1024,
        description="Processes on each machine, one a GPU (on a CPU as well), 1 to 1,024; they share every batch, "
        "and the result is that of one, up to rounding.",
    )
    nodes: Integer = Field(default=1, ge=1, le=1024, description="Machines, 1 to 1,024.")
    mlflow: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="The address of an MLflow tracking server that gets the curves as well, such as "
        "http://localhost:5000.",
    )

    @field_validator("mlflow")
    @classmethod
    def _address_holds_no_password(cls, address: str | None) -> str | None:
        if address is not None and "@" in address:  # config.yaml goes along with the run
            raise PydanticCustomError(
                "secret", "holds a name or password; say them in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return address


class AdamTraining(TrainingConfig):
    """The optimisation by Adam or Adamax."""

    optimizer: Literal["adam", "adamax"] = Field(default="adam", description="Adam or Adamax (Kingma & Ba 2015).")

    @model_validator(mode="after")
    def _decays_with_adam(self) -> "AdamTraining":
        if self.weight_decay and self.optimizer != "adam":
            raise ValueError("weight_decay goes with optimizer: adam; leave it out or choose that")
        return self


class SGDTraining(TrainingConfig):
    """The optimisation by plain gradient descent, which has no ``epsilon`` and no ``weight_decay``."""

    optimizer: Literal["sgd"] = Field(description="Plain gradient descent.")
    epsilon: ClassVar[float] = 0.0  # type: ignore[misc]
    weight_decay: ClassVar[float] = 0.0  # type: ignore[misc]


# Where and on what a run is trained: no part of what it is.
PLACES = (
    "output_dir",
    "data.root",
    "data.cache_mb",
    "data.num_workers",
    "images.root",
    "images.download",
    "training.accelerator",
    "training.cuda_graphs",
    "training.tune_kernels",
    "training.devices",
    "training.nodes",
    "training.mlflow",
)


class Config(Section):
    """A whole run: it lives in ``output_dir/name``. It trains on the crops of ``data`` or on ``images``."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="What the run is called: 1 to 100 letters, digits, points, underscores and hyphens.",
    )
    output_dir: Path = Field(default=Path("runs"), description="The folder of all runs.")
    seed: Integer = Field(default=0, ge=0, lt=2**32, description="Where all randomness starts, 0 to 4,294,967,295.")
    data: DataConfig = Field(default=DataConfig(), description="The crops to train on.")
    images: ImagesConfig | None = Field(default=None, description="The 2D images to train on, in place of crops.")
    model: SerializeAsAny[ModelConfig] = Field(description="The model.")
    training: Annotated[
        AdamTraining | SGDTraining,
        Field(discriminator="optimizer", description="The optimisation."),
        kind_unless_given("optimizer", "adam"),
    ] = AdamTraining()

    @property
    def run_dir(self) -> Path:
        """The folder of this run."""
        return self.output_dir / self.name

    @model_validator(mode="after")
    def _one_kind_of_data(self) -> "Config":
        if self.images is not None and "data" in self.model_fields_set:
            raise ValueError("data (crops) and images are both given; a run trains on one of them")
        grey = self.images is not None and self.images.binarization == "none"
        if grey and self.model.likelihood.kind == "bernoulli":
            raise ValueError(
                "model.likelihood.kind bernoulli is for zeros and ones, the images are grey; "
                "choose images.binarization dynamic or static, or continuous_bernoulli"
            )
        return self

    @model_validator(mode="after")
    def _comes_to_its_own_bound(self) -> "Config":
        preparatory = getattr(getattr(self.model, "flow", None), "vae_epochs", 0)
        if preparatory >= self.training.epochs:
            raise ValueError(
                f"model.flow.vae_epochs is {preparatory}, so none of {self.training.epochs} epochs trains the flow; "
                "training.epochs has to be more"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_the_other_data(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        del data["images" if self.images is None else "data"]
        return data
