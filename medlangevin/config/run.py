"""The schema of a training run: its data, its model, its optimisation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medlangevin.config.fields import Count, Float, Integer, Positive, Section
from medlangevin.config.model import ModelConfig


class DataConfig(Section):
    """Where the crops are and how HU become the network's input.

    ``root``: a folder that ``medlangevin preprocess`` wrote. ``window_hu``: HU are clipped to this range and mapped
    to [0, 1]. ``cache_mb``: memory for decoded crops (0.6 MB each); the crops beyond it are read again every epoch,
    by ``num_workers`` processes if not 0.
    """

    root: Path = Path("data/cochlea")
    window_hu: tuple[Float, Float] = (-1000.0, 2500.0)
    cache_mb: Annotated[Integer, Field(ge=0)] = 2048
    num_workers: Annotated[Integer, Field(ge=0, le=64)] = 0

    @model_validator(mode="after")
    def _window_is_ordered(self) -> "DataConfig":
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError("window_hu must be [low, high] with low < high")
        return self


class TrainingConfig(Section):
    """The optimisation: Adam, early stopping on the validation ELBO after ``patience`` epochs without a gain.

    The learning rate rises linearly over ``warmup_epochs``, then stays (``constant``) or falls to zero along half a
    cosine at the last epoch (``cosine``).
    """

    epochs: Count = 200
    batch_size: Count = 10
    learning_rate: Positive = 1e-3
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[Integer, Field(ge=0)] = 0
    gradient_clip: Positive = 100.0
    patience: Count = 30
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"


class Config(Section):
    """A whole run: it lives in ``output_dir/name``."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    output_dir: Path = Path("runs")
    seed: Annotated[Integer, Field(ge=0, lt=2**32)] = 0
    data: DataConfig = DataConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()

    @property
    def run_dir(self) -> Path:
        """The folder of this run."""
        return self.output_dir / self.name
