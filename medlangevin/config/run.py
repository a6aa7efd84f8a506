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

    Training crops are changed a little each time they are seen: moved, and with white noise added.
    """

    root: Annotated[Path, Field(description="A folder that medlangevin preprocess wrote.")] = Path("data/cochlea")
    window_hu: Annotated[
        tuple[Float, Float], Field(description="HU are clipped to this range, [low, high], and mapped to [0, 1].")
    ] = (-1000.0, 2500.0)
    cache_mb: Annotated[
        Integer,
        Field(ge=0, description="Memory for decoded crops, in MB (0.6 each); those beyond are read again every epoch."),
    ] = 2048
    num_workers: Annotated[
        Integer, Field(ge=0, le=64, description="Processes that read crops, 0 to 64; 0: the training itself reads.")
    ] = 0
    shift_voxels: Annotated[
        Float, Field(ge=0, lt=1, description="How far training crops are moved along each axis, at most, in voxels.")
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

    set: Annotated[
        str,
        Field(
            min_length=1,
            description="mnist, svhn, cifar10, celeba, binarized_mnist, or the path of an .npz with x_train, x_valid "
            "and x_test (uint8, N x C x H x W).",
        ),
    ]
    root: Annotated[
        Path | None,
        Field(description="The folder of the sets; left out, the variable MEDLANGEVIN_DATA or data/images."),
    ] = None
    download: Annotated[
        bool, Field(description="Whether a set that is not there is fetched, where torchvision can.")
    ] = False
    binarization: Annotated[
        Literal["none", "dynamic", "static"],
        Field(
            description="none: grey levels; dynamic: training images are drawn anew each time they are seen, "
            "validation and test images once; static: the images are 0 and 1 in the file."
        ),
    ] = "none"
    train_on: Annotated[
        Literal["training", "all"],
        Field(
            description="all: also on the validation images, for a fixed number of epochs; the last epoch is the model."
        ),
    ] = "training"
    first: Annotated[
        Count | None, Field(description="Of each split only so many images, at least 1, for quick trials.")
    ] = None

    @field_validator("set")
    @classmethod
    def _set_is_known(cls, name: str) -> str:
        if name not in IMAGE_SETS and not name.endswith(".npz"):
            raise ValueError(f"no image set is called so; choose {', '.join(IMAGE_SETS)} or a path ending in .npz")
        return name


class TrainingConfig(Section):
    """The optimisation, and early stopping on the validation ELBO."""

    epochs: Annotated[Count, Field(description="Passes over the training data, at least 1.")] = 200
    batch_size: Annotated[Count, Field(description="Images of a gradient step, at least 1.")] = 10
    optimizer: Annotated[
        Literal["adam", "adamax", "sgd"],
        Field(description="adam or adamax (Kingma & Ba 2015), or sgd, plain gradient descent."),
    ] = "adam"
    epsilon: Annotated[
        Float, Field(gt=0, le=1, description="What is added to the denominators of adam and adamax, above 0, up to 1.")
    ] = 1e-8
    learning_rate: Annotated[Positive, Field(description="The learning rate after the warm-up, above 0.")] = 1e-3
    learning_rate_schedule: Annotated[
        Literal["constant", "cosine"],
        Field(
            description="After the warm-up the rate stays (constant) or falls to zero along half a cosine at the last "
            "epoch (cosine)."
        ),
    ] = "constant"
    warmup_epochs: Annotated[
        Integer, Field(ge=0, description="Epochs over which the learning rate rises linearly, 0 or more.")
    ] = 0
    gradient_clip: Annotated[
        Positive, Field(description="The norm that the gradient of all parameters together is clipped to, above 0.")
    ] = 100.0
    patience: Annotated[
        Count, Field(description="Epochs without a gain of the validation ELBO after which training stops, at least 1.")
    ] = 30
    validate_every: Annotated[
        Count,
        Field(description="Epochs between two looks at the validation data, at least 1; the last epoch in any case."),
    ] = 1
    accelerator: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="Where it runs; auto: on a CUDA device if there is one.")
    ] = "auto"
    matmul_precision: Annotated[
        Literal["highest", "high", "medium"],
        Field(
            description="torch's float32 matrix products (and CUDA's convolutions); below highest a device may round "
            "their factors to fewer bits."
        ),
    ] = "highest"
    precision: Annotated[
        Literal["float32", "bf16"],
        Field(
            description="bf16: the networks run in bfloat16 while training; densities, energies and accept tests stay "
            "in float32 and float64."
        ),
    ] = "float32"
    weight_averaging: Annotated[
        Float,
        Field(
            ge=0,
            lt=1,
            description="Decay, 0 to 1, of an exponential moving average of the weights, which is then what is "
            "validated and kept as best; 0: none.",
        ),
    ] = 0.0
    cuda_graphs: Annotated[
        bool,
        Field(
            description="On one GPU, a step is recorded once and launched as a whole: the same numbers, many times "
            "faster for small networks."
        ),
    ] = True
    tune_kernels: Annotated[
        bool,
        Field(
            description="On GPUs, volumes have their channels last in memory, and cuDNN tries which kernels are "
            "fastest: seconds at the start, and about a fifth less time for every step after them."
        ),
    ] = True
    devices: Annotated[
        Integer,
        Field(
            ge=1,
            le=1024,
            description="Processes on each machine, one a GPU (on a CPU as well), 1 to 1,024; they share every batch, "
            "and the result is that of one, up to rounding.",
        ),
    ] = 1
    nodes: Annotated[Integer, Field(ge=1, le=1024, description="Machines, 1 to 1,024.")] = 1
    mlflow: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(
            description="The address of an MLflow tracking server that gets the curves as well, such as "
            "http://localhost:5000."
        ),
    ] = None

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

    optimizer: Annotated[Literal["adam", "adamax"], Field(description="Adam or Adamax (Kingma & Ba 2015).")] = "adam"


class SGDTraining(TrainingConfig):
    """The optimisation by plain gradient descent, which has no ``epsilon``."""

    optimizer: Annotated[Literal["sgd"], Field(description="Plain gradient descent.")]
    epsilon: ClassVar[float] = 0.0  # type: ignore[misc]


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

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=100,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
            description="What the run is called: 1 to 100 letters, digits, points, underscores and hyphens.",
        ),
    ]
    output_dir: Annotated[Path, Field(description="The folder of all runs.")] = Path("runs")
    seed: Annotated[Integer, Field(ge=0, lt=2**32, description="Where all randomness starts, 0 to 4,294,967,295.")] = 0
    data: Annotated[DataConfig, Field(description="The crops to train on.")] = DataConfig()
    images: Annotated[ImagesConfig | None, Field(description="The 2D images to train on, in place of crops.")] = None
    model: Annotated[SerializeAsAny[ModelConfig], Field(description="The model.")]
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

    @model_serializer(mode="wrap")
    def _without_the_other_data(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        del data["images" if self.images is None else "data"]
        return data
