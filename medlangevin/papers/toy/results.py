"""The toy experiments from start to files: samples and metrics as CSV, settings as JSON, a picture, lines to print."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from medlangevin._version import __version__
from medlangevin.papers.toy.figures import draw_gaussian, draw_neural
from medlangevin.papers.toy.gaussian import run_gaussian
from medlangevin.papers.toy.neural import run_neural
from medlangevin.papers.toy.panels import ToyResult, rows_of
from medlangevin.system.files import atomic_path, make_folder, require_own_folder, write_json

_TOYS = {"gaussian": (run_gaussian, draw_gaussian), "neural": (run_neural, draw_neural)}
_OURS = {
    f"toy_{name}{ending}" for name in _TOYS for ending in (".png", "_samples.csv", "_metrics.csv", "_settings.json")
}


def report_toy(name: Literal["gaussian", "neural"], out: Path | str, *, seed: int, steps: int) -> ToyResult:
    """Run a toy and write its samples, metrics, settings and picture to a folder.

    Nothing is written before all is computed; a former result is replaced.

    Args:
        name: The toy.
        out: The folder.
        seed: The same seed gives the same numbers.
        steps: Steps of each chain; the first third is dropped.

    Returns:
        The result.

    Raises:
        MedlangevinError: Where ``out`` holds anything that the toys did not write, or cannot be made.
    """
    out = Path(out)
    require_own_folder(out, _OURS, "toy")
    make_folder(out)
    run, draw = _TOYS[name]
    result = run(seed=seed, steps=steps)
    _write(result, out)
    draw(result, out / f"toy_{name}.png")
    return result


def _write(result: ToyResult, out: Path) -> None:
    """Write samples, metrics and settings. The samples are those of the first chain, which the picture shows."""
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
    """Write the metrics as a table for the terminal.

    Args:
        result: The result of a toy.

    Returns:
        One line for each panel, distances of the three data points side by side.
    """
    distances = [name for name in ("w2", "kl_all_chains") if name in result.metrics]
    lines = []
    for number, panel in enumerate(result.panels):
        rows = rows_of(result, number)
        line = {"method": panel.method, "features": str(panel.num_features or "")}
        line["step"] = _or_blank(rows["step_size"].iloc[0], ".2g")
        line["accept"] = _or_blank(rows["acceptance_rate"].mean(), ".2f")
        line["cond K"] = _or_blank(rows["condition_number"].iloc[0], ".3g")
        for name in distances:
            line[f"{name} of x1, x2, x3"] = " ".join(_or_blank(value, ".3f") for value in rows[name])
        line["mean err"] = _or_blank(rows["mean_error"].mean(), ".3f")
        line["cov err"] = _or_blank(rows["covariance_error"].mean(), ".0%")
        line["min ESS"] = _or_blank(rows["ess_bulk"].min(skipna=False), ".0f")
        line["max R-hat"] = _or_blank(rows["r_hat"].max(skipna=False), ".2f")
        line["grad/ESS"] = _or_blank(rows["gradients_per_effective_sample"].max(skipna=False), ".3g")
        lines.append(line)
    return pd.DataFrame(lines).to_string(index=False)


def _or_blank(value: Any, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def _samples(result: ToyResult) -> pd.DataFrame:
    parts = []
    for panel in result.panels:
        chain = panel.positions[0]
        draws, points, _ = chain.shape
        columns = {
            "method": panel.method,
            "num_features": panel.num_features,
            "data_point": np.tile(np.arange(1, points + 1), draws),
            "draw": np.repeat(np.arange(1, draws + 1), points),
            "z1": chain[:, :, 0].ravel(),
            "z2": chain[:, :, 1].ravel(),
        }
        parts.append(pd.DataFrame(columns).astype({"num_features": "Int64"}))
    return pd.concat(parts, ignore_index=True)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
