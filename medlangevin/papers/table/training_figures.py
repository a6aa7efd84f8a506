"""Figures of a training that are read from its metrics.csv."""

import math
from statistics import median

from medlangevin.evaluation.figure import Figure
from medlangevin.runs.metrics import Row

# Figures that are a column of the last epoch's row, where the model logs it.
_LAST = ("acceptance", "step_size", "weight_norm")


def training_figures(rows: list[Row], *, best_epoch: int) -> dict[str, Figure]:
    """What ``rows``, one per epoch, say; a figure that the model does not log, or that is not finite, is left out.

    ``acceptance`` and ``first_epoch_acceptance`` are means over an epoch; ``seconds_per_epoch`` is the median, as an
    epoch that shares the machine takes longer; ``training_minutes`` the sum. ``best_epoch``: of the model evaluated.
    """
    if not rows:
        return {}
    seconds = [row["seconds"] for row in rows]
    values = {name: rows[-1][name] for name in _LAST if name in rows[-1]}
    if rows[0]["epoch"] == 1:  # else the file lost its beginning
        values["training_minutes"] = sum(seconds) / 60
        if "acceptance" in rows[0]:
            values["first_epoch_acceptance"] = rows[0]["acceptance"]
    values |= {
        "seconds_per_epoch": median(seconds),
        "epochs": rows[-1]["epoch"],
        "best_epoch": best_epoch,
    }
    return {name: Figure(float(value), None, 1) for name, value in values.items() if math.isfinite(value)}
