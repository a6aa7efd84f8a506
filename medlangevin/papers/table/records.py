"""What is known of a measured cell: one JSON file, which may also come from another machine."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from medlangevin.config import Config, parse_config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.fields import Count, Float, Integer, Section
from medlangevin.config.load import check, flat
from medlangevin.config.run import PLACES
from medlangevin.evaluation.figure import Figure
from medlangevin.papers.table.cells import Cell, cell_id
from medlangevin.papers.table.folder import CELLS, FAILURES
from medlangevin.papers.table.schema import COLUMNS
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, reading, write_json


class RecordedFigure(Section):
    """An evaluation's Figure as a record holds it: the same fields, checked."""

    mean: Float
    standard_error: Annotated[Float, Field(ge=0)] | None
    count: Count
    values: tuple[Float, ...] | None = None

    @model_validator(mode="after")
    def _values_are_counted(self) -> "RecordedFigure":
        if self.values is not None and len(self.values) != self.count:
            raise ValueError(f"count is {self.count}, but there are {len(self.values)} values")
        return self


class Record(Section):
    """What is known of one measured cell: the content of its JSON file.

    Attributes:
        id: The cell's id; with ``row``, ``data_set`` and ``seed`` of the cell.
        figures: What was measured, by name.
        epochs: Epochs that were trained.
        seconds: Seconds of training, all sessions together.
        device: Where the cell was trained.
        torch: The version of torch.
        date: When it was measured, UTC.
        command: The command that measures it.
        images_sha256: Of the image set, all splits, or of which ears, as data.json of the run has it.
        configuration: The training's configuration without the places of this machine.
        evaluation: The settings of the evaluation.
    """

    format: Literal[1]
    id: str
    row: str
    data_set: str
    seed: Annotated[Integer, Field(ge=0)]
    figures: dict[str, RecordedFigure]
    epochs: Count
    seconds: Annotated[Float, Field(ge=0)]
    device: str
    torch: str
    date: str
    command: str
    images_sha256: str
    configuration: dict[str, Any]
    evaluation: dict[str, Any]

    @model_validator(mode="after")
    def _what_it_is_judged_on_can_be_read(self) -> "Record":
        for place in ("images", "model", "model.likelihood"):
            section: Any = self.configuration
            for key in place.split("."):
                section = section.get(key, {})
                if not isinstance(section, dict):
                    raise ValueError(f"configuration.{place} is not a section of keys")
        return self

    def measured(self, figure: str) -> bool:
        """Tell whether a figure was measured, so that the model has none where the record has none.

        Args:
            figure: Its name.

        Returns:
            Whether the evaluation had the section that the figure needs.
        """
        section = _section_of(figure)
        return section is None or self.evaluation.get(section) is not None

    def judged_on(self, figure: str) -> tuple[Any, ...]:
        """What has to be equal for a figure of two records to be compared.

        Args:
            figure: Its name.

        Returns:
            The images, as the models saw them, and how the figure is measured.
        """
        images, model = self.configuration.get("images", {}), self.configuration.get("model", {})
        measure = self.evaluation.get("split"), self.evaluation.get(_section_of(figure) or "elbo_draws")
        return self.images_sha256, images.get("binarization"), model.get("likelihood", {}).get("kind"), *measure

    def unknown_sections(self, evaluation: ImageEvaluation) -> tuple[str, ...]:
        """The sections of an evaluation that did not exist yet when the record was made.

        Args:
            evaluation: How the table measures now.

        Returns:
            Their names.
        """
        return tuple(name for name, value in evaluation if isinstance(value, Section) and name not in self.evaluation)


def _section_of(figure: str) -> str | None:
    return COLUMNS[figure].needs if figure in COLUMNS else None


def new_record(cell: Cell, evaluation: ImageEvaluation, figures: dict[str, Figure], **known: Any) -> Record:
    """Put together the record of a cell that has just been measured.

    Args:
        cell: The cell.
        evaluation: How it was measured.
        figures: What was measured.
        known: The other fields of the record.

    Returns:
        The record.

    Raises:
        MedlangevinError: For a figure that is NaN or infinite.
    """
    for name, figure in figures.items():
        if not all(math.isfinite(value) for value in (figure.mean, figure.standard_error or 0.0)):
            raise MedlangevinError(f"the figure {name} of {cell.id} is not finite; train it again")
    named = {name: getattr(cell, name) for name in ("id", "row", "data_set", "seed")}
    return Record(
        format=1,
        **named,
        figures={name: RecordedFigure(**figure.as_json()) for name, figure in figures.items()},
        configuration=described(cell.config),
        evaluation=evaluation.model_dump(mode="json"),
        **known,
    )


def record_path(out: Path, cell_id: str) -> Path:
    """Where the record of a cell lives.

    Args:
        out: The folder of the table.
        cell_id: The cell.

    Returns:
        OUT/cells/ID.json, which need not exist.
    """
    return out / CELLS / f"{cell_id}.json"


