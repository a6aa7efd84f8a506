"""What is known of a measured cell: one JSON file, which may also come from another machine."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from medlangevin.config import Config, parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.load import check
from medlangevin.errors import MedlangevinError
from medlangevin.evaluation.benchmark.cells import Cell
from medlangevin.evaluation.benchmark.folder import CELLS, FAILURES
from medlangevin.evaluation.figure import Figure
from medlangevin.io import read_json, write_json

FORMAT = 1
# Where a cell was trained is not part of what was measured.
_PLACES = ("output_dir", "images.root", "images.download", "training.accelerator")


class Record(NamedTuple):
    """A measured cell. ``seconds``: of training, all sessions together; ``date``: UTC, when it was measured."""

    id: str
    row: str
    data_set: str
    seed: int
    figures: dict[str, Figure]
    epochs: int
    seconds: float
    device: str
    torch: str
    date: str
    command: str
    configuration: dict[str, Any]
    evaluation: dict[str, Any]


def record_path(out: Path, cell_id: str) -> Path:
    """Where the record of a cell lives."""
    return out / CELLS / f"{cell_id}.json"


def write_record(out: Path, record: Record) -> None:
    """Write OUT/cells/<id>.json in one go. Raises MedlangevinError for a figure that is NaN or infinite."""
    for name, figure in record.figures.items():
        if not all(math.isfinite(value) for value in (figure.mean, figure.standard_error or 0.0)):
            raise MedlangevinError(f"the figure {name} of {record.id} is not finite; train it again")
    figures = {name: figure.as_json() for name, figure in record.figures.items()}
    write_json(record_path(out, record.id), {"format": FORMAT, **record._asdict(), "figures": figures})


def read_record(path: Path) -> Record:
    """Read a record. Raises MedlangevinError that names the file when it is damaged or of another cell."""
    raw = read_json(path)
    try:
        if raw.pop("format") != FORMAT:
            raise MedlangevinError(f"{path} has another format than this version reads; measure the cell again")
        figures = {name: _figure(value) for name, value in raw.pop("figures").items()}
        record = Record(**raw, figures=figures)
        record = record._replace(seed=int(record.seed), epochs=int(record.epochs), seconds=float(record.seconds))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MedlangevinError(f"{path} is damaged; restore it, or delete it to measure the cell again") from error
    if record.id != path.stem:
        raise MedlangevinError(f"{path} is the record of the cell {record.id}; call the file {record.id}.json")
    return record


def read_records(out: Path, cells: tuple[Cell, ...]) -> dict[str, Record]:
    """The records that there are, by the id of the cell. Raises MedlangevinError for a damaged one."""
    paths = {cell.id: record_path(out, cell.id) for cell in cells}
    return {name: read_record(path) for name, path in paths.items() if path.is_file()}


def require_same(record: Record, cell: Cell, evaluation: ImageEvaluation, path: Path) -> None:
    """Raise MedlangevinError unless ``record`` was measured with the configuration that ``cell`` has now.

    Read with the present schema, so that a setting that is new since then has its default.
    """
    configuration = parse_config({**record.configuration, "output_dir": "runs"}, source=f"{path}, configuration")
    measured = check(ImageEvaluation, record.evaluation, source=f"{path}, evaluation")
    before = described(configuration) | {"evaluation": measured.model_dump(mode="json")}
    difference = first_difference(before, described(cell.config) | {"evaluation": evaluation.model_dump(mode="json")})
    if difference is not None:
        key, old, new = difference
        raise MedlangevinError(
            f"{path} was measured with {key} = {old}, the table has {new}; set it back, choose another --out, or "
            f"move the file{'' if key.startswith('evaluation.') else ' and the run'} away to measure the cell again"
        )


def described(config: Config) -> dict[str, Any]:
    """The whole configuration but for where it is trained: no folders of this machine, no accelerator."""
    settings = config.model_dump(mode="json")
    images = settings.get("images", {})
    if images.get("set", "").endswith(".npz"):
        images["set"] = Path(images["set"]).name
    for place in _PLACES:
        section, _, key = place.rpartition(".")
        (settings.get(section, {}) if section else settings).pop(key, None)
    return settings


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """The first key, dotted, in which two configurations differ, and its two values (None: not there)."""
    old, new = _flat(before), _flat(now)
    for key in dict.fromkeys((*new, *old)):
        if old.get(key) != new.get(key):
            return key, old.get(key), new.get(key)
    return None


def write_failure(out: Path, cell_id: str, reason: str, date: str) -> None:
    """Put on record why a cell failed; it is tried again the next time."""
    write_json(_failure_path(out, cell_id), {"id": cell_id, "reason": reason, "date": date})


def forget_failure(out: Path, cell_id: str) -> None:
    """The cell has been measured after all."""
    _failure_path(out, cell_id).unlink(missing_ok=True)


def read_failures(out: Path, cells: tuple[Cell, ...]) -> dict[str, str]:
    """Why cells failed, by their id, of those that did and have not been measured since."""
    paths = {cell.id: _failure_path(out, cell.id) for cell in cells if not record_path(out, cell.id).is_file()}
    try:
        return {name: str(read_json(path)["reason"]) for name, path in paths.items() if path.is_file()}
    except (KeyError, TypeError) as error:
        raise MedlangevinError(f"a file in {out / FAILURES} is damaged; delete that folder") from error


def _failure_path(out: Path, cell_id: str) -> Path:
    return out / FAILURES / f"{cell_id}.json"


def _figure(raw: dict[str, Any]) -> Figure:
    error = raw["standard_error"]
    values = raw.get("values")
    kept = None if values is None else tuple(float(value) for value in values)
    return Figure(float(raw["mean"]), None if error is None else float(error), int(raw["count"]), kept)


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
