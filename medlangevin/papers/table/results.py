"""What the measured cells of a table say together: means over seeds, how sure they are, and which row is best."""

import math
from statistics import mean, stdev
from typing import Literal, NamedTuple

from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.records import Record
from medlangevin.papers.table.schema import BenchmarkConfig


class Entry(NamedTuple):
    """A figure of one row on one data set.

    ``mean`` over ``seeds`` seeds. ``uncertainty``: of several seeds the standard deviation over them (``kind`` sd), of
    one the standard error over its images (se); None where there is none. ``counts``: images, fewest and most.
    """

    mean: float
    uncertainty: float | None
    kind: Literal["sd", "se"]
    seeds: int
    counts: tuple[int, int]


class Results(NamedTuple):
    """A table with all its cells, the ``records`` of those measured and the reasons of those that failed, by id."""

    table: BenchmarkConfig
    cells: tuple[Cell, ...]
    records: dict[str, Record]
    failures: dict[str, str]

    def cells_of(self, row: str, data_set: str) -> tuple[Cell, ...]:
        """The cells of one row on one data set, one for each seed."""
        return tuple(cell for cell in self.cells if (cell.row, cell.data_set) == (row, data_set))

    def records_of(self, row: str, data_set: str) -> tuple[Record, ...]:
        """Those of these cells that are measured."""
        return tuple(self.records[cell.id] for cell in self.cells_of(row, data_set) if cell.id in self.records)

    def are_comparable(self, data_set: str) -> bool:
        """Whether all measured rows were judged on the same images in the same way."""
        records = [record for row in self.table.rows for record in self.records_of(row, data_set)]
        return all(record.judged_on() == records[0].judged_on() for record in records)

    def entry(self, row: str, data_set: str, figure: str) -> Entry | None:
        """A figure over the seeds that have it; None where none has."""
        found = [record.figures[figure] for record in self.records_of(row, data_set) if figure in record.figures]
        if not found:
            return None
        counts = min(one.count for one in found), max(one.count for one in found)
        if len(found) == 1:
            return Entry(found[0].mean, found[0].standard_error, "se", 1, counts)
        means = [one.mean for one in found]
        return Entry(mean(means), stdev(means), "sd", len(means), counts)


def best_row(entries: dict[str, Entry], *, better: Literal["lower", "higher"] | None) -> str | None:
    """The row whose mean is better than the next one by more than both uncertainties together (root of the sum of
    squares); None where there is no such row, no next one, or no uncertainty of either.
    """
    if better is None or len(entries) < 2:
        return None
    sign = 1 if better == "lower" else -1
    (name, first), (_, second), *_ = sorted(entries.items(), key=lambda item: sign * item[1].mean)
    if first.uncertainty is None or second.uncertainty is None:
        return None
    return name if abs(second.mean - first.mean) > math.hypot(first.uncertainty, second.uncertainty) else None
