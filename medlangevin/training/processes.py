"""One training in several processes: how they are started."""

import os

import torch

from medlangevin.config import TrainingConfig
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.fabric import Fabric, MisconfigurationException


def make_fabric(training: TrainingConfig) -> Fabric:
    """The devices of a training, one process each; further ones are started here unless torchrun or SLURM did.

    Args:
        training: The settings.

    Returns:
        The devices, launched.

    Raises:
        MedlangevinError: There are fewer devices than ``training`` says, or not as many processes were started.
    """
    accelerator, wanted = training.accelerator, training.devices * training.nodes
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise MedlangevinError("training.accelerator is cuda but no CUDA device is at hand; use auto or cpu")
    if accelerator == "auto":  # Apple's GPUs lack the float64 that likelihoods are summed in
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and training.devices > torch.cuda.device_count():
        raise MedlangevinError(
            f"training.devices is {training.devices}, but this machine has {torch.cuda.device_count()} CUDA devices; "
            "use fewer, or training.accelerator cpu"
        )
    if training.nodes > 1 and not {"WORLD_SIZE", "SLURM_NTASKS"} & os.environ.keys():
        raise MedlangevinError(
            f"training.nodes is {training.nodes}, and nobody has started the processes of the other machines; "
            "start the command with torchrun or srun on all of them"
        )
    started = int(os.environ.get("WORLD_SIZE", wanted))
    if started != wanted:
        raise MedlangevinError(
            f"{started} processes were started, but training.devices x training.nodes is {wanted}; "
            "pass --devices and --nodes as they were started"
        )
    if training.batch_size < wanted:
        raise MedlangevinError(
            f"training.batch_size {training.batch_size} cannot be split among {wanted} processes; use a larger one"
        )
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=training.devices,
            num_nodes=training.nodes,
            strategy="ddp" if wanted > 1 else "auto",
            precision="bf16-mixed" if training.precision == "bf16" else "32-true",
        )
        fabric.launch()
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())[:200]
        raise MedlangevinError(
            f"training.devices {training.devices} x training.nodes {training.nodes} cannot be started: {reason}"
        ) from error
    return fabric
