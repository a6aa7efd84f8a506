"""The cells of a table: one training each, with its whole configuration checked."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from medlangevin.config import Config, parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.run import IMAGE_SETS
from medlangevin.papers.table.schema import BenchmarkConfig, RowConfig, Settings
from medlangevin.system.errors import MedlangevinError

_NO_DIGITS = tuple(name for name in IMAGE_SETS if "mnist" not in name)


class Cell(NamedTuple):
    """One model (``row``) on one data set with one seed; ``config`` trains it to OUT/runs/``id``."""

    id: str
    row: str
    data_set: str
    seed: int
    config: Config


def make_cells(
    table: BenchmarkConfig, out: Path, *, source: str, place: Mapping[str, Any] | None = None
) -> tuple[Cell, ...]:
    """The cells of ``table`` in its order: data set by data set, row by row, seed by seed.

    ``source``: the file of the table, for errors; ``place``: settings of images or crops (``root``, ``download``) that
    win over those of the file. Raises MedlangevinError, one line that names row, data set and key, when a cell's
    configuration is not valid.
    """
    return tuple(
        _make_cell(table, row, data_set, seed, out, source, dict(place or {}))
        for data_set in table.data_sets
        for row in table.rows
        for seed in table.rows[row].seeds.get(data_set, ())
    )


def select(cells: tuple[Cell, ...], patterns: Iterable[str]) -> tuple[Cell, ...]:
    """The cells whose id matches any of ``patterns`` (*, ?, [abc]); all of them where there are none.

    Raises MedlangevinError for a pattern that matches no cell.
    """
    patterns = tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(cell.id, pattern) for cell in cells):
            raise MedlangevinError(f"--only {pattern} matches no cell; cells: {', '.join(cell.id for cell in cells)}")
    return tuple(cell for cell in cells if not patterns or any(fnmatchcase(cell.id, pattern) for pattern in patterns))


def _make_cell(
    table: BenchmarkConfig, row: str, data_set: str, seed: int, out: Path, source: str, place: dict[str, Any]
) -> Cell:
    name = cell_id(row, data_set, seed)
    settings = merge(*(_given(part) for part in _parts(table, table.rows[row], data_set)))
    where = f"{source}, row {row}, data set {data_set}"
    kind = "data" if "data" in settings else "images"
    if kind == "data" and "download" in place:
        raise MedlangevinError(f"{where}: crops are not downloaded; leave --download out")
    raw = {**merge({kind: {}}, settings, {kind: place}), "name": name, "output_dir": str(out / "runs"), "seed": seed}
    config = parse_config(raw, source=where)
    _require_measurable(config, table.evaluation, where)
    return Cell(name, row, data_set, seed, config)


def _require_measurable(config: Config, evaluation: ImageEvaluation, where: str) -> None:
    """Raise MedlangevinError for what would come out only after hours of training."""
    if config.training.devices * config.training.nodes > 1:
        raise MedlangevinError(
            f"{where}: a cell is trained in one process, not in training.devices x training.nodes; "
            "run the command several times to train several cells at once"
        )
    if config.images is None:
        _require_measurable_ears(evaluation, where)
        return
    if evaluation.split == "validation" and config.images.train_on == "all":
        raise MedlangevinError(
            f"{where}: images.train_on is all, so there are no validation images; set evaluation.split to test"
        )
    if evaluation.inception is not None and config.images.set in _NO_DIGITS:
        raise MedlangevinError(
            f"{where}: evaluation.inception is for digits, not for {config.images.set}; leave it out or give this "
            "data set a table of its own"
        )


def _require_measurable_ears(evaluation: ImageEvaluation, where: str) -> None:
    if evaluation.inception is not None:
        raise MedlangevinError(f"{where}: evaluation.inception is for digits, not for crops of ears; leave it out")
    for name in ("importance", "annealing"):
        section = getattr(evaluation, name)
        if section is not None and "images" in section.model_fields_set:
            raise MedlangevinError(f"{where}: evaluation.{name}.images has no effect on ears, as all are measured")


def _parts(table: BenchmarkConfig, row: RowConfig, data_set: str) -> tuple[Settings, ...]:
    return table.base, table.data_sets[data_set], row, row.data_sets.get(data_set, Settings())


def _given(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in Settings.model_fields if getattr(settings, name)}


def cell_id(row: str, data_set: str, seed: int) -> str:
    """What a cell, its run and its record are called."""
    return f"{row}-{data_set}-seed{seed}"


def merge(*mappings: dict[str, Any]) -> dict[str, Any]:
    """One mapping of several: mappings inside are merged key by key, of anything else the last one wins."""
    merged: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            before = merged.get(key)
            both = isinstance(before, dict) and isinstance(value, dict)
            merged[key] = merge(before, value) if both else value  # type: ignore[arg-type]
    return merged
