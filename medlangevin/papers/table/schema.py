"""The schema of a table: which models on which image sets or crops with which seeds, and what is measured."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.fields import Float, Integer, Section
from medlangevin.config.load import check, read_mapping
from medlangevin.config.run import IMAGE_SETS


class Column(NamedTuple):
    """A figure as a column of the table.

    Attributes:
        label: The heading.
        better: Which values are better, where models can be ranked by the figure.
        needs: The section of the evaluation without which there is no such figure.
    """

    label: str
    better: Literal["lower", "higher"] | None = None
    needs: str | None = None


# What evaluation/images.py measures, and then what the training has on record.
COLUMNS = {
    "negative_elbo": Column("negative ELBO, nats", "lower"),
    "nll": Column("NLL, nats", "lower", "evidence"),
    "nll_encoder": Column("NLL by the encoder's samples, nats", "lower", "importance"),
    "nll_ais": Column("decoder NLL by AIS, nats", "lower", "annealing"),
    "negative_elbo_per_dim": Column("negative ELBO, nats per dimension", "lower"),
    "nll_per_dim": Column("NLL, nats per dimension", "lower", "evidence"),
    "nll_encoder_per_dim": Column("NLL by the encoder's samples, nats per dimension", "lower", "importance"),
    "nll_ais_per_dim": Column("decoder NLL by AIS, nats per dimension", "lower", "annealing"),
    "variance_explained": Column("variance explained", "higher", "evidence"),
    "variance_explained_encoder": Column("variance explained by the encoder's latent", "higher", "evidence"),
    "effective_sample_size": Column("effective samples of the NLL", needs="evidence"),
    "ais_effective_sample_size": Column("effective chains of AIS", needs="annealing"),
    "ais_acceptance": Column("acceptance of AIS", needs="annealing"),
    "inception_score": Column("Inception Score", "higher", "inception"),
    "fid": Column("FID", "lower", "inception"),
    "acceptance": Column("acceptance, last epoch"),
    "first_epoch_acceptance": Column("acceptance, first epoch"),
    "seconds_per_epoch": Column("seconds per epoch"),
    "training_minutes": Column("training, minutes"),
    "epochs": Column("epochs"),
    "best_epoch": Column("best epoch"),
    "step_size": Column("step size, last epoch"),
    "weight_norm": Column("weight norm, last epoch"),
}
FigureName = Literal[*COLUMNS]  # type: ignore[valid-type]


def _one_line(text: str) -> str:
    if "\n" in text.strip():
        raise ValueError("one line is needed, not several")
    if not text.strip():
        raise ValueError("it is empty")
    return text.strip()


def _different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is given twice")
    return values


# Cells are called <row>-<data set>-seed<k>, so a hyphen inside would make two cells of one name.
Word = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")]
Line = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Seed = Annotated[Integer, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_different)]
Figures = Annotated[tuple[FigureName, ...], Field(min_length=1), AfterValidator(_different)]
Controls = Annotated[tuple[Word, ...], AfterValidator(_different)]


class Settings(Section):
    """A part of a training configuration. What it does not give comes from the parts that are merged before it.

    Attributes:
        images: The section ``images``.
        data: The section ``data``: crops of ears, in place of images.
        model: The section ``model``.
        training: The section ``training``.
    """

    images: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class RowConfig(Settings):
    """One model of the table.

    Attributes:
        label: The model's name in the table.
        data_sets: Settings for one data set alone.
        seeds: The seeds that are trained on each data set; none on a data set that is not named.
        published: Figures of each data set to show beside the measured ones.
    """

    label: Line
    data_sets: dict[Word, Settings] = Field(default_factory=dict)
    seeds: dict[Word, Seeds] = Field(default_factory=dict)
    published: dict[Word, dict[FigureName, Float]] = Field(default_factory=dict)


class TableConfig(Section):
    """A grid of cells, each a row (one model) on a data set with a seed.

    A cell's training is ``base``, its data set, its row, and the row's own settings for the data set, merged in this
    order.

    Attributes:
        name: What the table is called; a folder holds one table.
        title: The heading of table.md.
        note: Text below the figures.
        figures: The columns, in order.
        base: What all cells share.
        evaluation: What is measured of each cell.
        data_sets: The data sets by name, in the order in which they are shown.
        rows: The models by name, in the order in which they are shown.
        controls: Rows that every other row is compared with, image by image.
    """

    name: Word
    title: Line
    note: str = ""
    figures: Figures
    base: Settings = Settings()
    evaluation: ImageEvaluation = ImageEvaluation()
    data_sets: Annotated[dict[Word, Settings], Field(min_length=1)]
    rows: Annotated[dict[Word, RowConfig], Field(min_length=1)]
    controls: Controls = ()

    @property
    def shown_data_sets(self) -> tuple[str, ...]:
        """The data sets in order, and then those that have published figures alone."""
        published = (name for row in self.rows.values() for name in row.published)
        return tuple(dict.fromkeys((*self.data_sets, *published)))

    @model_validator(mode="after")
    def _is_consistent(self) -> "TableConfig":
        problem = next(self._problems(), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        for figure in self.figures:
            needed = COLUMNS[figure].needs
            if needed is not None and getattr(self.evaluation, needed) is None:
                yield f"figures: {figure} needs a section evaluation.{needed}"
        for control in self.controls:
            if control not in self.rows:
                yield f"controls: no row is called '{control}'; rows: {', '.join(self.rows)}"
        known = ", ".join(self.data_sets)
        for name, row in self.rows.items():
            for key in ("data_sets", "seeds"):
                for data_set in getattr(row, key):
                    if data_set not in self.data_sets:
                        yield f"rows.{name}.{key}: no data set is called '{data_set}'; data_sets: {known}"
            for data_set, figures in row.published.items():
                if data_set not in (*self.data_sets, *IMAGE_SETS):
                    yield (
                        f"rows.{name}.published: no data set is called '{data_set}'; data_sets: {known}; "
                        f"or one that is not measured: {', '.join(IMAGE_SETS)}"
                    )
                for figure in figures:
                    if figure not in self.figures:
                        yield f"rows.{name}.published.{data_set}: {figure} is not among the figures"
        if not any(row.seeds for row in self.rows.values()):
            yield "no row has seeds, so there is nothing to measure"


def load_table(path: Path | str) -> TableConfig:
    """Read and check the YAML file of a table.

    Args:
        path: The file, or where there is none the name of a packaged table, such as smoke.

    Returns:
        The table.

    Raises:
        MedlangevinError: One line with the file, the key and what is wrong.
    """
    raw = read_mapping(Path(path), TableConfig, aliases=True, packaged="configs/benchmarks")
    return check(TableConfig, raw, source=str(path))