def write_record(out: Path, record: Record) -> None:
    """Write OUT/cells/ID.json in one go.

    Args:
        out: The folder of the table.
        record: The record.
    """
    write_json(record_path(out, record.id), record.model_dump(mode="json", exclude_unset=True))


def read_record(path: Path) -> Record:
    """Read a record.

    Args:
        path: Its file.

    Returns:
        The record.

    Raises:
        MedlangevinError: When the file is damaged or of another cell; the error names it.
    """
    advice = f"restore {path}, or delete it to measure the cell again"
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise MedlangevinError(f"{path} is damaged; {advice}")
    try:
        record = check(Record, raw, source=str(path))
    except MedlangevinError as error:
        raise MedlangevinError(f"{error}; {advice}") from error
    if record.id != path.stem:
        raise MedlangevinError(f"{path} is the record of the cell {record.id}; call the file {record.id}.json")
    if record.id != cell_id(record.row, record.data_set, record.seed):
        raise MedlangevinError(f"{path}: row, data_set and seed are not those of {record.id}; {advice}")
    return record


def read_records(out: Path, cells: tuple[Cell, ...]) -> dict[str, Record]:
    """Read the records that there are.

    Args:
        out: The folder of the table.
        cells: The cells of the table.

    Returns:
        The records of the measured cells by the cells' ids.

    Raises:
        MedlangevinError: For a damaged one.
    """
    paths = {cell.id: record_path(out, cell.id) for cell in cells}
    return {name: read_record(path) for name, path in paths.items() if path.is_file()}


def require_same(record: Record, cell: Cell, evaluation: ImageEvaluation, path: Path) -> None:
    """Check that a record was measured with the configuration that its cell has now.

    The record is read with the present schema, so that a setting that is new since then has its default. A section of
    the evaluation that is new since then adds figures, which the record lacks, and changes none that it has.

    Args:
        record: The record.
        cell: Its cell.
        evaluation: How the table measures now.
        path: The file of the record, for errors.

    Raises:
        MedlangevinError: When a setting differs; the error names it.
    """
    configuration = parse_config({**record.configuration, "output_dir": "runs"}, source=f"{path}, configuration")
    measured = check(ImageEvaluation, record.evaluation, source=f"{path}, evaluation")
    wanted = evaluation.model_copy(update=dict.fromkeys(record.unknown_sections(evaluation)))
    before = described(configuration) | {"evaluation": measured.model_dump(mode="json")}
    difference = first_difference(before, described(cell.config) | {"evaluation": wanted.model_dump(mode="json")})
    if difference is not None:
        raise MedlangevinError(
            f"{path} was measured with {difference}; set it back, choose another --out, or move the "
            f"file{'' if difference.startswith('evaluation.') else ' and the run'} away to measure the cell again"
        )


def described(config: Config) -> dict[str, Any]:
    """Describe a training but for where it is trained.

    Args:
        config: The configuration of the training.

    Returns:
        The whole configuration without folders of this machine and without the accelerator.
    """
    settings = config.model_dump(mode="json")
    images = settings.get("images", {})
    if images.get("set", "").endswith(".npz"):
        images["set"] = Path(images["set"]).name
    for place in PLACES:
        section, _, key = place.rpartition(".")
        (settings.get(section, {}) if section else settings).pop(key, None)
    return settings


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Compare two configurations.

    Args:
        before: The former one.
        now: The one of the table.

    Returns:
        The first key, dotted, in which they differ, and its two values (None where it is absent), as errors say it.
    """
    old, new = flat(before), flat(now)
    differing = (key for key in dict.fromkeys((*new, *old)) if old.get(key) != new.get(key))
    return next((f"{key} = {old.get(key)}, the table has {new.get(key)}" for key in differing), None)


def failure_path(out: Path, cell_id: str) -> Path:
    """Where it is kept why a cell failed, until it is measured after all.

    Args:
        out: The folder of the table.
        cell_id: The cell.

    Returns:
        OUT/failures/ID.json, which need not exist.
    """
    return out / FAILURES / f"{cell_id}.json"


def read_failures(out: Path, cells: tuple[Cell, ...]) -> dict[str, str]:
    """Read why cells failed.

    Args:
        out: The folder of the table.
        cells: The cells of the table.

    Returns:
        The reasons by the cells' ids, of those that failed and have not been measured since.

    Raises:
        MedlangevinError: When a file is damaged.
    """
    paths = {cell.id: failure_path(out, cell.id) for cell in cells if not record_path(out, cell.id).is_file()}
    with reading(f"a file in {out / FAILURES}", "delete that folder"):
        return {name: str(read_json(path)["reason"]) for name, path in paths.items() if path.is_file()}
