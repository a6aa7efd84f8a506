"""The folder of a benchmark table: what is where, whose it is, and who may work on which cell."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from medlangevin.config.load import read_mapping
from medlangevin.papers.table.schema import BenchmarkConfig
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import require_folder, require_own_folder, write_text

MARKER, TABLE, ROWS, LOCK = "benchmark.yaml", "table.md", "table.csv", "benchmark.lock"
CELLS, FAILURES, RUNS, CACHE = "cells", "failures", "runs", "cache"
_OURS = {MARKER, TABLE, ROWS, LOCK, CELLS, FAILURES, RUNS, CACHE}


def require_ours(out: Path, table: BenchmarkConfig) -> None:
    """Raise MedlangevinError where ``out`` is a file, holds another table, or holds what no table wrote.

    A folder without a marker may hold ``cells`` that were copied from elsewhere.
    """
    require_folder(out)
    marker = out / MARKER
    if marker.exists():
        name = _name_in(marker)
        if name != table.name:
            raise MedlangevinError(f"{out} holds the table {name}, not {table.name}; choose another folder with --out")
        return
    pictures = {path.name for pattern in ("curves-*", "samples-*") for path in out.glob(pattern)}
    require_own_folder(out, _OURS | pictures, "benchmark")


def claim(out: Path, table: BenchmarkConfig) -> None:
    """Make ``out`` the folder of ``table``: its marker is the table's definition. Raises MedlangevinError."""
    for name in (CELLS, FAILURES, RUNS):
        try:
            (out / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MedlangevinError(
                f"cannot make the folder {out / name} ({error.strerror or error}); choose another --out"
            ) from error
    text = yaml.safe_dump(table.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    marker = out / MARKER
    if not marker.is_file() or marker.read_text(encoding="utf-8") != text:
        write_text(marker, text)


@contextmanager
def cell_lock(out: Path, cell_id: str) -> Iterator[bool]:
    """Whether this process may work on a cell: False where another one does so now. The lock dies with its process."""
    with (out / RUNS / f"{cell_id}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def table_lock(out: Path) -> Iterator[None]:
    """Wait until no other process writes the table, so that the last one written has seen every cell."""
    with (out / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _name_in(marker: Path) -> str:
    try:
        name = read_mapping(marker, BenchmarkConfig)["name"]
    except (MedlangevinError, KeyError) as error:
        raise MedlangevinError(f"{marker} is damaged; restore it or choose another folder with --out") from error
    return str(name)
