"""What a measurement comes to: a mean, its error and how many values it is of."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from medlangevin.system.errors import MedlangevinError

_IN_NATS = ("negative_elbo", "nll", "nll_encoder", "nll_ais")


class Figure(NamedTuple):
    """What a measurement comes to.

    Attributes:
        mean: Of ``count`` values.
        standard_error: Of the mean; None where there is none to state.
        count: How many values.
        values: The values themselves, image by image, where models are to be compared on the same images.
    """

    mean: float
    standard_error: float | None
    count: int  # type: ignore[assignment]  # hides tuple.count, which a figure does not need
    values: tuple[float, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """The same for a JSON file.

        Returns:
            Its fields; no ``values`` where they are not kept.
        """
        return {name: value for name, value in self._asdict().items() if name != "values" or value is not None}


def require_finite(figures: dict[str, Figure], run_dir: Path) -> None:
    """Refuse figures that are NaN or infinite.

    Args:
        figures: The figures of a run by name.
        run_dir: The run, which the error names.

    Raises:
        MedlangevinError: A figure is NaN or infinite; the first one is named.
    """
    for name, figure in figures.items():
        if not math.isfinite(figure.mean):
            raise MedlangevinError(f"run {run_dir}: {name} is NaN or infinite; train it again")


def figure_of(values: Sequence[float], *, keep: bool = False) -> Figure:
    """Mean and standard error of the mean of independent values.

    Args:
        values: The values.
        keep: Keep them in the figure.

    Returns:
        The figure; of a single value there is no error.
    """
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return Figure(float(np.mean(values)), error, len(values), tuple(values) if keep else None)


def may_be_nan(name: str) -> bool:
    """Tell whether a figure of an image may be NaN without a fault of the run.

    Args:
        name: The figure.

    Returns:
        Whether it is one that is not measured, or not defined, for some images.
    """
    return name in ("nll", "nll_per_dim") or name.startswith("variance_explained")


def figures_of(values: dict[str, Tensor], dimensions: int, *, kept: Collection[str]) -> dict[str, Figure]:
    """The figures of images, and those in nats once more as ``..._per_dim``.

    Args:
        values: Of each figure the values of all images (N,).
        dimensions: Of an image.
        kept: The figures whose values are kept.

    Returns:
        The figures by name. An ``nll`` of NaN was not measured, and a ``variance_explained`` of NaN is not defined: the
            figure is of the others, and without their values.
    """
    values = values | {f"{name}_per_dim": values[name] / dimensions for name in _IN_NATS if name in values}
    figures = {}
    for name, value in values.items():
        known = value[~value.isnan()] if may_be_nan(name) else value
        if len(known):
            figures[name] = figure_of(known.tolist(), keep=name in kept and len(known) == len(value))
    return figures
