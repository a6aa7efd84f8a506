"""Which checkpoints to write, and when."""

import time
from pathlib import Path

import torch

from medlangevin.runs.checkpoint import TrainingState, save_checkpoint
from medlangevin.runs.folder import checkpoint_folder
from medlangevin.training.learner import Learner

# Seconds of training for each second of writing.
TRAINING_PER_WRITING = 20


class CheckpointWriter:
    """Keeps ``last`` (to resume from) and ``best`` (by validation ELBO) of a run.

    Where weights are averaged, ``best`` has the average and ``last`` both. Writing takes at most about 5 % of the time:
    after an epoch that is too short for that nothing is written. The best weights are held in memory meanwhile, and
    ``best`` is written with ``last``, so the two always agree.

    Args:
        run_dir: The folder of the run.
        learner: What is written.
        saved_epoch: As below.

    Attributes:
        saved_epoch: The epoch of ``last``; 0 before the first.
    """

    def __init__(self, run_dir: Path, learner: Learner, saved_epoch: int) -> None:
        self._run_dir, self._learner = run_dir, learner
        self.saved_epoch = saved_epoch
        self._best: tuple[dict[str, torch.Tensor], TrainingState] | None = None
        self._due = time.monotonic()

    def offer(self, state: TrainingState, *, final: bool) -> None:
        """Write what is due at the end of an epoch.

        Args:
            state: Where the model stands.
            final: Whether the training ends here, and everything is due.
        """
        learner = self._learner
        if state.early_stopping.best_epoch == state.epoch:
            weights = {name: value.detach().clone() for name, value in learner.average.model.state_dict().items()}
            self._best = (weights, state)
        started = time.monotonic()
        if not final and started < self._due:
            return
        if self._best is not None:
            save_checkpoint(checkpoint_folder(self._run_dir, "best"), *self._best)
            self._best = None
        last = checkpoint_folder(self._run_dir, "last")
        save_checkpoint(last, learner.model.state_dict(), state, learner.optimizer, learner.average.state())
        self.saved_epoch = state.epoch
        finished = time.monotonic()
        self._due = finished + TRAINING_PER_WRITING * (finished - started)
