"""One cell from its configuration to its record."""

import math
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch

from medlangevin.config import Config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.datasets.datalist import read_index
from medlangevin.datasets.images import data_root, load_images, load_splits
from medlangevin.evaluation.crops import evaluate_ears
from medlangevin.evaluation.digits import require_digits
from medlangevin.evaluation.figure import Figure
from medlangevin.evaluation.images import evaluate_images
from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.folder import CACHE
from medlangevin.papers.table.records import Record, new_record
from medlangevin.runs.folder import ENVIRONMENT, METRICS
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import Row, read_metrics
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json
from medlangevin.training.train import train

# Figures that are a column of the last epoch's row, where the model logs it.
_LAST = ("acceptance", "step_size", "weight_norm")


def measure(cell: Cell, evaluation: ImageEvaluation, *, out: Path, command: str) -> Record:
    """Train a cell to the end, from its last checkpoint where there is one, and evaluate its best checkpoint.

    Args:
        cell: The cell.
        evaluation: What is measured.
        out: The folder of the table.
        command: The command that measures the cell, for its record.

    Returns:
        The cell's record.

    Raises:
        MedlangevinError: When the cell cannot be trained, diverges, or has a figure that is not finite.
    """
    _require_figures(cell.config, evaluation)
    run_dir = train(cell.config, resume=True)
    on_gpu = cell.config.training.accelerator != "cpu" and torch.cuda.is_available()
    run = load_run(run_dir, device="cuda" if on_gpu else "cpu")
    rows = read_metrics(run_dir / METRICS)
    if not rows:
        raise MedlangevinError(
            f"{run_dir / METRICS} is gone, and with it what is known of the training; restore it, or move the run away "
            "to train the cell again"
        )
    if cell.config.images is None:
        figures = evaluate_ears(run, evaluation, seed=cell.seed)
    else:
        figures = evaluate_images(run, evaluation, seed=cell.seed, cache=out / CACHE)
    return new_record(
        cell,
        evaluation,
        figures | training_figures(rows, best_epoch=run.state.epoch),
        epochs=int(rows[-1]["epoch"]),
        seconds=round(sum(row["seconds"] for row in rows), 3),
        device=read_json(run_dir / ENVIRONMENT)["device"],
        torch=torch.__version__,
        date=now(),
        command=command,
        images_sha256=str(run.data["sha256" if cell.config.images is not None else "ears_sha256"]),
    )


def training_figures(rows: list[Row], *, best_epoch: int) -> dict[str, Figure]:
    """Read the figures of a training from its metrics.csv.

    ``acceptance`` and ``first_epoch_acceptance`` are means over an epoch. ``seconds_per_epoch`` is the median, as an
    epoch that shares the machine takes longer; ``training_minutes`` is the sum.

    Args:
        rows: The rows of metrics.csv, one for each epoch.
        best_epoch: The epoch of the model that is evaluated.

    Returns:
        The figures by name, without those that the model does not log or that are not finite.
    """
    if not rows:
        return {}
    seconds = [row["seconds"] for row in rows]
    values = {name: rows[-1][name] for name in _LAST if name in rows[-1]}
    if rows[0]["epoch"] == 1:  # else the file lost its beginning
        values["training_minutes"] = sum(seconds) / 60
        if "acceptance" in rows[0]:
            values["first_epoch_acceptance"] = rows[0]["acceptance"]
    values |= {"seconds_per_epoch": median(seconds), "epochs": rows[-1]["epoch"], "best_epoch": best_epoch}
    return {name: Figure(float(value), None, 1) for name, value in values.items() if math.isfinite(value)}


def _require_figures(config: Config, evaluation: ImageEvaluation) -> None:
    """Raise MedlangevinError for what would otherwise come out only after the training."""
    if config.images is None:
        index = read_index(config.data.root)
        if evaluation.split == "test" and not index.test:
            raise MedlangevinError(f"{index.root} has no test ears; set evaluation.split to validation")
        return
    splits = load_splits(config.images)
    splits.split("valid" if evaluation.split == "validation" else "test")
    if evaluation.inception is not None:
        require_digits(splits.source.shape, splits.source.name)
        load_images("mnist", data_root(config.images.root))


def now() -> str:
    """Tell the present date and time.

    Returns:
        UTC, ISO 8601 to the second.
    """
    return datetime.now(UTC).isoformat(timespec="seconds")
