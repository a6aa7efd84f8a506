"""``train``: everything between a configuration and a finished run."""

import logging
from collections.abc import Callable
from pathlib import Path

from medlangevin.config import Config, dump_config, load_config
from medlangevin.config.load import flat
from medlangevin.config.run import PLACES
from medlangevin.datasets.crops import choose_splits
from medlangevin.inference.reconstruction import held_out_variance_explained
from medlangevin.runs import folder as layout
from medlangevin.runs.checkpoint import TrainingState, load_training
from medlangevin.runs.environment import describe_environment, device_name
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics, require_reaching
from medlangevin.runs.precision import matmul_precision
from medlangevin.system.distributed import is_first
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, recover_folder, write_json, write_text
from medlangevin.training.curves import Curves, MlflowLog
from medlangevin.training.data import TrainingData, load_data
from medlangevin.training.fabric import Fabric
from medlangevin.training.gpu import tuned_kernels
from medlangevin.training.learner import make_learner
from medlangevin.training.processes import make_fabric
from medlangevin.training.trainer import Trainer

logger = logging.getLogger(__name__)

# Ears that are reconstructed at the end of a training, seconds each.
_MOST_RECONSTRUCTED = 12
# A resumed run may change these without becoming another run.
MAY_CHANGE = {*PLACES, "training.epochs", "training.patience"}


def train(config: Config, *, resume: bool = False) -> Path:
    """Train the model of a configuration; logs what was decided and what came out.

    Args:
        config: The run.
        resume: Go on from the last checkpoint of the same run, exactly (on a GPU up to rounding), or start from the
            beginning when there is none.

    Returns:
        The run's folder.

    Raises:
        MedlangevinError: The input is bad (before anything is written), or training cannot go on.
    """
    run_dir = config.run_dir
    fabric = make_fabric(config.training)
    say = logger.info if is_first() else lambda text: None  # the first process speaks for all
    if resume and is_first():
        recover_folder(layout.checkpoint_folder(run_dir, "last"))
        recover_folder(layout.checkpoint_folder(run_dir, "best"))
    fabric.barrier()
    resuming = _require_startable(run_dir, config, resume=resume)
    mlflow = None if config.training.mlflow is None else MlflowLog(config.training.mlflow)
    data = _load_data(config, fabric)
    if resuming:
        _require_same_data(run_dir / layout.DATA, data)
    learner = make_learner(config, data, fabric)
    state, rows = TrainingState(), []
    if resuming:
        rows = read_metrics(run_dir / layout.METRICS)
        last = layout.checkpoint_folder(run_dir, "last")
        state = load_training(last, learner.model, learner.optimizer, learner.average)
        require_reaching(rows, state.epoch, run_dir / layout.METRICS)

    fabric.barrier()  # nobody writes before all have looked
    trainer = Trainer(fabric, config, learner, data, state, Curves(run_dir, rows, mlflow))
    if is_first():
        write_text(run_dir / layout.CONFIG, dump_config(config))
        write_json(run_dir / layout.DATA, data.description)
        if not trainer.finished:  # what trained the run, not what looks at it afterwards
            write_json(run_dir / layout.ENVIRONMENT, describe_environment(fabric.device))
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    where = device_name(fabric.device) + (f", {fabric.world_size} processes" if fabric.world_size > 1 else "")
    say(f"run {run_dir}: {config.model.kind}, {parameters:,} parameters, on {where}")
    say(data.summary)
    for doubt in data.doubts if is_first() else ():
        logger.warning(doubt)
    if resume:
        begun = f"{'finished already,' if trainer.finished else 'going on'} after epoch {state.epoch}"
        say(begun if resuming else "nothing to resume: starting from the beginning")
    try:
        with matmul_precision(config.training.matmul_precision), tuned_kernels(learner.tuned):
            trainer.run()
    except KeyboardInterrupt:
        say(f"interrupted in epoch {trainer.state.epoch + 1}; train again with --resume to go on")
        raise
    say(trainer.usage.describe(fabric.device))
    _say_what_came_out(say, trainer, data)
    if config.images is None and is_first():
        _say_what_is_explained(config)
    return run_dir


def _load_data(config: Config, fabric: Fabric) -> TrainingData:
    with fabric.rank_zero_first():  # which may have to fetch it
        data = load_data(config, fabric.device)
    if len(data.training) < fabric.world_size:
        raise MedlangevinError(
            f"{len(data.training)} {data.noun}s to train on cannot be split among {fabric.world_size} processes; "
            "start fewer"
        )
    return data


def _say_what_came_out(say: Callable[[str], None], trainer: Trainer, data: TrainingData) -> None:
    state, stopping = trainer.state, trainer.state.early_stopping
    if state.epoch < trainer.epochs:
        say(f"stopped early after epoch {state.epoch}: no gain for {trainer.config.training.patience} epochs")
    elbo = "" if stopping.best_elbo is None else f": validation ELBO {stopping.best_elbo:.1f} nats per {data.noun}"
    say(f"best epoch {stopping.best_epoch} of {state.epoch}{elbo}")


def _say_what_is_explained(config: Config) -> None:
    run = load_run(config.run_dir)
    splits = choose_splits(run.crops(None))
    explained = held_out_variance_explained(run, splits, most=_MOST_RECONSTRUCTED)
    explained = explained[~explained.isnan()]
    if not len(explained):  # one ear to train on and to validate on
        return
    ears = f"{len(explained)} validation ear{'' if len(explained) == 1 else 's'}"
    logger.info(f"variance explained of {ears}: {explained.mean():.2f} (1: all, 0: the mean ear)")


def _require_startable(run_dir: Path, config: Config, *, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from. Raises MedlangevinError when the folder may not be touched."""
    if run_dir.exists() and not run_dir.is_dir():
        raise MedlangevinError(f"{run_dir} is a file; choose another name with --set name=NAME")
    if run_dir.is_dir() and any(run_dir.iterdir()) and not (run_dir / layout.CONFIG).is_file():
        raise MedlangevinError(f"{run_dir} is not the folder of a run; choose another name with --set name=NAME")
    if not layout.checkpoint_folder(run_dir, "last").is_dir():
        return False  # an empty folder, or a run that ended before its first checkpoint: nothing to lose
    if not resume:
        raise MedlangevinError(f"run {run_dir} exists; go on with --resume or choose another name with --set name=NAME")
    _require_same_settings(load_config(run_dir / layout.CONFIG), config, run_dir)
    return True


def _require_same_settings(before: Config, now: Config, run_dir: Path) -> None:
    old, new = flat(before.model_dump(mode="json")), flat(now.model_dump(mode="json"))
    for key in sorted(old.keys() | new.keys()):
        if key not in MAY_CHANGE and old.get(key) != new.get(key):
            raise MedlangevinError(
                f"run {run_dir} was trained with {key} = {old.get(key)}, not {new.get(key)}; "
                "resume it unchanged or choose another name with --set name=NAME"
            )


def _require_same_data(path: Path, data: TrainingData) -> None:
    before = read_json(path)
    for key in data.identity:
        if not isinstance(before, dict) or before.get(key) != data.description[key]:
            raise MedlangevinError(
                f"{data.location} are not those that the run was trained on ({key} in {path} differs); "
                "restore them or train under another name"
            )
