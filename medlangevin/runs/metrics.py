"""metrics.csv: one row per epoch, always whole, consistent with the checkpoint after a resume."""

import csv
import io
from itertools import pairwise
from pathlib import Path

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_bounded, write_text

Row = dict[str, float]
MOST_BYTES = 64 * 1024**2  # a hundred thousand epochs


class MetricsFile:
    """The rows of ``path``; every change rewrites the file in one go, so a reader never sees half a row."""

    def __init__(self, path: Path, rows: list[Row] | None = None) -> None:
        self.path = path
        self.rows = rows or []

    def append(self, row: Row) -> None:
        """Add an epoch's row (it has the key ``epoch``) and write the file."""
        self.rows.append(row)
        self._write()

    def drop_after(self, epoch: int) -> None:
        """Forget the rows of epochs after ``epoch``, which a killed run wrote past its last checkpoint."""
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]
        if self.path.exists():
            self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def require_reaching(rows: list[Row], epoch: int, path: Path) -> None:
    """Raise MedlangevinError unless ``rows`` are of consecutive epochs up to ``epoch`` at least, or there are none."""
    epochs = [row["epoch"] for row in rows]
    if epochs and (epochs[-1] < epoch or any(after - before != 1 for before, after in pairwise(epochs))):
        raise MedlangevinError(
            f"{path} lacks epochs that the checkpoint has seen; "
            "restore it or delete it to go on without the earlier epochs"
        )


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics.csv; none if it is absent. Raises MedlangevinError that names the first bad line."""
    try:
        text = read_bounded(path, MOST_BYTES)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise MedlangevinError(f"{path} is not a text file; delete it to go on without the earlier epochs") from error
    rows: list[Row] = []
    lines = csv.DictReader(io.StringIO(text))
    while True:
        try:
            raw = next(lines, None)
            if raw is None:
                return rows
            row = {name: float(value) for name, value in raw.items() if value != ""}
            row["epoch"] = int(row["epoch"])
            if "step" in row:
                row["step"] = int(row["step"])
        except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
            raise MedlangevinError(
                f"{path}, line {lines.line_num} is damaged; mend it or delete the file to go on without earlier epochs"
            ) from error
        rows.append(row)
