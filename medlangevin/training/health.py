"""Stop with one clear line when the numbers stop being numbers."""

from typing import NamedTuple

import torch

from medlangevin.errors import MedlangevinError


class Health(NamedTuple):
    """Where training is, and which epoch the last checkpoint holds (0: none yet)."""

    step: int
    epoch: int
    saved_epoch: int

    @property
    def advice(self) -> str:
        """What there is to go on from, and what to try."""
        kept = f"checkpoints/last holds epoch {self.saved_epoch}" if self.saved_epoch else "no checkpoint was made yet"
        return f"{kept}; try a smaller training.learning_rate or training.gradient_clip under another name"


def require_finite_loss(loss: torch.Tensor, parts: dict[str, torch.Tensor], health: Health) -> None:
    """Raise MedlangevinError that names the parts of the loss that are NaN or infinite."""
    if torch.isfinite(loss).all():
        return
    bad = [f"{name} = {float(value)}" for name, value in parts.items() if not torch.isfinite(value).all()]
    raise MedlangevinError(
        f"training stopped at step {health.step} (epoch {health.epoch}): the loss is not finite "
        f"({', '.join(bad) or float(loss)}); {health.advice}"
    )


def require_finite_gradient(norm: torch.Tensor, model: torch.nn.Module, health: Health) -> None:
    """Raise MedlangevinError that names the first parameter whose gradient is NaN or infinite."""
    if torch.isfinite(norm):
        return
    bad = [name for name, value in model.named_parameters() if value.grad is not None and _bad(value.grad)]
    raise MedlangevinError(
        f"training stopped at step {health.step} (epoch {health.epoch}): the gradient of "
        f"{bad[0] if bad else 'the parameters together'} is not finite; {health.advice}"
    )


def require_finite_weights(model: torch.nn.Module, health: Health) -> None:
    """Raise MedlangevinError that names the first parameter that is NaN or infinite."""
    bad = next((name for name, value in model.state_dict().items() if _bad(value)), None)
    if bad is not None:
        raise MedlangevinError(
            f"training stopped at step {health.step} (epoch {health.epoch}): {bad} is not finite; {health.advice}"
        )


def _bad(values: torch.Tensor) -> bool:
    return not bool(torch.isfinite(values).all())
