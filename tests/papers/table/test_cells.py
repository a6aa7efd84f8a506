"""From a table to the configurations of its cells."""

from pathlib import Path
from typing import Any

import pytest

from medlangevin.papers.table.cells import Cell, make_cells, merge, select
from medlangevin.papers.table.schema import TableConfig
from medlangevin.system.errors import MedlangevinError


def cells_of(definition: dict[str, Any], images: dict[str, Any] | None = None) -> dict[str, Cell]:
    table = TableConfig.model_validate(definition)
    return {cell.id: cell for cell in make_cells(table, Path("out"), source="tiny.yaml", place=images)}


def test_mappings_are_merged_key_by_key_and_the_last_value_wins() -> None:
    first = {"a": {"b": 1, "c": {"d": 2}}, "e": [1, 2], "f": {"g": 1}}
    second = {"a": {"c": {"h": 3}}, "e": [3], "f": 5}
    assert merge(first, second) == {"a": {"b": 1, "c": {"d": 2, "h": 3}}, "e": [3], "f": 5}
    assert merge(second, first)["f"] == {"g": 1}
    assert first["a"] == {"b": 1, "c": {"d": 2}}


def test_cells_come_in_the_order_of_the_table(definition: dict[str, Any]) -> None:
    assert list(cells_of(definition)) == ["vae-dots-seed0", "vae-dots-seed1", "lae-dots-seed0", "vae-colours-seed0"]


def test_base_then_data_set_then_row_then_the_rows_own_for_the_data_set(definition: dict[str, Any]) -> None:
    def epochs(**where: int) -> dict[str, int]:
        places = {
            "base": definition["base"],
            "data_set": definition["data_sets"]["dots"],
            "row": definition["rows"]["vae"],
            "both": definition["rows"]["vae"].setdefault("data_sets", {}).setdefault("dots", {}),
        }
        for name, value in where.items():
            places[name].setdefault("training", {})["epochs"] = value
        cells = cells_of(definition)
        return {name: cell.config.training.epochs for name, cell in cells.items() if not name.endswith("seed1")}

    assert epochs() == {"vae-dots-seed0": 2, "lae-dots-seed0": 2, "vae-colours-seed0": 2}
    assert epochs(base=3) == {"vae-dots-seed0": 3, "lae-dots-seed0": 3, "vae-colours-seed0": 3}
    assert epochs(data_set=4) == {"vae-dots-seed0": 4, "lae-dots-seed0": 4, "vae-colours-seed0": 3}
    assert epochs(row=5) == {"vae-dots-seed0": 5, "lae-dots-seed0": 4, "vae-colours-seed0": 5}
    assert epochs(both=6) == {"vae-dots-seed0": 6, "lae-dots-seed0": 4, "vae-colours-seed0": 5}


def test_a_cell_has_name_place_seed_and_data_root(definition: dict[str, Any]) -> None:
    definition["base"]["images"]["root"] = "elsewhere"
    config = cells_of(definition)["vae-dots-seed1"].config
    assert (config.name, config.seed, config.run_dir) == ("vae-dots-seed1", 1, Path("out/runs/vae-dots-seed1"))
    assert config.images is not None
    assert config.images.root == Path("elsewhere")
    images = cells_of(definition, {"root": "here", "download": True})["vae-dots-seed1"].config.images
    assert images is not None
    assert (images.root, images.download, images.set, images.first) == (Path("here"), True, "dots.npz", 20)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"model": {"kind": "vae", "langevin": {"steps": 2}}}, "'model.langevin' has no effect here"),
        ({"model": {"kind": "gan"}}, "'model.kind'"),
        ({"model": {}}, "key 'model.kind' is missing"),
        ({"training": {"devices": 2}}, "a cell is trained in one process"),
        ({"training": {"epoch": 5}}, "unknown key 'training.epoch'; did you mean 'epochs'?"),
    ],
)
def test_a_wrong_cell_names_file_row_data_set_and_key(
    definition: dict[str, Any], row: dict[str, Any], message: str
) -> None:
    definition["rows"]["vae"] |= row
    with pytest.raises(MedlangevinError, match=r"^tiny\.yaml, row vae, data set dots: ") as error:
        cells_of(definition)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_could_not_be_measured_is_refused_before_the_training(definition: dict[str, Any]) -> None:
    definition["base"]["images"]["train_on"] = "all"
    definition["evaluation"] = {"split": "validation"}
    with pytest.raises(MedlangevinError, match=r"row vae, data set dots: images\.train_on is all"):
        cells_of(definition)
    definition["evaluation"] = {"inception": {"samples": 10}}
    definition["data_sets"]["colours"]["images"]["set"] = "cifar10"
    with pytest.raises(MedlangevinError, match=r"row vae, data set colours: evaluation\.inception is for digits"):
        cells_of(definition)


def test_patterns_choose_cells(definition: dict[str, Any]) -> None:
    cells = tuple(cells_of(definition).values())
    assert select(cells, ()) == cells
    assert [cell.id for cell in select(cells, ("*-seed1", "lae-*"))] == ["vae-dots-seed1", "lae-dots-seed0"]
    with pytest.raises(
        MedlangevinError, match=r"--only iwae-\* matches no cell; cells: vae-dots-seed0, vae-dots-seed1"
    ):
        select(cells, ("vae-*", "iwae-*"))
