"""The model that is trained, its optimiser and its average, made as a configuration says."""

import logging
from dataclasses import dataclass

import torch

from medlangevin.config import Config
from medlangevin.models import ClosedForm, LatentVariableModel, build
from medlangevin.runs.averaging import WeightAverage
from medlangevin.runs.randomness import derive_seed
from medlangevin.system.distributed import is_first
from medlangevin.training.data import TrainingData
from medlangevin.training.fabric import Fabric
from medlangevin.training.gpu import put_channels_last, recordable, tunable
from medlangevin.training.optimizer import make_optimizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learner:
    """A model on the device where it is trained, and what follows it.

    Attributes:
        model: The model.
        optimizer: Of all its parameters.
        average: Of its weights; the model itself where they are not averaged.
        recorded: Whether its steps are recorded as CUDA graphs, which the optimiser has to be made for.
        tuned: Whether cuDNN tries which kernels are fastest.
    """

    model: LatentVariableModel
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    recorded: bool = False
    tuned: bool = False


def make_learner(config: Config, data: TrainingData, fabric: Fabric) -> Learner:
    """The untrained model of a configuration, on the device of this process.

    Args:
        config: The run; its seed says what the weights start from.
        data: What it is trained on: the networks start from the mean image, and the likelihood may measure noise on it.
        fabric: The devices.

    Returns:
        It, the same in every process.

    Raises:
        MedlangevinError: The model cannot handle the shape or the number of the images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        mean = data.training.images.mean().cpu()
        model = build(config.model, data.image_shape, mean_image=mean, data_size=len(data.training))
    if isinstance(model, ClosedForm):
        model.require_enough(data.training.groups())
    window = config.data.window_hu if config.images is None else None
    found = model.likelihood.prepare(data.training.in_order(config.training.batch_size), mean, window)
    if found is not None and is_first():
        logger.info(found)
    model.to(fabric.device)
    training = config.training
    tuned = tunable(model, fabric.device, wanted=training.tune_kernels)
    if tuned:
        put_channels_last(model)
    # A fit in closed form makes no steps that recording would make faster.
    wanted = training.cuda_graphs and not isinstance(model, ClosedForm)
    recorded = recordable(fabric.device, fabric.world_size, wanted=wanted)
    optimizer = make_optimizer(model, training, recorded=recorded)
    return Learner(model, optimizer, WeightAverage(model, training.weight_averaging), recorded, tuned)
