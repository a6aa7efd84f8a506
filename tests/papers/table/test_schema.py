"""The schema of a table: what it takes, and the one line in which it refuses the rest."""

import copy
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from medlangevin.datasets.images import NAMES
from medlangevin.papers.table.schema import COLUMNS, IMAGE_SETS, FigureName, load_table
from medlangevin.system.errors import MedlangevinError

TABLE: dict[str, Any] = {
    "name": "t",
    "title": "A table",
    "figures": ["negative_elbo", "epochs"],
    "base": {"model": {"latent_dim": 2}},
    "data_sets": {"mnist": {"images": {"set": "mnist"}}, "cifar10": {"images": {"set": "cifar10"}}},
    "rows": {
        "vae": {"label": "VAE", "model": {"kind": "vae"}, "seeds": {"mnist": [0, 1]}},
        "ae": {"label": "AE", "model": {"kind": "ae"}, "published": {"svhn": {"epochs": 3}}},
    },
}


def load(tmp_path: Path, table: dict[str, Any]) -> Any:
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(table, sort_keys=False))
    return load_table(path)


def changed(key: str, value: Any) -> dict[str, Any]:
    """TABLE with the value at a dotted key replaced, or removed where it is ``...``."""
    table = copy.deepcopy(TABLE)
    *parents, leaf = key.split(".")
    section = table
    for parent in parents:
        section = section.setdefault(parent, {})
    if value is ...:
        del section[leaf]
    else:
        section[leaf] = value
    return table


def test_a_table_keeps_its_order_and_has_defaults(tmp_path: Path) -> None:
    table = load(tmp_path, TABLE)
    assert list(table.rows) == ["vae", "ae"]
    assert table.figures == ("negative_elbo", "epochs")
    assert table.rows["vae"].seeds == {"mnist": (0, 1)}
    assert table.rows["ae"].seeds == {}
    assert table.evaluation.split == "test"
    assert table.note == ""


def test_published_data_sets_come_after_the_measured_ones(tmp_path: Path) -> None:
    assert load(tmp_path, TABLE).shown_data_sets == ("mnist", "cifar10", "svhn")


def test_a_section_without_a_value_means_its_defaults(tmp_path: Path) -> None:
    table = load(tmp_path, changed("rows.vae.training", None) | {"evaluation": None, "base": None})
    assert table.rows["vae"].training == {}
    assert table.evaluation.annealing is None


def test_a_setting_may_be_set_to_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, changed("rows.vae.images", {"first": None})).rows["vae"].images == {"first": None}


def test_the_sets_of_papers_are_those_that_can_be_loaded() -> None:
    assert set(IMAGE_SETS) == set(NAMES)


def test_every_figure_has_a_column() -> None:
    assert set(COLUMNS) == set(get_args(FigureName))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rowz", {}, "unknown key 'rowz'; did you mean 'rows'?"),
        ("rows.vae.lable", "x", "unknown key 'rows.vae.lable'; did you mean 'label'?"),
        ("rows.vae.data_sets.mnist.trainin", {}, "unknown key 'rows.vae.data_sets.mnist.trainin'; did you mean"),
        ("base.seed", 3, "unknown key 'base.seed'; keys here: images, data, model, training"),
        ("evaluation.annealing.chain", 3, "unknown key 'evaluation.annealing.chain'; did you mean 'chains'?"),
        ("rows", {}, "'rows'"),
        ("rows", ..., "key 'rows' is missing"),
        ("data_sets", {}, "'data_sets'"),
        ("figures", [], "'figures'"),
        ("figures", ["epochs", "epochs"], "'figures': epochs is given twice"),
        ("figures", ["elbo"], "'figures.0'"),
        ("figures", ["nll_ais"], "figures: nll_ais needs a section evaluation.annealing"),
        ("rows.vae.seeds.mnist", [-1], "'rows.vae.seeds.mnist.0': input should be greater than or equal to 0 (given"),
        ("rows.vae.seeds.mnist", [1, 0, 1], "'rows.vae.seeds.mnist': 1 is given twice"),
        ("rows.vae.seeds.mnist", [], "'rows.vae.seeds.mnist'"),
        ("rows.vae.seeds.mnist", 3, "'rows.vae.seeds.mnist'"),
        ("rows.vae.seeds", {}, "no row has seeds"),
        ("rows.vae.seeds.mnits", [0], "rows.vae.seeds: no data set is called 'mnits'; data_sets: mnist, cifar10"),
        ("rows.vae.data_sets.svhn", {}, "rows.vae.data_sets: no data set is called 'svhn'"),
        ("rows.ae.published.mnits", {"epochs": 1}, "rows.ae.published: no data set is called 'mnits'"),
        ("rows.ae.published.mnist", {"fid": 1}, "rows.ae.published.mnist: fid is not among the figures"),
        ("rows.ae.published.mnist", {"epochs": "many"}, "'rows.ae.published.mnist.epochs'"),
        ("rows.a-b", {"label": "x"}, "'rows.a-b'"),
        ("rows.vae.label", "two\nlines", "'rows.vae.label': one line is needed"),
        ("title", "", "'title'"),
        ("name", "../x", "'name'"),
    ],
)
def test_a_wrong_table_is_one_line_that_names_file_and_key(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(MedlangevinError) as error:
        load(tmp_path, changed(key, value))
    assert message in str(error.value)
    assert "table.yaml: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("name: a\nname: b\n")
    with pytest.raises(MedlangevinError, match="key 'name' is given twice"):
        load_table(path)
