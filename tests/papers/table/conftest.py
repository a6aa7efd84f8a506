"""Image sets, definitions and made-up records of tables."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from medlangevin.evaluation.figure import Figure
from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.records import Record, new_record
from medlangevin.papers.table.schema import TableConfig


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory, write_images: Callable[..., Path]) -> Path:
    """A data root with two sets of 4 x 4 images, dots.npz (grey) and colours.npz (RGB)."""
    root = tmp_path_factory.mktemp("sets")
    for name, channels in (("dots", 1), ("colours", 3)):
        write_images(root / f"{name}.npz", (channels, 4, 4), train=24, valid=8, test=12)
    return root


@pytest.fixture
def definition(tiny_table: dict[str, Any]) -> dict[str, Any]:
    """A table of a VAE (two seeds on dots, one on colours) and an LAE (one seed on dots)."""
    definition = copy.deepcopy(tiny_table)
    definition["figures"] += ["acceptance", "epochs"]
    definition["base"]["images"] = {"first": 20}
    definition["rows"]["vae"]["published"] = {"dots": {"negative_elbo": 90.5}, "svhn": {"negative_elbo": 4.442}}
    definition["rows"]["lae"]["label"] = "LAE | ours"
    return definition


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write a table's definition to a file."""

    def write(definition: dict[str, Any]) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(definition, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """``make_record(cell, table, negative_elbo=(mean, error, count))``: a record as another machine would write it."""

    def make(cell: Cell, table: TableConfig, **figures: tuple[float, float | None, int]) -> Record:
        return new_record(
            cell,
            table.evaluation,
            {name: Figure(*values) for name, values in figures.items()},
            epochs=2,
            seconds=3.0,
            device="cuda (a GPU)",
            torch="2.0",
            date="2024-02-29T12:00:00+00:00",
            command=f"medlangevin benchmark tiny.yaml --out out --only {cell.id}",
            images_sha256="0" * 64,
        )

    return make
