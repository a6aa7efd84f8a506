"""What to do about NaN and infinity: which numbers they are, and one clear line when training cannot go on."""

import torch
from torch import Tensor

from medlangevin.system.errors import MedlangevinError


def stopped(problem: str, *, step: int, epoch: int, saved_epoch: int, skipped: int = 0) -> MedlangevinError:
    """The error that says where training stopped and why, what there is to go on from, and what to try.

    Args:
        problem: Why, in words.
        step: The number of the step.
        epoch: The number of the epoch.
        saved_epoch: That of the last checkpoint; 0: none yet.
        skipped: How many steps of this epoch were left out.

    Returns:
        One line.
    """
    before = f", after {skipped} skipped step{'s' * (skipped > 1)} of this epoch" if skipped else ""
    kept = f"checkpoints/last holds epoch {saved_epoch}" if saved_epoch else "no checkpoint was made yet"
    return MedlangevinError(
        f"training stopped at step {step} (epoch {epoch}): {problem}{before}; {kept}; "
        "try a smaller training.learning_rate or training.gradient_clip under another name"
    )


def loss_problem(loss: Tensor, parts: dict[str, Tensor]) -> str | None:
    """Which parts of a loss are NaN or infinite.

    Args:
        loss: The loss.
        parts: Its parts by name.

    Returns:
        None where the loss is finite.
    """
    if torch.isfinite(loss).all():
        return None
    bad = [f"{name} = {float(value)}" for name, value in parts.items() if _bad(value)]
    return f"the loss is not finite ({', '.join(bad) or float(loss)})"


def gradient_problem(norm: Tensor, model: torch.nn.Module) -> str | None:
    """The first parameter whose gradient is NaN or infinite.

    Args:
        norm: That of all gradients together.
        model: The model.

    Returns:
        None where the norm is finite.
    """
    if torch.isfinite(norm):
        return None
    bad = [name for name, value in model.named_parameters() if value.grad is not None and _bad(value.grad)]
    return f"the gradient of {bad[0] if bad else 'the parameters together'} is not finite"


def weight_problem(model: torch.nn.Module) -> str | None:
    """The first parameter or buffer that is NaN or infinite.

    Args:
        model: The model.

    Returns:
        None where there is none.
    """
    bad = next((name for name, value in model.state_dict().items() if _bad(value)), None)
    return None if bad is None else f"{bad} is not finite"


def _bad(values: Tensor) -> bool:
    return not bool(torch.isfinite(values).all())
