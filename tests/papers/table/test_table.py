"""The numbers of the table: means, uncertainties, digits, what is bold and what is not measured."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medlangevin.papers.table.cells import make_cells
from medlangevin.papers.table.markdown import format_entry, markdown
from medlangevin.papers.table.records import Record
from medlangevin.papers.table.results import Entry, Results, best_row
from medlangevin.papers.table.schema import TableConfig

Values = tuple[float, float | None, int]


@pytest.fixture
def make_results(definition: dict[str, Any], make_record: Callable[..., Record]) -> Callable[..., Results]:
    """``make_results({cell id: {figure: (mean, error, count)}}, failures)``."""

    def make(measured: dict[str, dict[str, Values]], failures: dict[str, str] | None = None) -> Results:
        definition["rows"]["vae"]["seeds"]["dots"] = [0, 1, 2]
        table = TableConfig.model_validate(definition)
        cells = make_cells(table, Path("out"), source="tiny.yaml")
        by_id = {cell.id: cell for cell in cells}
        records = {name: make_record(by_id[name], table, **figures) for name, figures in measured.items()}
        return Results(table, cells, records, failures or {})

    return make


def line_of(text: str, data_set: str, label: str) -> list[str]:
    section = text.split(f"## {data_set}\n")[1].split("\n## ")[0]
    line = next(line for line in section.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize(
    ("entry", "planned", "text"),
    [
        # 1.18, 1.19, 1.23: mean 1.2, sd sqrt((4 + 1 + 9) / 2) / 100 = 0.02646
        (Entry(1.2, 0.0264575, "sd", 3, (1, 1)), 3, "1.200 ± 0.026 (sd, 3 seeds)"),
        (Entry(1.2, 0.0264575, "sd", 3, (1, 1)), 5, "1.200 ± 0.026 (sd, 3 of 5 seeds)"),
        (Entry(83.456, 0.85, "se", 1, (9, 9)), 1, "83.46 ± 0.85 (se, 1 seed)"),
        (Entry(1736.83, 11.506, "se", 1, (9, 9)), 3, "1737 ± 12 (se, 1 of 3 seeds)"),
        (Entry(1736.83, 314.2, "se", 1, (9, 9)), 1, "1737 ± 314 (se, 1 seed)"),
        (Entry(1.18851, 0.000123, "se", 1, (9, 9)), 1, "1.18851 ± 0.00012 (se, 1 seed)"),
        (Entry(50.0, None, "se", 1, (1, 1)), 1, "50"),
        (Entry(50.0, 0.0, "sd", 3, (1, 1)), 3, "50 ± 0 (sd, 3 seeds)"),
        (Entry(0.51239, None, "se", 1, (1, 1)), 3, "0.5124 (1 of 3 seeds)"),
        (Entry(35.1267, None, "se", 1, (1, 1)), 1, "35.13"),
        (Entry(123456.7, None, "se", 1, (1, 1)), 1, "123457"),
        (Entry(0.00001234567, None, "se", 1, (1, 1)), 1, "1.235e-05"),
        (Entry(0.0, None, "se", 1, (1, 1)), 1, "0"),
        (Entry(-85.37, 0.1, "se", 1, (9, 9)), 1, "-85.37 ± 0.10 (se, 1 seed)"),
    ],
)
def test_numbers_have_the_digits_that_their_uncertainty_allows(entry: Entry, planned: int, text: str) -> None:
    assert format_entry(entry, planned=planned) == text


def entry(mean: float, uncertainty: float | None) -> Entry:
    return Entry(mean, uncertainty, "sd", 3, (1, 1))


@pytest.mark.claim("table-statistics")
def test_the_best_row_has_to_be_better_than_the_next_by_more_than_both_uncertainties() -> None:
    # 3-4-5: together 0.3 and 0.4 are 0.5.
    clear = {"a": entry(10.51, 0.3), "b": entry(10.0, 0.4), "c": entry(12.0, 5.0)}
    assert best_row(clear, better="lower") == "b"
    assert best_row(clear | {"a": entry(10.49, 0.3)}, better="lower") is None
    assert best_row({"a": entry(1, 0.1), "b": entry(2, 0.1)}, better="higher") == "b"
    assert best_row(clear, better=None) is None
    assert best_row({"a": entry(1, 0.1)}, better="lower") is None
    assert best_row({"a": entry(1, 0.1), "b": entry(2, None)}, better="lower") is None


@pytest.mark.claim("table-statistics")
def test_mean_and_standard_deviation_over_three_seeds(make_results: Callable[..., Results]) -> None:
    means = {0: 1.18, 1: 1.19, 2: 1.23}
    measured = {f"vae-dots-seed{seed}": {"negative_elbo": (mean, 0.5, 12)} for seed, mean in means.items()}
    results = make_results(
        measured | {"lae-dots-seed0": {"negative_elbo": (1.5, 0.01, 12), "acceptance": (0.5, None, 1)}}
    )
    text = markdown(results)
    assert line_of(text, "dots", "VAE") == ["VAE", "**1.200 ± 0.026 (sd, 3 seeds)**", "90.5", "–", "–"]
    assert line_of(text, "dots", r"LAE \| ours") == [r"LAE \| ours", "1.500 ± 0.010 (se, 1 seed)", "", "0.5000", "–"]
    assert "Images: negative ELBO, nats 12." in text


def test_means_over_images_that_differ_between_the_models_are_not_ranked(
    definition: dict[str, Any], make_record: Callable[..., Record]
) -> None:
    """The evidence of an image that is not measured is left out, and with it the values image by image."""
    definition |= {"evaluation": {"evidence": {"samples": 5}}, "figures": ["nll", "negative_elbo"]}
    definition["rows"]["vae"] |= {"published": {}, "seeds": {"dots": [0]}}
    table = TableConfig.model_validate(definition)
    cells = make_cells(table, Path("out"), source="tiny.yaml")

    def text(values: tuple[float, ...] | None) -> str:
        records = {
            cell.id: make_record(cell, table, negative_elbo=(mean, 0.1, 4), nll=(mean, 0.1, 4 if kept else 3, kept))
            for cell, mean, kept in zip(cells, (90.0, 80.0), ((90.0,) * 4, values), strict=True)
        }
        return markdown(Results(table, cells, records, {}))

    whole, partly = text((80.0,) * 4), text(None)
    bold = "**80.00 ± 0.10 (se, 1 seed)**"
    assert line_of(whole, "dots", r"LAE \| ours")[1:] == [bold, bold]
    assert "does not rank" not in whole
    assert line_of(partly, "dots", r"LAE \| ours")[1:] == [bold.strip("*"), bold]
    assert "Images: NLL, nats 3 to 4; negative ELBO, nats 4." in partly
    assert "NLL, nats: the mean over the images that could be measured" in partly


def test_what_nobody_measured_is_marked(make_results: Callable[..., Results]) -> None:
    results = make_results(
        {"vae-dots-seed1": {"negative_elbo": (90.0, 1.0, 12)}}, {"lae-dots-seed0": "the loss is not finite"}
    )
    text = markdown(results)
    assert line_of(text, "dots", "VAE")[1] == "90.0 ± 1.0 (se, 1 of 3 seeds)"
    assert line_of(text, "dots", r"LAE \| ours")[1] == "failed"
    assert line_of(text, "colours", "VAE")[1:] == ["not measured"] * 3
    # Of a set that no cell measures, what is published and nothing else.
    assert line_of(text, "svhn", "VAE") == ["VAE", "not measured", "4.442"]
    assert line_of(text, "svhn", r"LAE \| ours") == [r"LAE \| ours", "not measured", ""]
    assert "* lae-dots-seed0: the loss is not finite" in text
    provenance = text.split("## Where the figures come from")[1]
    assert "| vae-dots-seed1 | 1 | 2 of 2 | – | cuda (a GPU) | 2.0 | 2024-02-29T12:00:00+00:00 | `medlang" in provenance
    assert "| vae-dots-seed0 | 0 | not measured |" in provenance
    assert "| lae-dots-seed0 | 0 | failed |" in provenance


def test_every_line_of_a_grid_has_as_many_cells_as_its_header(make_results: Callable[..., Results]) -> None:
    text = markdown(make_results({"vae-dots-seed1": {"negative_elbo": (90.0, 1.0, 12)}}))
    for block in text.split("\n\n"):
        lines = [line.replace(r"\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_the_csv_has_every_figure_in_full_precision(make_results: Callable[..., Results]) -> None:
    results = make_results({"vae-dots-seed1": {"negative_elbo": (1 / 3, 0.25, 12), "weight_norm": (2.0, None, 1)}})
    rows = list(csv.DictReader(io.StringIO(results.csv())))
    assert [(row["data_set"], row["figure"]) for row in rows] == [
        ("dots", "negative_elbo"),
        ("dots", "weight_norm"),
        ("svhn", "negative_elbo"),
    ]
    assert rows[0] == {
        "row": "vae",
        "label": "VAE",
        "data_set": "dots",
        "seed": "1",
        "figure": "negative_elbo",
        "mean": repr(1 / 3),
        "standard_error": "0.25",
        "count": "12",
        "published": "90.5",
        "epochs": "2",
        "device": "cuda (a GPU)",
        "torch": "2.0",
        "date": "2024-02-29T12:00:00+00:00",
        "command": "medlangevin benchmark tiny.yaml --out out --only vae-dots-seed1",
    }
    assert (rows[1]["standard_error"], rows[1]["published"]) == ("", "")
    assert (rows[2]["seed"], rows[2]["mean"], rows[2]["published"]) == ("", "", "4.442")
