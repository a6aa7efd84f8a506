"""A whole table: its cells one after the other, each of them once, whatever interrupts."""

import logging
from pathlib import Path

from medlangevin.datasets.datalist import read_index
from medlangevin.datasets.images import load_splits
from medlangevin.papers.table import folder
from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.markdown import markdown
from medlangevin.papers.table.measure import measure, now
from medlangevin.papers.table.prepare import Table, require_same_settings
from medlangevin.papers.table.records import (
    failure_path,
    read_failures,
    read_record,
    read_records,
    record_path,
    write_record,
)
from medlangevin.papers.table.results import Results
from medlangevin.system.errors import MedlangevinError, PartialFailureError
from medlangevin.system.files import write_json, write_text
from medlangevin.system.lock import BusyError, locked

logger = logging.getLogger(__name__)


def run(table: Table) -> dict[str, str]:
    """Measure the selected cells that are not measured yet, and write the table after each.

    A cell that another process is working on is left to it. A cell that fails is put on record and the others go on.

    Args:
        table: The table.

    Returns:
        The reasons of the selected cells that failed, by their ids.

    Raises:
        MedlangevinError: Before anything is written, when no image set and no crops that it needs are there, or when
            a selected cell was measured or trained with another configuration.
    """
    for cell in table.selected:
        require_same_settings(cell, table)
    _require_data(table)
    folder.claim(table.out, table.config)
    known = {cell.id for cell in table.cells}
    for path in sorted((table.out / folder.CELLS).glob("*.json")):
        if path.stem not in known:
            logger.warning(f"{path} belongs to no cell of the table and is not shown")
    failed: dict[str, str] = {}
    for number, cell in enumerate(table.selected, start=1):
        logger.info(f"cell {number} of {len(table.selected)}: {cell.id}")
        try:
            reason = _measure_once(cell, table)
        except BusyError as error:
            logger.info(str(error))
            continue
        if reason is not None:
            failed[cell.id] = reason
            logger.error(f"failed: {reason}")
    write_table(table)
    return failed


def write_table(table: Table) -> None:
    """Write OUT/table.md and OUT/table.csv from the records that there are.

    Args:
        table: The table.
    """
    out, cells = table.out, table.cells
    # Waits until no other process writes the table, so that the last one written has seen every cell.
    with locked(out / folder.LOCK, shared=False, busy=None):
        results = Results(table.config, cells, read_records(out, cells), read_failures(out, cells))
        write_text(out / folder.TABLE, markdown(results))
        write_text(out / folder.ROWS, results.csv())


def require_no_failures(failed: dict[str, str]) -> None:
    """Refuse to pass over failed cells.

    Args:
        failed: The reasons of the failed cells by their ids.

    Raises:
        PartialFailureError: When there are any; it lists them.
    """
    if failed:
        reasons = dict.fromkeys(failed.values())
        listed = "; ".join(f"{', '.join(name for name in failed if failed[name] == why)}: {why}" for why in reasons)
        raise PartialFailureError(f"{len(failed)} cell{'s' if len(failed) > 1 else ''} failed ({listed})")


def _measure_once(cell: Cell, table: Table) -> str | None:
    """Why the cell failed; None if it is measured. Raises BusyError where another process is at it."""
    out, evaluation, failure = table.out, table.config.evaluation, failure_path(table.out, cell.id)
    with folder.cell_lock(out, cell.id):
        if record_path(out, cell.id).is_file():
            require_same_settings(cell, table)
            logger.info(_measured_already(record_path(out, cell.id), table))
            return None
        try:
            write_record(out, measure(cell, evaluation, out=out, command=f"{table.command} --only {cell.id}"))
        except MedlangevinError as error:
            write_json(failure, {"id": cell.id, "reason": str(error), "date": now()})
            return str(error)
        failure.unlink(missing_ok=True)
    write_table(table)
    return None


def _measured_already(path: Path, table: Table) -> str:
    unknown = read_record(path).unknown_sections(table.config.evaluation)
    if not unknown:
        return "measured already"
    sections = " and ".join(f"evaluation.{name}" for name in unknown)
    return f"measured already, without {sections}, which is newer; move {path} away to measure the cell again"


def _require_data(table: Table) -> None:
    """Raise MedlangevinError when none of the image sets and crops that the cells still need can be read."""
    wanted = [cell.config for cell in table.selected if not record_path(table.out, cell.id).is_file()]
    problems = []
    for data in dict.fromkeys(config.images or Path(config.data.root) for config in wanted):
        try:
            _ = read_index(data) if isinstance(data, Path) else load_splits(data)
            return
        except MedlangevinError as error:
            problems.append(error)
    if problems:
        raise problems[0]
