"""Learning curves of a run as a PNG."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medlangevin.runs.metrics import Row
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path


def save_curves(rows: list[Row], path: Path | str, *, title: str, noun: str = "ear") -> None:
    """Write a PNG: training and validation ELBO over the epochs, and the other numbers of metrics.csv below.

    Args:
        rows: Of metrics.csv; without a validation ELBO only the training is shown.
        path: The file to write.
        title: The line above all.
        noun: What the nats are of, for example ear.

    Raises:
        MedlangevinError: When there are no rows.
    """
    if not rows:
        raise MedlangevinError(f"no epoch has been finished yet, so there are no curves to draw in {path}")
    epochs = np.array([row["epoch"] for row in rows])
    others = [name for name in rows[0] if name not in {"epoch", "step", "loss", "elbo", "seconds"}]
    others = [name for name in others if not name.startswith("validation_elbo")]
    lines = -(-len(others) // 3)
    figure = Figure(figsize=(9, 3.6 + 1.9 * lines), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.add_gridspec(1 + lines, 3, height_ratios=[3.6] + [1.9] * lines)
    axes = figure.add_subplot(grid[0, :])
    validation = series(rows, "validation_elbo")
    axes.plot(epochs, -series(rows, "loss"), label="training (minus loss)", color="tab:blue", lw=1)
    if np.isfinite(validation).any():
        measured = np.isfinite(validation)  # not every epoch may have been validated
        axes.plot(epochs[measured], validation[measured], label="validation ELBO", color="tab:orange", lw=1.5)
        best = int(np.nanargmax(validation))
        axes.plot(epochs[best], validation[best], "o", color="tab:orange", label=f"best: epoch {epochs[best]}")
    frame_the_end(axes, np.concatenate([-series(rows, "loss"), validation]))
    axes.set(xlabel="epoch", ylabel=f"nats per {noun}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, loc="best")
    axes.grid(alpha=0.3)
    for number, name in enumerate(others):
        small = figure.add_subplot(grid[1 + number // 3, number % 3])
        small.plot(epochs, series(rows, name), lw=1)
        small.set_title(name.replace("_", " "), fontsize=8)
        small.tick_params(labelsize=7)
        small.xaxis.set_major_locator(MaxNLocator(integer=True))
        small.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def series(rows: list[Row], name: str) -> np.ndarray:
    """Take a column of metrics.csv.

    Args:
        rows: Of metrics.csv.
        name: The column.

    Returns:
        (epochs,) float64; NaN where it is absent.
    """
    return np.array([row.get(name, np.nan) for row in rows], dtype=float)


def frame_the_end(axes: Axes, values: np.ndarray) -> None:
    """Show the upper 90 % of the values: the first epochs lie far below and would flatten the rest.

    Args:
        axes: Where the values are drawn.
        values: All that is drawn; NaN and infinity do not count.
    """
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return
    low, high = np.quantile(values, 0.1), values.max()
    margin = 0.05 * max(high - low, 1e-9)
    axes.set_ylim(low - margin, high + margin)
