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
    """The rows of a file; every change rewrites it in one go, so a reader never sees half a row.

    Args:
        path: The file.
        rows: What it holds already.
    """

    def __init__(self, path: Path, rows: list[Row] | None = None) -> None:
        self.path = path
        self.rows = rows or []

    def append(self, row: Row) -> None:
        """Add an epoch's row and write the file.

        Args:
            row: Has the key ``epoch``.
        """
        self.rows.append(row)
        self._write()

    def drop_after(self, epoch: int) -> None:
        """Forget the rows of later epochs, which a killed run wrote past its last checkpoint.

        Args:
            epoch: The last epoch to keep.
        """
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
    """Refuse rows that do not reach a checkpoint.

    Args:
        rows: Of metrics.csv; there may be none.
        epoch: Where the checkpoint stands.
        path: The file, for the error.

    Raises:
        MedlangevinError: They are not of consecutive epochs up to ``epoch`` at least.
    """
    epochs = [row["epoch"] for row in rows]
    if epochs and (epochs[-1] < epoch or any(after - before != 1 for before, after in pairwise(epochs))):
        remedy = "restore it or delete it to go on without the earlier epochs"
        raise MedlangevinError(f"{path} lacks epochs that the checkpoint has seen; {remedy}")


def read_metrics(path: Path) -> list[Row]:
    """Read a metrics.csv.

    Args:
        path: The file.

    Returns:
        Its rows; none if it is absent.

    Raises:
        MedlangevinError: It is damaged; the message names the first bad line.
    """
    try:
        text = read_bounded(path, MOST_BYTES)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise MedlangevinError(f"{path} is not a text file; delete it to go on without the earlier epochs") from error
    rows: list[Row] = []
    lines = csv.DictReader(io.StringIO(text))
    try:
        for raw in lines:
            row = {name: float(value) for name, value in raw.items() if value != ""}
            row["epoch"] = int(row["epoch"])
            if "step" in row:
                row["step"] = int(row["step"])
            rows.append(row)
    except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
        remedy = "mend it or delete the file to go on without earlier epochs"
        raise MedlangevinError(f"{path}, line {lines.line_num} is damaged; {remedy}") from error
    return rows
