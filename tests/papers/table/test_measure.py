"""Figures of a training from the rows of its metrics.csv."""

import math

from medlangevin.evaluation.figure import Figure
from medlangevin.papers.table.measure import training_figures

ROWS = [
    {"epoch": 1, "seconds": 100.0, "acceptance": 0.5, "weight_norm": 1.0, "loss": 5.0},
    {"epoch": 2, "seconds": 10.0, "acceptance": 0.3, "weight_norm": 2.0, "loss": 4.0},
    {"epoch": 3, "seconds": 40.0, "acceptance": 0.1, "weight_norm": 4.0, "loss": 3.0},
]


def test_known_rows() -> None:
    expected = {
        "acceptance": 0.1,
        "first_epoch_acceptance": 0.5,
        "weight_norm": 4.0,
        "seconds_per_epoch": 40.0,
        "training_minutes": 2.5,
        "epochs": 3.0,
        "best_epoch": 2.0,
    }
    assert training_figures(ROWS, best_epoch=2) == {name: Figure(value, None, 1) for name, value in expected.items()}


def test_what_is_not_logged_or_not_finite_is_left_out() -> None:
    figures = training_figures([{"epoch": 1, "seconds": 1.0, "step_size": math.nan}], best_epoch=1)
    assert set(figures) == {"seconds_per_epoch", "training_minutes", "epochs", "best_epoch"}
    assert training_figures([], best_epoch=0) == {}
