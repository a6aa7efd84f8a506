"""The optimiser that a configuration names."""

import torch

from medlangevin.config import TrainingConfig


def make_optimizer(model: torch.nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """Adam or Adamax (Kingma & Ba 2015, Algs. 1 and 2) or plain gradient descent on all parameters of ``model``."""
    match training.optimizer:
        case "adam":
            return torch.optim.Adam(model.parameters(), lr=training.learning_rate, eps=training.epsilon)
        case "adamax":
            return torch.optim.Adamax(model.parameters(), lr=training.learning_rate, eps=training.epsilon)
        case "sgd":
            return torch.optim.SGD(model.parameters(), lr=training.learning_rate)
