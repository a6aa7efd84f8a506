"""The training loop: epochs of gradient steps, validation, checkpoints. It knows no model by name."""

import logging
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from medlangevin.config import Config
from medlangevin.models import ClosedForm
from medlangevin.models.laplace import refined_elbo
from medlangevin.runs.checkpoint import EarlyStopping, TrainingState
from medlangevin.runs.environment import Usage
from medlangevin.runs.metrics import Row
from medlangevin.runs.randomness import generator, reseed
from medlangevin.system.distributed import Rows, SharedGenerator, all_processes, is_first, total
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.progress import progress
from medlangevin.training.checkpoint_writer import CheckpointWriter
from medlangevin.training.curves import Curves
from medlangevin.training.data import TrainingData
from medlangevin.training.fabric import Fabric
from medlangevin.training.gpu import Recorded, recording_stream
from medlangevin.training.gradient_step import Gradients, GradientStep
from medlangevin.training.health import gradient_problem, loss_problem, stopped, weight_problem
from medlangevin.training.learner import Learner
from medlangevin.training.optimizer import learning_rate_factor, set_learning_rate
from medlangevin.training.sources import EpochBatches, Source

logger = logging.getLogger(__name__)

# So many steps of an epoch may be left out because their numbers are NaN or infinite.
MOST_SKIPPED = 3
PICTURES_PER_RUN = 20
# Images that refined validation takes at most, the first ones.
MOST_REFINED = 12
IMAGES_PER_PICTURE = 4


