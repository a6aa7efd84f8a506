"""What the measured cells of a table say together, from one frame with a line for each figure of each cell."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from medlangevin.evaluation.figure import Figure, figure_of
from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.records import Record
from medlangevin.papers.table.schema import TableConfig

# The evidence, which is not measured where too few samples are effective.
_OF_MEASURED_IMAGES = ("nll", "nll_per_dim")
_OF_RECORD = ["epochs", "device", "torch", "date", "command"]
_CSV = ["row", "label", "data_set", "seed", "figure", "mean", "standard_error", "count", "published", *_OF_RECORD]
_WHOLE, _REAL = ("seed", "count", "epochs"), ("mean", "standard_error", "published")


class Entry(NamedTuple):
    """What a column of the table shows for one row: a figure over the seeds that have it.

    Attributes:
        mean: The mean over the seeds.
        uncertainty: Of several seeds the standard deviation over them, of one the standard error over its images;
            None where there is none.
        kind: Which of the two it is.
        seeds: The number of seeds.
        counts: Images that the figure is the mean of, fewest and most.
    """

    mean: float
    uncertainty: float | None
    kind: Literal["sd", "se"]
    seeds: int
    counts: tuple[int, int]


@dataclass(frozen=True)
class Results:
    """A table and what is known of its cells.

    Attributes:
        config: The definition of the table.
        cells: All its cells.
        records: The records of the measured cells by the cells' ids.
        failures: The reasons of the failed cells by their ids.
    """

    config: TableConfig
    cells: tuple[Cell, ...]
    records: dict[str, Record]
    failures: dict[str, str]

    def cells_of(self, row: str, data_set: str) -> tuple[Cell, ...]:
        """Choose the cells of one row on one data set.

        Args:
            row: The name of the row.
            data_set: The name of the data set.

        Returns:
            A cell for each seed.
        """
        return tuple(cell for cell in self.cells if (cell.row, cell.data_set) == (row, data_set))

    @cached_property
    def figures(self) -> pd.DataFrame:
        """All figures of the measured cells, and after each row's own those that are published alone.

        The columns are those of table.csv, and ``values`` and ``judged_on`` of the record. A figure that no seed has
        been measured for has neither seed nor mean.
        """
        lines = []
        for data_set, (name, row) in product(self.config.shown_data_sets, self.config.rows.items()):
            head = {"row": name, "label": row.label, "data_set": data_set}
            alone = dict(row.published.get(data_set, {}))
            published = dict(alone)
            for record in (self.records[cell.id] for cell in self.cells_of(name, data_set) if cell.id in self.records):
                about = {field: getattr(record, field) for field in ("seed", *_OF_RECORD)}
                for figure, values in record.figures.items():
                    about["judged_on"] = record.judged_on(figure)
                    lines.append(head | about | {"figure": figure, "published": published.get(figure)} | dict(values))
                    alone.pop(figure, None)
            lines += [head | {"figure": figure, "published": value} for figure, value in alone.items()]
        frame = pd.DataFrame(lines, columns=[*_CSV, "values", "judged_on"])
        return frame.astype(dict.fromkeys(_WHOLE, "Int64") | dict.fromkeys(_REAL, "float64"))

    @cached_property
    def entries(self) -> dict[tuple[str, str, str], Entry]:
        """The figures over their seeds, by data set, row and figure."""
        measured = self.figures.dropna(subset=["mean"])
        groups: Any = measured.groupby(["data_set", "row", "figure"])
        return {key: _entry(lines) for key, lines in groups}

    def csv(self) -> str:
        """Write the figures as table.csv.

        Returns:
            The whole text, in full precision.
        """
        return self.figures.to_csv(columns=_CSV, index=False, lineterminator="\n")

    def are_comparable(self, data_set: str) -> bool:
        """Tell whether the models can be ranked on a data set.

        Args:
            data_set: The name of the data set.

        Returns:
            Whether each figure of all measured rows was judged on the same images in the same way.
        """
        lines = self.figures[(self.figures["data_set"] == data_set) & self.figures["judged_on"].notna()]
        judged: dict[str, list[Any]] = {}
        for figure, measure in zip(lines["figure"], lines["judged_on"], strict=True):
            judged.setdefault(figure, []).append(measure)
        return all(one == measures[0] for measures in judged.values() for one in measures)

    def is_of_all_images(self, data_set: str, figure: str) -> bool:
        """Tell whether a figure is the mean over the same images for all models.

        Args:
            data_set: The name of the data set.
            figure: The name of the figure.

        Returns:
            Whether no measured row left images out as not measured, which are others for every model.
        """
        if figure not in _OF_MEASURED_IMAGES:
            return True
        lines = self.figures[(self.figures["data_set"] == data_set) & (self.figures["figure"] == "nll")]
        return bool(lines.loc[lines["mean"].notna(), "values"].notna().all())

    def difference(self, row: str, control: str, data_set: str, figure: str) -> Figure | None:
        """Tell how far two models lie apart on the same images: images differ by far more than models do, so in pairs.

        Of each image it is the mean over the seeds that both have; the error knows nothing of other seeds.

        Args:
            row: One model.
            control: The other one.
            data_set: The name of the data set.
            figure: The name of a figure that is kept image by image.

        Returns:
            ``row`` minus ``control``, mean and standard error over images; below 0, ``row`` is better. None where no
            seed of both is measured image by image, or the two were not judged on the same images in the same way.
        """
        lines = self.figures
        lines = lines[(lines["data_set"] == data_set) & (lines["figure"] == figure) & lines["values"].notna()]
        pairs = lines[lines["row"] == row].merge(lines[lines["row"] == control], on="seed")
        if pairs.empty or any(pairs["judged_on_x"] != pairs["judged_on_y"]):
            return None
        differences = [np.subtract(*both) for both in zip(pairs["values_x"], pairs["values_y"], strict=True)]
        return figure_of(np.mean(differences, axis=0).tolist())


def best_row(entries: dict[str, Entry], *, better: Literal["lower", "higher"] | None) -> str | None:
    """Find the row that is better than all others.

    Args:
        entries: One figure of the rows, by their names.
        better: Which values are better.

    Returns:
        The row whose mean is better than the next one by more than both uncertainties together (root of the sum of
        squares). None where there is no such row, no next one, or no uncertainty of either.
    """
    if better is None or len(entries) < 2:
        return None
    sign = 1 if better == "lower" else -1
    (name, first), (_, second), *_ = sorted(entries.items(), key=lambda item: sign * item[1].mean)
    if first.uncertainty is None or second.uncertainty is None:
        return None
    return name if abs(second.mean - first.mean) > math.hypot(first.uncertainty, second.uncertainty) else None


def _entry(lines: pd.DataFrame) -> Entry:
    means, counts = lines["mean"].tolist(), (int(lines["count"].min()), int(lines["count"].max()))
    if len(means) > 1:
        return Entry(mean(means), stdev(means), "sd", len(means), counts)
    error = float(lines["standard_error"].iloc[0])
    return Entry(means[0], None if math.isnan(error) else error, "se", 1, counts)
