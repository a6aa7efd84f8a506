"""The cells of a table: one training each, with its whole configuration checked."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from medlangevin.config import Config, parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.run import IMAGE_SETS
from medlangevin.papers.table.schema import Settings, TableConfig
from medlangevin.system.errors import MedlangevinError

_NO_DIGITS = tuple(name for name in IMAGE_SETS if "mnist" not in name)


class Cell(NamedTuple):
    """One training of the table: a model on a data set with a seed.

    Attributes:
        id: What the cell, its run and its record are called.
        row: The model, as the table calls it.
        data_set: The data set, as the table calls it.
        seed: The seed.
        config: What trains it to OUT/runs/``id``.
    """

    id: str
    row: str
    data_set: str
    seed: int
    config: Config


def cell_id(row: str, data_set: str, seed: int) -> str:
    """What a cell, its run and its record are called.

    Args:
        row: The name of the row.
        data_set: The name of the data set.
        seed: The seed.

    Returns:
        For example ``vae-mnist-seed0``.
    """
    return f"{row}-{data_set}-seed{seed}"


def make_cells(
    table: TableConfig, out: Path, *, source: str, place: Mapping[str, Any] | None = None
) -> tuple[Cell, ...]:
    """Make the cells of a table in its order: data set by data set, row by row, seed by seed.

    Args:
        table: The table.
        out: Its folder; the cells are trained in ``out``/runs.
        source: The file of the table, for errors.
        place: Settings of images or crops (``root``, ``download``) that win over those of the file.

    Returns:
        All cells.

    Raises:
        MedlangevinError: When a cell's configuration is not valid; one line that names row, data set and key.
    """
    return tuple(
        _make_cell(table, row, data_set, seed, out, source, dict(place or {}))
        for data_set in table.data_sets
        for row, settings in table.rows.items()
        for seed in settings.seeds.get(data_set, ())
    )


def select(cells: tuple[Cell, ...], patterns: Sequence[str]) -> tuple[Cell, ...]:
    """Choose cells by their ids.

    Args:
        cells: The cells to choose from.
        patterns: Patterns of ids (``*``, ``?``, ``[abc]``).

    Returns:
        The cells whose id matches any of the patterns; all cells where there are no patterns.

    Raises:
        MedlangevinError: For a pattern that matches no cell.
    """
    for pattern in patterns:
        if not any(fnmatchcase(cell.id, pattern) for cell in cells):
            raise MedlangevinError(f"--only {pattern} matches no cell; cells: {', '.join(cell.id for cell in cells)}")
    return tuple(cell for cell in cells if not patterns or any(fnmatchcase(cell.id, only) for only in patterns))


def merge(*mappings: dict[str, Any]) -> dict[str, Any]:
    """Merge mappings into one.

    Args:
        mappings: The mappings; none of them is changed.

    Returns:
        Mappings inside are merged key by key; of anything else the last one wins.
    """
    merged: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            before = merged.get(key)
            merged[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _make_cell(
    table: TableConfig, row: str, data_set: str, seed: int, out: Path, source: str, place: dict[str, Any]
) -> Cell:
    name, own = cell_id(row, data_set, seed), table.rows[row]
    parts = (table.base, table.data_sets[data_set], own, own.data_sets.get(data_set, Settings()))
    settings = merge(*({name: getattr(part, name) for name in Settings.model_fields} for part in parts))
    settings = {name: section for name, section in settings.items() if section}
    where = f"{source}, row {row}, data set {data_set}"
    kind = "data" if "data" in settings else "images"
    if kind == "data" and "download" in place:
        raise MedlangevinError(f"{where}: crops are not downloaded; leave --download out")
    own_keys = {"name": name, "output_dir": str(out / "runs"), "seed": seed}
    config = parse_config(merge({kind: {}}, settings, {kind: place}) | own_keys, source=where)
    problem = _unmeasurable(config, table.evaluation)
    if problem is not None:
        raise MedlangevinError(f"{where}: {problem}")
    return Cell(name, row, data_set, seed, config)


def _unmeasurable(config: Config, evaluation: ImageEvaluation) -> str | None:
    """What would come out only after hours of training."""
    if config.training.devices * config.training.nodes > 1:
        return (
            "a cell is trained in one process, not in training.devices x training.nodes; "
            "run the command several times to train several cells at once"
        )
    if config.images is None:
        if evaluation.inception is not None:
            return "evaluation.inception is for digits, not for crops of ears; leave it out"
        for name in ("evidence", "importance", "annealing"):
            section = getattr(evaluation, name)
            if section is not None and "images" in section.model_fields_set:
                return f"evaluation.{name}.images has no effect on ears, as all are measured"
        return None
    if evaluation.split == "validation" and config.images.train_on == "all":
        return "images.train_on is all, so there are no validation images; set evaluation.split to test"
    if evaluation.inception is not None and config.images.set in _NO_DIGITS:
        return (
            f"evaluation.inception is for digits, not for {config.images.set}; leave it out or give this "
            "data set a table of its own"
        )
    return None
