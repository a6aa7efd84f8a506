"""Which checkpoints to write, and when."""

import time
from pathlib import Path

import torch

from medlangevin.runs.averaging import WeightAverage
from medlangevin.runs.checkpoint import TrainingState, save_checkpoint
from medlangevin.runs.folder import checkpoint_folder

TRAINING_S_PER_WRITE_S = 20  # seconds of training for each second spent writing a checkpoint


class CheckpointWriter:
    """Keeps ``last`` (to resume from) and ``best`` (by validation ELBO) of a run.

    Where weights are averaged, ``best`` has the average and ``last`` both.

    Writing takes at most about 5 % of the time: an epoch shorter than ``TRAINING_S_PER_WRITE_S`` writes
    waits for the next. The best weights are
    held in memory meanwhile, and ``best`` is written with ``last``, so the two always agree.
    """

    def __init__(
        self,
        run_dir: Path,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage,
        state: TrainingState,
    ) -> None:
        self._run_dir, self._model, self._optimizer, self._average = run_dir, model, optimizer, average
        self.saved_epoch = state.epoch
        self._best: tuple[dict[str, torch.Tensor], TrainingState] | None = None
        self._due = time.monotonic()

    def offer(self, state: TrainingState, *, final: bool) -> None:
        """The model stands at ``state``, the end of an epoch; write what is due, everything when ``final``."""
        if state.early_stopping.best_epoch == state.epoch:
            weights = {name: value.detach().clone() for name, value in self._average.model.state_dict().items()}
            self._best = (weights, state)
        started = time.monotonic()
        if not final and started < self._due:
            return
        if self._best is not None:
            save_checkpoint(checkpoint_folder(self._run_dir, "best"), *self._best)
            self._best = None
        save_checkpoint(
            checkpoint_folder(self._run_dir, "last"),
            self._model.state_dict(),
            state,
            self._optimizer,
            self._average.state(),
        )
        self.saved_epoch = state.epoch
        finished = time.monotonic()
        self._due = finished + TRAINING_S_PER_WRITE_S * (finished - started)
