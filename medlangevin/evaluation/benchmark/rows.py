"""The table as CSV: one line for each figure of each cell, with everything needed to judge it."""

import csv
import io
from typing import Any

from medlangevin.evaluation.benchmark.results import Results

COLUMNS = (
    "row",
    "label",
    "data_set",
    "seed",
    "figure",
    "mean",
    "standard_error",
    "count",
    "published",
    "epochs",
    "device",
    "torch",
    "date",
    "command",
)


def csv_text(results: Results) -> str:
    """The whole text of table.csv, in full precision.

    All figures of measured cells, also those that are no column of the table; a published figure that no seed has been
    measured for has a line without seed and mean.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for data_set in results.table.shown_data_sets:
        for row in results.table.rows:
            writer.writerows(_measured(results, row, data_set))
            writer.writerows(_published_alone(results, row, data_set))
    return text.getvalue()


def _measured(results: Results, row: str, data_set: str) -> list[dict[str, Any]]:
    label, published = results.table.rows[row].label, results.table.rows[row].published.get(data_set, {})
    return [
        {
            "row": row,
            "label": label,
            "data_set": data_set,
            "seed": record.seed,
            "figure": name,
            "mean": figure.mean,
            "standard_error": figure.standard_error,
            "count": figure.count,
            "published": published.get(name),  # type: ignore[call-overload]
            "epochs": record.epochs,
            "device": record.device,
            "torch": record.torch,
            "date": record.date,
            "command": record.command,
        }
        for record in results.records_of(row, data_set)
        for name, figure in record.figures.items()
    ]


def _published_alone(results: Results, row: str, data_set: str) -> list[dict[str, Any]]:
    settings = results.table.rows[row]
    return [
        {"row": row, "label": settings.label, "data_set": data_set, "figure": name, "published": value}
        for name, value in settings.published.get(data_set, {}).items()
        if results.entry(row, data_set, name) is None
    ]
