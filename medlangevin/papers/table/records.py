"""What is known of a measured cell: one JSON file, which may also come from another machine."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from medlangevin.config import Config, parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.fields import Count, Float, Integer, Section
from medlangevin.config.load import check, flat
from medlangevin.config.run import PLACES
from medlangevin.evaluation.figure import Figure
from medlangevin.papers.table.cells import Cell, cell_id
from medlangevin.papers.table.folder import CELLS, FAILURES
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, write_json

FORMAT = 1


class Record(NamedTuple):
    """A measured cell. ``seconds``: of training, all sessions together; ``date``: UTC, when it was measured;
    ``images_sha256``: of the image set, all splits, or of which ears, as data.json of the run has it.
    """

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
    images_sha256: str
    configuration: dict[str, Any]
    evaluation: dict[str, Any]

    def judged_on(self) -> tuple[Any, ...]:
        """What has to be equal for two records to be compared: the images, as the models saw them, and the measure."""
        images, model = self.configuration.get("images", {}), self.configuration.get("model", {})
        return self.images_sha256, images.get("binarization"), model.get("likelihood", {}).get("kind"), self.evaluation


def record_path(out: Path, cell_id: str) -> Path:
    """Where the record of a cell lives."""
    return out / CELLS / f"{cell_id}.json"


def write_record(out: Path, record: Record) -> None:
    """Write OUT/cells/ID.json in one go. Raises MedlangevinError for a figure that is NaN or infinite."""
    for name, figure in record.figures.items():
        if not all(math.isfinite(value) for value in (figure.mean, figure.standard_error or 0.0)):
            raise MedlangevinError(f"the figure {name} of {record.id} is not finite; train it again")
    figures = {name: figure.as_json() for name, figure in record.figures.items()}
    write_json(record_path(out, record.id), {"format": FORMAT, **record._asdict(), "figures": figures})


class _FigureFile(Section):
    mean: Float
    standard_error: Annotated[Float, Field(ge=0)] | None
    count: Count
    values: tuple[Float, ...] | None = None

    @model_validator(mode="after")
    def _values_are_counted(self) -> "_FigureFile":
        if self.values is not None and len(self.values) != self.count:
            raise ValueError(f"count is {self.count}, but there are {len(self.values)} values")
        return self


class _RecordFile(Section):
    format: Literal[1]
    id: str
    row: str
    data_set: str
    seed: Annotated[Integer, Field(ge=0)]
    figures: dict[str, _FigureFile]
    epochs: Count
    seconds: Annotated[Float, Field(ge=0)]
    device: str
    torch: str
    date: str
    command: str
    images_sha256: str
    configuration: dict[str, Any]
    evaluation: dict[str, Any]


def read_record(path: Path) -> Record:
    """Read a record. Raises MedlangevinError that names the file when it is damaged or of another cell."""
    advice = f"restore {path}, or delete it to measure the cell again"
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise MedlangevinError(f"{path} is damaged; {advice}")
    try:
        stored = check(_RecordFile, raw, source=str(path))
    except MedlangevinError as error:
        raise MedlangevinError(f"{error}; {advice}") from error
    if stored.id != path.stem:
        raise MedlangevinError(f"{path} is the record of the cell {stored.id}; call the file {stored.id}.json")
    if stored.id != cell_id(stored.row, stored.data_set, stored.seed):
        raise MedlangevinError(f"{path}: row, data_set and seed are not those of {stored.id}; {advice}")
    figures = {name: Figure(*(value for _, value in figure)) for name, figure in stored.figures.items()}
    fields = {name: value for name, value in stored if name not in ("format", "figures")}
    return Record(**fields, figures=figures)


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
    for place in PLACES:
        section, _, key = place.rpartition(".")
        (settings.get(section, {}) if section else settings).pop(key, None)
    return settings


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """The first key, dotted, in which two configurations differ, and its two values (None: not there)."""
    old, new = flat(before), flat(now)
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
