"""The learning rate as a function of the step alone, so that nothing about it has to be saved."""

import math
from typing import Literal


def learning_rate_factor(
    step: int, *, total_steps: int, warmup_steps: int, schedule: Literal["constant", "cosine"]
) -> float:
    """What the base learning rate is multiplied with at ``step`` (from 0).

    Rises linearly over ``warmup_steps``, then stays 1 (``constant``) or falls along half a cosine to 0 at
    ``total_steps`` (``cosine``; Loshchilov & Hutter 2017, Eq. 5 without restarts).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
