"""The schema of a benchmark table: which models on which image sets or crops with which seeds, and what is measured."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.fields import Float, Integer, Section
from medlangevin.config.load import check, read_mapping
from medlangevin.config.run import IMAGE_SETS

# What evaluation/images.py measures, and then what the training has on record.
FigureName = Literal[
    "negative_elbo",
    "nll",
    "nll_ais",
    "negative_elbo_per_dim",
    "nll_per_dim",
    "nll_ais_per_dim",
    "ais_effective_sample_size",
    "ais_acceptance",
    "inception_score",
    "fid",
    "acceptance",
    "first_epoch_acceptance",
    "seconds_per_epoch",
    "training_minutes",
    "epochs",
    "best_epoch",
    "step_size",
    "weight_norm",
]
FIGURES: tuple[str, ...] = get_args(FigureName)
_NEEDS: dict[str, str] = {
    "nll": "importance",
    "nll_per_dim": "importance",
    "nll_ais": "annealing",
    "nll_ais_per_dim": "annealing",
    "ais_effective_sample_size": "annealing",
    "ais_acceptance": "annealing",
    "inception_score": "inception",
    "fid": "inception",
}


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
    """A part of a training configuration: what is not given comes from the parts merged before it.

    ``data``: crops of ears, in place of ``images``.
    """

    images: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class RowConfig(Settings):
    """One model of the table.

    ``data_sets``: settings for one data set alone; ``seeds``: which seeds are trained on which data set, and none on a
    data set that is not named; ``published``: figures to show beside the measured ones.
    """

    label: Line
    data_sets: dict[Word, Settings] = Field(default_factory=dict)
    seeds: dict[Word, Seeds] = Field(default_factory=dict)
    published: dict[Word, dict[FigureName, Float]] = Field(default_factory=dict)


class BenchmarkConfig(Section):
    """A table. A cell's training is ``base``, its data set, its row, and the row's own settings for the data set,
    merged in this order.

    ``figures``: the columns, in order. ``data_sets`` and ``rows`` are shown in the order given. ``controls``: rows that
    every other row is compared with, image by image.
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
    def _figures_are_measured(self) -> "BenchmarkConfig":
        for name in self.figures:
            section = _NEEDS.get(name)
            if section is not None and getattr(self.evaluation, section) is None:
                raise ValueError(f"figures: {name} needs a section evaluation.{section}")
        return self

    @model_validator(mode="after")
    def _controls_are_rows(self) -> "BenchmarkConfig":
        unknown = next((name for name in self.controls if name not in self.rows), None)
        if unknown is not None:
            raise ValueError(f"controls: no row is called '{unknown}'; rows: {', '.join(self.rows)}")
        return self

    @model_validator(mode="after")
    def _data_sets_are_known(self) -> "BenchmarkConfig":
        known = ", ".join(self.data_sets)
        for name, row in self.rows.items():
            for key, named in (("data_sets", row.data_sets), ("seeds", row.seeds)):
                unknown = next((one for one in named if one not in self.data_sets), None)
                if unknown is not None:
                    raise ValueError(f"rows.{name}.{key}: no data set is called '{unknown}'; data_sets: {known}")
            for data_set, figures in row.published.items():
                if data_set not in (*self.data_sets, *IMAGE_SETS):
                    raise ValueError(
                        f"rows.{name}.published: no data set is called '{data_set}'; data_sets: {known}; "
                        f"or one that is not measured: {', '.join(IMAGE_SETS)}"
                    )
                lost = next((figure for figure in figures if figure not in self.figures), None)
                if lost is not None:
                    raise ValueError(f"rows.{name}.published.{data_set}: {lost} is not among the figures")
        if not any(row.seeds for row in self.rows.values()):
            raise ValueError("no row has seeds, so there is nothing to measure")
        return self


def load_benchmark(path: Path | str) -> BenchmarkConfig:
    """Read and check the YAML file of a table. Raises MedlangevinError with one line: file, key, what is wrong."""
    return check(BenchmarkConfig, read_mapping(Path(path), BenchmarkConfig, aliases=True), source=str(path))
