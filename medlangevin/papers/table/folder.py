"""The folder of a table: what is where, whose it is, and the one process at a time that works on a cell."""

from contextlib import AbstractContextManager
from pathlib import Path

import yaml

from medlangevin.config.load import read_mapping
from medlangevin.papers.table.schema import TableConfig
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import make_folder, require_folder, require_own_folder, write_text
from medlangevin.system.lock import locked

MARKER, TABLE, ROWS, LOCK = "benchmark.yaml", "table.md", "table.csv", "benchmark.lock"
CELLS, FAILURES, RUNS, CACHE = "cells", "failures", "runs", "cache"
_OURS = {MARKER, TABLE, ROWS, LOCK, CELLS, FAILURES, RUNS, CACHE}


def require_ours(out: Path, table: TableConfig) -> None:
    """Check that a folder may hold a table.

    A folder without a marker may hold ``cells`` that were copied from elsewhere.

    Args:
        out: The folder; it need not exist.
        table: The table.

    Raises:
        MedlangevinError: Where ``out`` is a file, holds another table, or holds files that no table wrote.
    """
    require_folder(out)
    marker = out / MARKER
    if not marker.exists():
        pictures = {path.name for pattern in ("curves-*", "samples-*") for path in out.glob(pattern)}
        require_own_folder(out, _OURS | pictures, "benchmark")
        return
    try:
        name = read_mapping(marker, TableConfig)["name"]
    except (MedlangevinError, KeyError) as error:
        raise MedlangevinError(f"{marker} is damaged; restore it or choose another folder with --out") from error
    if str(name) != table.name:
        raise MedlangevinError(f"{out} holds the table {name}, not {table.name}; choose another folder with --out")


def claim(out: Path, table: TableConfig) -> None:
    """Make a folder that of a table: its marker is the table's definition.

    Args:
        out: The folder; made where it is absent.
        table: The table.

    Raises:
        MedlangevinError: When a folder cannot be made.
    """
    for name in (CELLS, FAILURES, RUNS):
        make_folder(out / name)
    text = yaml.safe_dump(table.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    marker = out / MARKER
    if not marker.is_file() or marker.read_text(encoding="utf-8") != text:
        write_text(marker, text)


def cell_lock(out: Path, cell_id: str) -> AbstractContextManager[bool]:
    """Work on a cell alone; the lock ends with its process.

    Args:
        out: The folder of the table.
        cell_id: The cell.

    Returns:
        The lock; entering it raises BusyError where another process works on the cell.
    """
    return locked(out / RUNS / f"{cell_id}.lock", shared=False, busy="another process is working on it; left alone")