class Trainer:
    """Trains a model; ``run`` carries it through to the end.

    Of several processes each has a trainer, and the first one writes and logs.

    Attributes:
        state: Where the training stands.
        epochs: The most that there will be.
        usage: Time and memory so far.
    """

    def __init__(
        self, fabric: Fabric, config: Config, learner: Learner, data: TrainingData, state: TrainingState, curves: Curves
    ) -> None:
        """Get ready; nothing is written yet.

        Args:
            fabric: The devices.
            config: The run.
            learner: The model, on its device, as it stands at ``state``.
            data: What it is trained and validated on.
            state: Where to go on from.
            curves: Where its figures go.
        """
        self.fabric, self.config, self.learner, self.data, self.state = fabric, config, learner, data, state
        self.usage = Usage()
        # What is fitted in closed form has nothing to repeat.
        self.epochs = 1 if isinstance(learner.model, ClosedForm) else config.training.epochs
        self._curves = curves
        self._checkpoints = CheckpointWriter(curves.run_dir, learner, state.epoch)
        self._batches = EpochBatches(
            len(data.training),
            config.training.batch_size,
            seed=config.seed,
            rank=fabric.global_rank,
            processes=fabric.world_size,
        )
        # One object a purpose, set anew for every epoch: a CUDA graph holds on to its generator, and knows plain ones.
        kind: type[torch.Generator] = SharedGenerator if fabric.world_size > 1 else torch.Generator
        self._noise, self._data_noise = (kind(fabric.device) for _ in range(2))
        self._validation_noise = torch.Generator(fabric.device)
        self._step = GradientStep(fabric, learner, self._noise, gradient_clip=config.training.gradient_clip)
        self._elbo = self._record_elbo()

    def run(self) -> TrainingState:
        """Train until the last epoch or until early stopping.

        A step whose loss or gradient is not finite is left out, three times an epoch at most. After Ctrl-C the last
        checkpoint is whole and a resume goes on from it.

        Returns:
            The state at the end.

        Raises:
            MedlangevinError: A fourth such step, or weights or a validation ELBO that are not finite.
        """
        with recording_stream(self.fabric.device):
            if is_first():
                self._run_and_write()
            else:
                while not self.finished:
                    self._epoch()
        self.fabric.barrier()
        return self.state

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or early stopping has struck."""
        epoch, stopping, patience = self.state.epoch, self.state.early_stopping, self.config.training.patience
        own = epoch - self.learner.model.preparatory_epochs  # patience counts epochs of the model's own bound alone
        looked = epoch % self.config.training.validate_every == 0
        return epoch >= self.epochs or (looked and own >= patience and stopping.should_stop(epoch, patience))

    def validate(self, source: Source) -> Tensor:
        """The ELBO of images, with the same noise every time, so epochs compare.

        Args:
            source: The images.

        Returns:
            (N,) float64, in nats.
        """
        reseed(self._validation_noise, self.config.seed, "validation")
        model = self.learner.average.model.eval()
        if self.config.training.refined_validation:
            x = next(source.in_order(MOST_REFINED)).to(self.fabric.device)
            return refined_elbo(model, x, self._validation_noise).double().cpu()
        batches = source.in_order(self.config.training.batch_size)
        # A recorded call overwrites what the last one gave, so each is copied.
        return torch.cat([self._elbo(x.to(self.fabric.device)).double().cpu() for x in batches])

    def _record_elbo(self) -> Recorded[Tensor]:
        model, noise = self.learner.average.model, self._validation_noise
        return Recorded(lambda x: model.elbo(x, noise), [noise], enabled=self.learner.recorded)

    def _run_and_write(self) -> None:
        epochs = self.epochs
        self._curves.start(self.config, self.state.epoch)
        try:
            with progress(epochs, "epoch", done=self.state.epoch) as track:
                while not self.finished:
                    row = self._epoch()
                    self._curves.append(self.state.epoch, row)
                    if self.state.epoch % max(1, epochs // PICTURES_PER_RUN) == 0:
                        self._draw()
                    self._checkpoints.offer(self.state, final=self.finished)
                    track.advance(self.state.epoch, self._note(row))
        finally:
            self._curves.close(finished=self.finished)

    def _epoch(self) -> Row:
        started = time.monotonic()
        epoch = self.state.epoch + 1
        model = self.learner.model
        if model.start_epoch(epoch) | self.learner.average.model.start_epoch(epoch):
            self._step.forget_recording()
            self._elbo = self._record_elbo()
        row = self._fit(model, epoch) if isinstance(model, ClosedForm) else self._gradient_steps(epoch)
        self._require_none(weight_problem(self.learner.model))
        # The best epoch is one of the model's own bound.
        stopping = EarlyStopping() if epoch == model.preparatory_epochs + 1 else self.state.early_stopping
        if self.data.validation is None:
            stopping = EarlyStopping(best_epoch=epoch)
        elif epoch % self.config.training.validate_every == 0 or epoch == self.epochs:
            elbos = self.validate(self.data.validation)
            mean = elbos.mean().item()
            self._require_none(loss_problem(elbos.mean(), {"validation ELBO": elbos.mean()}))
            stopping = stopping.update(epoch, mean)
            spread = elbos.std().item() / len(elbos) ** 0.5 if len(elbos) > 1 else 0.0
            row |= {"validation_elbo": mean, "validation_elbo_se": spread}
        self.state = TrainingState(epoch, self.state.step, stopping)
        return row | {"seconds": round(time.monotonic() - started, 3)}

    def _gradient_steps(self, epoch: int) -> Row:
        """One epoch: a step a batch; the means of the figures of the steps that were not left out."""
        self.learner.model.train()
        sums: Tensor | float = 0.0
        seen = skipped = 0
        for x, rows in self._training_batches(epoch):
            rate = self._set_learning_rate()
            gradients = self._step.make(x, weight=rows.size * self.fabric.world_size / rows.total)
            self.state = self.state._replace(step=self.state.step + 1)
            if int(total(gradients.is_finite.int(), all_processes())) < self.fabric.world_size:
                skipped = self._skip(gradients, skipped)
                continue
            self._step.update()
            self.learner.average.update()
            seen += rows.total
            sums = sums + gradients.figures * rows.size
        if seen == 0:
            raise self._stopped(self._problem(gradients), skipped - 1)
        means = (total(torch.as_tensor(sums), all_processes()) / seen).tolist()
        row = {"epoch": epoch, "step": self.state.step, "learning_rate": rate}
        row |= dict(zip(self._step.names, means, strict=True))
        return row | ({"skipped_steps": skipped} if skipped else {})

    def _fit(self, model: ClosedForm, epoch: int) -> Row:
        """In place of gradient steps: the estimate from all images as they are, which every process makes."""
        training, device = self.data.training, self.fabric.device
        noise = generator(self.config.seed, "data", epoch, device=device)
        with self.usage.waiting():
            batches = training.in_order(self.config.training.batch_size, noise)
            images = torch.cat([x.to(device) for x in batches])
        model.fit(images, training.groups())
        self.learner.average.update()
        elbo = self.learner.model.log_likelihood(images, 1).mean().item()
        settings = {name: value.item() for name, value in self.learner.model.likelihood.settings().items()}
        return {"epoch": epoch, "step": self.state.step, "loss": -elbo, "elbo": elbo, **settings}

    def _training_batches(self, epoch: int) -> Iterator[tuple[Tensor, Rows]]:
        """This process's part of each batch, on the device, and which part it is; noise is drawn for that part."""
        reseed(self._noise, self.config.seed, "noise", epoch)
        reseed(self._data_noise, self.config.seed, "data", epoch)
        self._batches.set_epoch(epoch)
        batches = self.data.training.shuffled(self._batches, self._data_noise)
        for rows in self._batches.rows():
            for stream in (self._noise, self._data_noise):
                if isinstance(stream, SharedGenerator):
                    stream.rows = rows
            with self.usage.waiting():
                x = next(batches).to(self.fabric.device, non_blocking=True)
            yield x, rows

    def _set_learning_rate(self) -> float:
        training = self.config.training
        factor = learning_rate_factor(
            self.state.step,
            total_steps=training.epochs * len(self._batches),
            warmup_steps=training.warmup_epochs * len(self._batches),
            schedule=training.learning_rate_schedule,
        )
        rate = training.learning_rate * factor
        set_learning_rate(self.learner.optimizer, rate)
        return rate

    def _skip(self, gradients: Gradients, skipped: int) -> int:
        """Leave a step out and shorten the model's Langevin steps, where it has any; raises after too many an epoch."""
        problem = self._problem(gradients)
        if skipped == MOST_SKIPPED:
            raise self._stopped(problem, skipped)
        shortened = ", Langevin steps halved" if self.learner.model.shorten_steps() else ""
        if is_first():
            logger.warning(f"step {self.state.step} (epoch {self.state.epoch + 1}) skipped{shortened}: {problem}")
        return skipped + 1

    def _problem(self, gradients: Gradients) -> str:
        loss, *parts, norm = gradients.figures
        problem = loss_problem(loss, dict(zip(self._step.names[1:-1], parts, strict=True)))
        problem = problem or gradient_problem(norm, self.learner.model)
        return problem or "another process has numbers that are not finite"

    def _require_none(self, problem: str | None) -> None:
        if problem is not None:
            raise self._stopped(problem)

    def _stopped(self, problem: str, skipped: int = 0) -> MedlangevinError:
        epoch, saved = self.state.epoch + 1, self._checkpoints.saved_epoch
        return stopped(problem, step=self.state.step, epoch=epoch, saved_epoch=saved, skipped=skipped)

    def _draw(self) -> None:
        model, epoch = self.learner.average.model, self.state.epoch
        noise = generator(self.config.seed, "pictures", device=self.fabric.device)
        if self.data.validation is not None:
            x = next(self.data.validation.in_order(IMAGES_PER_PICTURE)).to(self.fabric.device)
            both = torch.stack([x, model.reconstruct(x)], 1)
            self._curves.draw(epoch, "reconstructions", both.flatten(0, 1))
        self._curves.draw(epoch, "samples", model.sample(IMAGES_PER_PICTURE, noise))

    def _note(self, row: Row) -> str:
        note = f"loss {row['loss']:.1f}"
        if "validation_elbo" in row:
            best = self.state.early_stopping.best_epoch
            note += f", validation ELBO {row['validation_elbo']:.1f} nats (best: epoch {best})"
        return note
