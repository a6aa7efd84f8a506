"""The training loop: epochs of gradient steps, validation, checkpoints. It knows no model by name."""

import time
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader

from medlangevin.config import Config
from medlangevin.datasets.crops import CropDataset
from medlangevin.models import LatentVariableModel
from medlangevin.progress import progress
from medlangevin.training.batches import EpochBatches
from medlangevin.training.checkpoint import TrainingState
from medlangevin.training.health import Health, require_finite_gradient, require_finite_loss
from medlangevin.training.keeper import CheckpointKeeper
from medlangevin.training.metrics import MetricsFile, Row
from medlangevin.training.randomness import generator
from medlangevin.training.schedule import learning_rate_factor
from medlangevin.training.tensorboard import EventLog

PICTURES_PER_RUN = 20
IMAGES_PER_PICTURE = 4


class Data(NamedTuple):
    """What to train and to validate on."""

    training: CropDataset
    validation: CropDataset


class Trainer:
    """Trains ``model`` on ``data`` from ``state`` on; ``run`` carries it through to the end.

    The loss is made inside the forward of the module that Fabric wrapped, with all its Langevin steps, as a
    distributed wrapper would miss gradients made elsewhere.
    """

    def __init__(
        self,
        *,
        fabric: Fabric,
        config: Config,
        model: LatentVariableModel,
        optimizer: torch.optim.Optimizer,
        data: Data,
        run_dir: Path,
        state: TrainingState,
        metrics: MetricsFile,
    ) -> None:
        self.fabric, self.config, self.data, self.state, self.metrics = fabric, config, data, state, metrics
        self.model = model
        self.optimizer = optimizer
        self._wrapped, self._wrapped_optimizer = fabric.setup(model, optimizer)
        self._keeper = CheckpointKeeper(run_dir, model, optimizer, state)
        self._events_folder = run_dir / "tensorboard"
        training = config.training
        self._batches = EpochBatches(len(data.training), training.batch_size, seed=config.seed)
        workers = config.data.num_workers
        self._loader = DataLoader(
            data.training, batch_sampler=self._batches, num_workers=workers, persistent_workers=workers > 0
        )
        self._validation_loader = DataLoader(data.validation, batch_size=training.batch_size)

    def run(self) -> TrainingState:
        """Train until the last epoch or until early stopping; the state at the end.

        Raises MedlangevinError when the loss or a gradient stops being finite. After Ctrl-C the last checkpoint is
        whole and a resume goes on from it.
        """
        training = self.config.training
        events = EventLog(self._events_folder, epoch=self.state.epoch)
        try:
            with progress(training.epochs, "epoch", done=self.state.epoch) as track:
                while not self.finished:
                    row = self._epoch()
                    self.metrics.append(row)
                    events.scalars(self.state.epoch, row)
                    elbo, best = row["validation_elbo"], self.state.early_stopping.best_epoch
                    if self.state.epoch % max(1, training.epochs // PICTURES_PER_RUN) == 0:
                        self._draw(events)
                    self._keeper.offer(self.state, final=self.finished)
                    track.advance(
                        self.state.epoch,
                        f"loss {row['loss']:.1f}, validation ELBO {elbo:.1f} nats (best: epoch {best})",
                    )
        finally:
            events.close()
        return self.state

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or early stopping has struck."""
        training = self.config.training
        epoch = self.state.epoch
        return epoch >= training.epochs or self.state.early_stopping.should_stop(epoch, training.patience)

    def _epoch(self) -> Row:
        started = time.monotonic()
        epoch = self.state.epoch + 1
        row = self._gradient_steps(epoch)
        elbos = self.validate()
        mean = elbos.mean().item()
        require_finite_loss(elbos.mean(), {"validation ELBO": elbos.mean()}, self._health(self.state.step))
        stopping = self.state.early_stopping.update(epoch, mean)
        self.state = TrainingState(epoch, self.state.step, stopping)
        spread = elbos.std().item() / len(elbos) ** 0.5 if len(elbos) > 1 else 0.0
        return row | {
            "validation_elbo": mean,
            "validation_elbo_se": spread,
            "seconds": round(time.monotonic() - started, 3),
        }

    def _gradient_steps(self, epoch: int) -> Row:
        noise = generator(self.config.seed, "noise", epoch, device=self.fabric.device)
        self._batches.set_epoch(epoch)
        self.model.train()
        sums: dict[str, float] = {}
        seen = 0
        for batch in self._loader:
            x = batch.to(self.fabric.device, non_blocking=True)
            rate = self._set_learning_rate()
            self._wrapped_optimizer.zero_grad()
            loss, parts = self._wrapped(x, noise)
            require_finite_loss(loss, parts, self._health(self.state.step + 1))
            self.fabric.backward(loss)
            norm = self.fabric.clip_gradients(
                self._wrapped,
                self._wrapped_optimizer,
                max_norm=self.config.training.gradient_clip,
                error_if_nonfinite=False,
            )
            require_finite_gradient(norm, self.model, self._health(self.state.step + 1))
            self._wrapped_optimizer.step()
            self.state = self.state._replace(step=self.state.step + 1)
            seen += len(x)
            for name, value in {"loss": loss, **parts, "gradient_norm": norm}.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(x)
        means = {name: value / seen for name, value in sums.items()}
        return {"epoch": epoch, "step": self.state.step, "learning_rate": rate} | means

    def validate(self) -> torch.Tensor:
        """The validation ELBO of each ear, (N,) float64 in nats; the same noise every time, so epochs compare."""
        noise = generator(self.config.seed, "validation", device=self.fabric.device)
        self.model.eval()
        batches = [self.model.elbo(x.to(self.fabric.device), noise).double().cpu() for x in self._validation_loader]
        return torch.cat(batches)

    def _set_learning_rate(self) -> float:
        training = self.config.training
        factor = learning_rate_factor(
            self.state.step,
            total_steps=training.epochs * len(self._batches),
            warmup_steps=training.warmup_epochs * len(self._batches),
            schedule=training.learning_rate_schedule,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = training.learning_rate * factor
        return training.learning_rate * factor

    def _draw(self, events: EventLog) -> None:
        count = min(IMAGES_PER_PICTURE, len(self.data.validation))
        noise = generator(self.config.seed, "pictures", device=self.fabric.device)
        x = torch.stack([self.data.validation[position] for position in range(count)]).to(self.fabric.device)
        reconstructed = self.model.reconstruct(x, noise)
        events.volumes(self.state.epoch, "reconstructions", torch.stack([x, reconstructed], 1).flatten(0, 1))
        events.volumes(self.state.epoch, "samples", self.model.sample(IMAGES_PER_PICTURE, noise))

    def _health(self, step: int) -> Health:
        return Health(step, self.state.epoch + 1, self._keeper.saved_epoch)
