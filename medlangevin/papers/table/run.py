"""A whole table: its cells one after the other, each of them once, whatever interrupts."""

import logging
from pathlib import Path

from medlangevin.datasets.datalist import read_index
from medlangevin.datasets.images import load_splits
from medlangevin.papers.table import folder
from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.measure import measure, now
from medlangevin.papers.table.prepare import Benchmark, require_same_settings
from medlangevin.papers.table.records import (
    forget_failure,
    read_failures,
    read_records,
    record_path,
    write_failure,
    write_record,
)
from medlangevin.papers.table.results import Results
from medlangevin.papers.table.table import csv_text, markdown
from medlangevin.system.errors import MedlangevinError, PartialFailureError
from medlangevin.system.files import write_text

logger = logging.getLogger(__name__)


def run(benchmark: Benchmark) -> dict[str, str]:
    """Measure the selected cells that are not measured yet, and write the table after each.

    A cell that another process is working on is left to it. A cell that fails is put on record and the others go on.
    Returns the failed ones among those selected: cell id and reason. Raises MedlangevinError, before anything is
    written, when no image set and no crops that it needs are there, or when a selected cell was measured or trained
    with another configuration.
    """
    for cell in benchmark.selected:
        require_same_settings(cell, benchmark.table, benchmark.out)
    _require_data(benchmark)
    folder.claim(benchmark.out, benchmark.table)
    _report_strangers(benchmark)
    count = len(benchmark.selected)
    failed: dict[str, str] = {}
    for number, cell in enumerate(benchmark.selected, start=1):
        logger.info(f"cell {number} of {count}: {cell.id}")
        reason = _measure_once(cell, benchmark)
        if reason is not None:
            failed[cell.id] = reason
            logger.error(f"failed: {reason}")
    write_table(benchmark)
    return failed


def write_table(benchmark: Benchmark) -> None:
    """Write OUT/table.md and OUT/table.csv from the records that there are."""
    out, table = benchmark.out, benchmark.table
    with folder.table_lock(out):
        results = Results(
            table, benchmark.cells, read_records(out, benchmark.cells), read_failures(out, benchmark.cells)
        )
        write_text(out / folder.TABLE, markdown(results))
        write_text(out / folder.ROWS, csv_text(results))


def require_no_failures(failed: dict[str, str]) -> None:
    """Raise PartialFailureError that lists the failed cells, if there are any."""
    if failed:
        cells: dict[str, list[str]] = {}
        for name, reason in failed.items():
            cells.setdefault(reason, []).append(name)
        listed = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in cells.items())
        raise PartialFailureError(f"{len(failed)} cell{'s' if len(failed) > 1 else ''} failed ({listed})")


def _measure_once(cell: Cell, benchmark: Benchmark) -> str | None:
    """Why the cell failed; None if it is measured, or another process is at it."""
    out, table = benchmark.out, benchmark.table
    with folder.cell_lock(out, cell.id) as ours:
        if not ours:
            logger.info("another process is working on it; left alone")
            return None
        if record_path(out, cell.id).is_file():
            require_same_settings(cell, table, out)
            logger.info("measured already")
            return None
        try:
            record = measure(cell, table.evaluation, out=out, command=f"{benchmark.command} --only {cell.id}")
            write_record(out, record)
        except MedlangevinError as error:
            write_failure(out, cell.id, str(error), now())
            return str(error)
        forget_failure(out, cell.id)
    write_table(benchmark)
    return None


def _require_data(benchmark: Benchmark) -> None:
    """Raise MedlangevinError when none of the image sets and crops that the cells still need can be read."""
    wanted = [cell.config for cell in benchmark.selected if not record_path(benchmark.out, cell.id).is_file()]
    problem: MedlangevinError | None = None
    for data in dict.fromkeys(config.images or Path(config.data.root) for config in wanted):
        try:
            if isinstance(data, Path):
                read_index(data)
            else:
                load_splits(data)
            return
        except MedlangevinError as error:
            problem = problem or error
    if problem is not None:
        raise problem


def _report_strangers(benchmark: Benchmark) -> None:
    known = {cell.id for cell in benchmark.cells}
    for path in sorted((benchmark.out / folder.CELLS).glob("*.json")):
        if path.stem not in known:
            logger.warning(f"{path} belongs to no cell of the table and is not shown")
