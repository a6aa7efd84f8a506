"""A table and its folder, checked before anything is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medlangevin.config import load_config
from medlangevin.papers.table import folder, records
from medlangevin.papers.table.cells import Cell, make_cells, select
from medlangevin.papers.table.schema import TableConfig, load_table
from medlangevin.runs.checkpoint import load_state
from medlangevin.runs.folder import CONFIG, checkpoint_folder
from medlangevin.system.errors import MedlangevinError


class Table(NamedTuple):
    """A table and its folder.

    Attributes:
        config: The definition of the table.
        out: Its folder.
        cells: All its cells.
        selected: The cells to work on now.
        command: The command that measures them.
    """

    config: TableConfig
    out: Path
    cells: tuple[Cell, ...]
    selected: tuple[Cell, ...]
    command: str


def prepare(
    config: Path | str,
    out: Path | str,
    *,
    data_root: Path | None = None,
    download: bool = False,
    only: Sequence[str] = (),
) -> Table:
    """Read a table and check the configurations of all its cells; nothing is written.

    Args:
        config: The YAML file of the table.
        out: The folder of the table.
        data_root: Wins over the root of the images or crops in the table.
        download: Wins over images.download of the table.
        only: Patterns of the ids of the cells to work on.

    Returns:
        The table.

    Raises:
        MedlangevinError: For a bad table, a pattern that matches nothing, and a folder of another table; one line.
    """
    out = Path(out)
    table = load_table(config)
    place = ({} if data_root is None else {"root": str(data_root)}) | ({"download": True} if download else {})
    cells = make_cells(table, out, source=str(config), place=place)
    selected = select(cells, only)
    folder.require_ours(out, table)
    root = "" if data_root is None else f" --data-root {_as_typed(data_root)}"
    command = f"medlangevin benchmark {_as_typed(Path(config))} --out {_as_typed(out)}{root}"
    return Table(table, out, cells, selected, command)


def states(table: Table) -> list[tuple[str, str]]:
    """Tell how far the selected cells are.

    Args:
        table: The table.

    Returns:
        Each cell's id and state: measured, failed, trained to epoch k of n, not started, or what is wrong.
    """
    failures = records.read_failures(table.out, table.selected)
    found = []
    for cell in table.selected:
        try:
            require_same_settings(cell, table)
            last = checkpoint_folder(cell.config.run_dir, "last")
            if records.record_path(table.out, cell.id).is_file():
                state = "measured"
            else:
                epoch = load_state(last).epoch if last.is_dir() else 0
                trained = f"trained to epoch {epoch} of {cell.config.training.epochs}" if epoch else "not started"
                state = f"failed: {failures[cell.id]}" if cell.id in failures else trained
        except MedlangevinError as error:
            state = f"cannot go on: {error}"
        found.append((cell.id, state))
    return found


def require_same_settings(cell: Cell, table: Table) -> None:
    """Check that a cell was measured, or is being trained, with the settings that it has now.

    A training may be given more epochs than before where the learning rate does not depend on their number.

    Args:
        cell: The cell.
        table: Its table.

    Raises:
        MedlangevinError: When a setting differs; the error names it.
    """
    path = records.record_path(table.out, cell.id)
    if path.is_file():
        records.require_same(records.read_record(path), cell, table.config.evaluation, path)
        return
    run_dir = cell.config.run_dir
    if not checkpoint_folder(run_dir, "last").is_dir():
        return
    before, wanted = load_config(run_dir / CONFIG), cell.config
    constant = wanted.training.learning_rate_schedule == "constant"
    if constant and before.training.epochs < wanted.training.epochs:
        longer = before.training.model_copy(update={"epochs": wanted.training.epochs})
        before = before.model_copy(update={"training": longer})
    difference = records.first_difference(records.described(before), records.described(wanted))
    if difference is not None:
        raise MedlangevinError(
            f"{run_dir} is being trained with {difference}; set it back, choose another --out, or "
            "move the run away to train the cell again"
        )


def _as_typed(path: Path) -> str:
    """A path as it was given, but for the folders of this machine that a full one begins with."""
    if not path.is_absolute():
        return str(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
