"""The schema of a training run: its data, its model, its optimisation."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from medlangevin.config.fields import Count, Float, Integer, Positive, Section
from medlangevin.config.model import ModelConfig


class DataConfig(Section):
    """Where the crops are and how HU become the network's input.

    ``root``: a folder that ``medlangevin preprocess`` wrote. ``window_hu``: HU are clipped to this range and mapped
    to [0, 1]. ``cache_mb``: memory for decoded crops (0.6 MB each); the crops beyond it are read again every epoch,
    by ``num_workers`` processes if not 0. Training crops are changed a little each time they are seen: moved by up to
    ``shift_voxels`` along each axis, and with white noise of ``noise_hu`` added; 0, the default, leaves either out.
    """

    root: Path = Path("data/cochlea")
    window_hu: tuple[Float, Float] = (-1000.0, 2500.0)
    cache_mb: Annotated[Integer, Field(ge=0)] = 2048
    num_workers: Annotated[Integer, Field(ge=0, le=64)] = 0
    shift_voxels: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    noise_hu: Annotated[Float, Field(ge=0, le=1000)] = 0.0

    @model_validator(mode="after")
    def _window_is_ordered(self) -> "DataConfig":
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError("window_hu must be [low, high] with low < high")
        return self


# The image sets that have a name.
IMAGE_SETS = ("mnist", "svhn", "cifar10", "celeba", "binarized_mnist")


class ImagesConfig(Section):
    """The 2D images of a benchmark, in place of crops.

    ``set``: mnist, svhn, cifar10, celeba, binarized_mnist, or the path of an ``.npz`` with x_train, x_valid and x_test
    (uint8, N x C x H x W). ``root``: the folder of the sets; left out, the variable MEDLANGEVIN_DATA or data/images.
    ``download``: fetch a set that is not there, where torchvision can.
    ``binarization``: ``none`` (grey levels), ``dynamic`` (training images drawn anew each time they are seen,
    validation and test images once) or ``static`` (the images are 0 and 1 in the file). ``train_on`` ``all``: also on
    the validation images, for a fixed number of epochs; the last epoch is the model. ``first``: of each split only so
    many images, for quick trials.
    """

    set: Annotated[str, Field(min_length=1)]
    root: Path | None = None
    download: bool = False
    binarization: Literal["none", "dynamic", "static"] = "none"
    train_on: Literal["training", "all"] = "training"
    first: Count | None = None

    @field_validator("set")
    @classmethod
    def _set_is_known(cls, name: str) -> str:
        if name not in IMAGE_SETS and not name.endswith(".npz"):
            raise ValueError(f"no image set is called so; choose {', '.join(IMAGE_SETS)} or a path ending in .npz")
        return name


class TrainingConfig(Section):
    """The optimisation, and early stopping on the validation ELBO after ``patience`` epochs without a gain.

    ``optimizer``: ``adam``, ``adamax`` (Kingma & Ba 2015) or ``sgd``, plain; ``epsilon``: added to the denominators of
    the first two. The learning rate rises linearly over ``warmup_epochs``, then stays (``constant``) or falls to zero
    along half a cosine at the last epoch (``cosine``). ``validate_every``: epochs between two looks at the validation
    data, the last epoch in any case. ``matmul_precision``: torch's float32 matrix products (and CUDA's convolutions);
    below ``highest`` a device may round their factors to fewer bits. ``precision`` ``bf16``: the networks run in
    bfloat16 while training; densities, energies and accept tests stay in float32 and float64. ``weight_averaging``: the
    decay of an exponential moving average of the weights, which is then what is validated and kept as best; 0: none.
    ``cuda_graphs``: on one GPU, record a step once and launch it as a whole; the same numbers, many times faster for
    small networks. ``tune_kernels``: on GPUs, volumes with channels last in memory, and cuDNN tries which kernels are
    fastest: seconds at the start, and about a fifth less time for every step after them. ``devices`` on each of
    ``nodes`` machines: a process each (on a CPU as well), which share every batch; the result is that of one, up to
    rounding.
    ``mlflow``: the address of an MLflow tracking server that gets the curves as well, such as http://localhost:5000.
    """

    epochs: Count = 200
    batch_size: Count = 10
    optimizer: Literal["adam", "adamax", "sgd"] = "adam"
    epsilon: Annotated[Float, Field(gt=0, le=1)] = 1e-8
    learning_rate: Positive = 1e-3
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[Integer, Field(ge=0)] = 0
    gradient_clip: Positive = 100.0
    patience: Count = 30
    validate_every: Count = 1
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    precision: Literal["float32", "bf16"] = "float32"
    weight_averaging: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    cuda_graphs: bool = True
    tune_kernels: bool = True
    devices: Annotated[Integer, Field(ge=1, le=1024)] = 1
    nodes: Annotated[Integer, Field(ge=1, le=1024)] = 1
    mlflow: Annotated[str, Field(min_length=1)] | None = None

    @field_validator("mlflow")
    @classmethod
    def _address_holds_no_password(cls, address: str | None) -> str | None:
        if address is not None and "@" in address:  # config.yaml goes along with the run
            raise PydanticCustomError(
                "secret", "holds a name or password; say them in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return address

    @model_validator(mode="after")
    def _epsilon_is_used(self) -> "TrainingConfig":
        if self.optimizer == "sgd" and "epsilon" in self.model_fields_set:
            raise PydanticCustomError("unused_key", "{uses}", {"key": "epsilon", "uses": "has no effect with sgd"})
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        if self.optimizer == "sgd":
            del data["epsilon"]
        return data


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

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    output_dir: Path = Path("runs")
    seed: Annotated[Integer, Field(ge=0, lt=2**32)] = 0
    data: DataConfig = DataConfig()
    images: ImagesConfig | None = None
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()

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
