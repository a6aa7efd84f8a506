"""When to stop: no gain in the validation ELBO for too many epochs."""

from typing import NamedTuple


class EarlyStopping(NamedTuple):
    """The best validation ELBO so far (nats per image) and its epoch; None before the first."""

    best_elbo: float | None = None
    best_epoch: int = 0

    def update(self, epoch: int, elbo: float) -> "EarlyStopping":
        """The state after ``epoch``; a new best has to be larger than the old one."""
        if self.best_elbo is None or elbo > self.best_elbo:
            return EarlyStopping(elbo, epoch)
        return self

    def should_stop(self, epoch: int, patience: int) -> bool:
        """Whether ``patience`` epochs have passed since the best one."""
        return epoch - self.best_epoch >= patience
