"""The optimiser that a configuration names, and its learning rate from step to step."""

import math
from typing import Any, Literal

import torch

from medlangevin.config import TrainingConfig


def make_optimizer(
    model: torch.nn.Module, training: TrainingConfig, *, recorded: bool = False
) -> torch.optim.Optimizer:
    """Adam or Adamax (Kingma & Ba 2015, Algs. 1 and 2) or plain gradient descent.

    With ``weight_decay`` Adam is AdamW (Loshchilov & Hutter 2019, Alg. 2): weights of layers shrink; biases, scales and
    steps do not.

    Args:
        model: Whose parameters are optimised.
        training: The settings.
        recorded: Its steps are to be recorded in a CUDA graph. Then its learning rate is a tensor on the model's
            device, as a graph would keep a number for ever.

    Returns:
        The optimiser of all parameters.
    """
    settings: dict[str, Any] = {"lr": training.learning_rate}
    optimizer: torch.optim.Optimizer
    if recorded:
        device = next(model.parameters()).device
        settings["lr"] = torch.full((), training.learning_rate, device=device)
    match training.optimizer:
        case "adam":
            settings |= {"eps": training.epsilon} | ({"capturable": True, "fused": True} if recorded else {})
            if training.weight_decay:
                weights: list[torch.nn.Parameter] = []
                others: list[torch.nn.Parameter] = []
                for name, value in model.named_parameters():
                    # The weight of a LayerNorm, a vector, is a scale.
                    (weights if name.endswith("weight") and value.ndim > 1 else others).append(value)
                decaying = {"params": weights, "weight_decay": training.weight_decay}
                groups = [decaying, {"params": others, "weight_decay": 0.0}]
                optimizer = torch.optim.AdamW(groups, **settings)
            else:
                optimizer = torch.optim.Adam(model.parameters(), **settings)
        case "adamax":
            settings |= {"eps": training.epsilon} | ({"capturable": True} if recorded else {})
            optimizer = torch.optim.Adamax(model.parameters(), **settings)
        case "sgd":
            optimizer = torch.optim.SGD(model.parameters(), **settings, **({"fused": True} if recorded else {}))
    if recorded:
        # The first steps are made one by one; torch would warn of them.
        optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters, in place where it is a tensor.

    Args:
        optimizer: The optimiser.
        rate: The learning rate.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def learning_rate_factor(
    step: int, *, total_steps: int, warmup_steps: int, schedule: Literal["constant", "cosine"]
) -> float:
    """What the base learning rate is multiplied with at a step.

    Args:
        step: The number of the step, from 0.
        total_steps: Where ``cosine`` ends at 0.
        warmup_steps: Over which the factor rises linearly.
        schedule: Then it stays 1 (``constant``) or falls along half a cosine (``cosine``).

    Returns:
        The factor, 0 to 1.

    Source: Loshchilov & Hutter (2017), Eq. 5 without restarts.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
