"""Models compared image by image."""

from collections.abc import Callable
from typing import Any

import pytest

from medlangevin.config.load import check
from medlangevin.evaluation.figure import figure_of
from medlangevin.papers.table.cells import make_cells
from medlangevin.papers.table.markdown import markdown
from medlangevin.papers.table.records import RecordedFigure, read_record, record_path, write_record
from medlangevin.papers.table.results import Results
from medlangevin.papers.table.schema import TableConfig
from medlangevin.system.errors import MedlangevinError


@pytest.fixture
def make_results(definition: dict[str, Any], make_record: Callable[..., Any], tmp_path) -> Callable[..., Results]:
    """``make_results({cell: NLL of each image})``, with the VAE as the control."""
    evaluation = {"annealing": {"temperatures": 2, "chains": 2, "images": 4}}
    definition |= {"controls": ["vae"], "evaluation": evaluation, "figures": ["nll_ais"]}
    definition["rows"]["vae"]["published"] = {}
    definition["rows"]["lae"]["seeds"] = {"dots": [0, 1]}
    table = check(TableConfig, definition, source="test")
    cells = make_cells(table, tmp_path, source="test")

    def make(values: dict[str, list[float]]) -> Results:
        by_id = {cell.id: cell for cell in cells}
        records = {}
        for name, numbers in values.items():
            record = make_record(by_id[name], table)
            record = record.model_copy(
                update={"figures": {"nll_ais": RecordedFigure(**figure_of(numbers, keep=True)._asdict())}}
            )
            write_record(tmp_path, record)
            records[name] = read_record(record_path(tmp_path, name))
            assert records[name] == record
        return Results(table, cells, records, {})

    return make


@pytest.mark.claim("table-statistics")
def test_differences_are_taken_image_by_image_and_averaged_over_the_seeds_of_both(make_results) -> None:
    results = make_results(
        {
            "vae-dots-seed0": [100.0, 200.0, 300.0, 400.0],
            "vae-dots-seed1": [101.0, 201.0, 301.0, 401.0],
            "lae-dots-seed0": [98.0, 199.0, 298.0, 399.0],  # -2, -1, -2, -1
            "lae-dots-seed1": [101.0, 198.0, 301.0, 398.0],  # 0, -3, 0, -3: with the others -1, -2, -1, -2
        }
    )
    found = results.difference("lae", "vae", "dots", "nll_ais")
    assert found is not None
    assert found.mean == pytest.approx(-1.5)
    assert found.standard_error == pytest.approx((4 * 0.25 / 3) ** 0.5 / 2)
    assert found.count == 4
    text = markdown(results)
    assert "| model | minus VAE |" in text
    assert "| LAE \\| ours | -1.50 ± 0.29 |" in text
    assert "| VAE | " not in text.split("minus VAE")[1].split("## ")[0]


def test_a_seed_that_only_one_of_them_has_is_left_out(make_results) -> None:
    results = make_results(
        {
            "vae-dots-seed0": [1.0, 2.0, 3.0, 4.0],
            "lae-dots-seed0": [2.0, 3.0, 4.0, 5.0],
            "lae-dots-seed1": [9.0, 9.0, 9.0, 9.0],
        }
    )
    assert results.difference("lae", "vae", "dots", "nll_ais") == (1.0, 0.0, 4, None)
    assert "| +1 |" in markdown(results)


def test_nothing_is_compared_where_there_is_nothing_in_common(make_results) -> None:
    results = make_results({"vae-dots-seed0": [1.0, 2.0], "lae-dots-seed1": [2.0, 3.0]})
    assert results.difference("lae", "vae", "dots", "nll_ais") is None
    assert "minus VAE" not in markdown(results)


def test_a_control_has_to_be_a_row(definition: dict[str, Any]) -> None:
    with pytest.raises(MedlangevinError, match="controls: no row is called 'ae'; rows: vae, lae"):
        check(TableConfig, definition | {"controls": ["ae"]}, source="test")
