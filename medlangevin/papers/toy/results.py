"""The files of a toy experiment: samples and metrics as CSV, settings as JSON, and a table for the terminal."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medlangevin._version import __version__
from medlangevin.papers.toy.panels import ToyResult, rows_of
from medlangevin.system.files import atomic_path, require_own_folder, write_json

NAMES = ("gaussian", "neural")
_ENDINGS = (".png", "_samples.csv", "_metrics.csv", "_settings.json")


def tabulate(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """Rows of numbers under the ``columns``, what a row lacks being empty; features as whole numbers."""
    return pd.DataFrame(rows, columns=list(columns)).astype({"num_features": "Int64"})


def require_ours(out: Path) -> None:
    """Raise MedlangevinError where ``out`` is a file or holds anything but what the toys write."""
    ours = {f"toy_{name}{ending}" for name in NAMES for ending in _ENDINGS}
    require_own_folder(out, ours, "toy")


def write_result(result: ToyResult, out: Path) -> None:
    """Write ``toy_NAME_samples.csv``, ``toy_NAME_metrics.csv`` and ``toy_NAME_settings.json`` to the folder ``out``.

    The samples are those of the first chain, which the picture shows, in order.
    """
    prefix = f"toy_{result.name}"
    _write_csv(_samples(result), out / f"{prefix}_samples.csv")
    _write_csv(result.metrics, out / f"{prefix}_metrics.csv")
    settings = {
        "experiment": f"toy {result.name}",
        "medlangevin": __version__,
        "torch": torch.__version__,
        **result.settings,
        "columns_of_the_metrics": result.columns,
        "samples": "the first chain of each method, every kept draw in order: z1, z2 of each data point",
    }
    write_json(out / f"{prefix}_settings.json", settings)


def format_result(result: ToyResult) -> str:
    """The metrics as a table for the terminal: one line per panel, distances of the three data points side by side."""
    distances = [name for name in ("w2", "kl_all_chains") if name in result.metrics]
    lines = []
    for number, panel in enumerate(result.panels):
        rows = rows_of(result, number)
        line = {"method": panel.method, "features": str(panel.num_features or "")}
        line["step"] = _number(rows["step_size"].iloc[0], ".2g")
        line["accept"] = _number(rows["acceptance_rate"].mean(), ".2f")
        line["cond K"] = _number(rows["condition_number"].iloc[0], ".3g")
        for name in distances:
            line[f"{name} of x1, x2, x3"] = " ".join(_number(value, ".3f") for value in rows[name])
        line["mean err"] = _number(rows["mean_error"].mean(), ".3f")
        line["cov err"] = _number(rows["covariance_error"].mean(), ".0%")
        line["min ESS"] = _number(rows["ess_bulk"].min(skipna=False), ".0f")
        line["max R-hat"] = _number(rows["r_hat"].max(skipna=False), ".2f")
        line["grad/ESS"] = _number(rows["gradients_per_effective_sample"].max(skipna=False), ".3g")
        lines.append(line)
    return pd.DataFrame(lines).to_string(index=False)


def _number(value: Any, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def _samples(result: ToyResult) -> pd.DataFrame:
    parts = []
    for panel in result.panels:
        chain = panel.positions[0]
        draws, points, _ = chain.shape
        parts.append(
            pd.DataFrame(
                {
                    "method": panel.method,
                    "num_features": panel.num_features,
                    "data_point": np.tile(np.arange(1, points + 1), draws),
                    "draw": np.repeat(np.arange(1, draws + 1), points),
                    "z1": chain[:, :, 0].ravel(),
                    "z2": chain[:, :, 1].ravel(),
                }
            ).astype({"num_features": "Int64"})
        )
    return pd.concat(parts, ignore_index=True)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
