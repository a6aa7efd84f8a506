"""The pictures of a run of images."""

from pathlib import Path

import pytest

from medlangevin.papers.table.prepare import Table
from medlangevin.reports.curves import save_curves
from medlangevin.reports.run_pictures import draw_run, held_out_images
from medlangevin.runs.metrics import Row


def run_dir(trained: Table, cell_id: str) -> Path:
    return next(cell.config.run_dir for cell in trained.cells if cell.id == cell_id)


@pytest.mark.slow
@pytest.mark.parametrize("cell_id", ["lae-dots-seed0", "vae-colours-seed0"])
def test_a_run_of_images_has_curves_reconstructions_and_samples(trained: Table, cell_id: str) -> None:
    paths = draw_run(run_dir(trained, cell_id))
    assert [path.name for path in paths] == ["curves.png", "reconstructions.png", "samples.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_reconstructions_are_of_images_that_were_not_trained_on(trained: Table) -> None:
    settings = next(cell.config.images for cell in trained.cells if cell.data_set == "colours")
    assert settings is not None
    name, images = held_out_images(settings)
    assert (name, len(images)) == ("validation", 20)
    name, images = held_out_images(settings.model_copy(update={"train_on": "all"}))
    assert (name, len(images)) == ("test", 30)


def test_curves_do_without_a_validation(tmp_path: Path) -> None:
    rows: list[Row] = [{"epoch": epoch, "loss": 5.0 - epoch, "seconds": 1.0} for epoch in (1, 2)]
    save_curves(rows, tmp_path / "curves.png", title="t", noun="image")
    assert (tmp_path / "curves.png").is_file()
