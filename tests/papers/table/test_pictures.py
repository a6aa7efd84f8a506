"""Which pictures of a table are drawn, and of which cells."""

import shutil
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest

from medlangevin.papers.table import pictures as pictures
from medlangevin.papers.table.pictures import draw_table
from medlangevin.papers.table.prepare import Table


@pytest.mark.slow
def test_curves_and_samples_of_every_data_set(trained: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[matplotlib.figure.Figure] = []
    original = matplotlib.figure.Figure

    def recorded(*arguments: object, **named: object) -> matplotlib.figure.Figure:
        figures.append(original(*arguments, **named))  # type: ignore[arg-type]
        return figures[-1]

    monkeypatch.setattr(pictures, "Figure", recorded)
    paths = draw_table(trained)
    assert [path.name for path in paths] == [
        "curves-dots.png",
        "samples-dots.png",
        "curves-colours.png",
        "samples-colours.png",
    ]
    assert all(path.stat().st_size > 5000 for path in paths)

    dots, samples, colours, _ = figures
    bounds, by_time, acceptance, _ = dots.axes
    assert [line.get_label() for line in bounds.lines if not str(line.get_label()).startswith("_")] == ["VAE", "LAE"]
    assert len(bounds.lines) == 3
    assert bounds.lines[0].get_color() == bounds.lines[1].get_color() != bounds.lines[2].get_color()
    assert np.asarray(bounds.lines[0].get_xdata()).tolist() == [1, 2, 3, 4]
    assert bounds.get_ylabel() == "minus the training loss,\nnats per image"
    minutes = np.asarray(by_time.lines[0].get_xdata())
    assert (minutes[1:] >= minutes[:-1]).all()
    assert len(acceptance.lines) == 1
    assert len(colours.axes) == 2  # a VAE accepts nothing
    assert colours.axes[0].get_ylabel() == "validation ELBO,\nnats per image"
    assert [axes.get_title().split(":")[0] for axes in samples.axes] == [
        "VAE\nseed 3, epoch 4",
        "test images, below each row its reconstructions",
        "LAE\nseed 0, epoch 4",
        "test images, below each row its reconstructions",
    ]


def test_cells_without_their_run_are_not_drawn(trained: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained.out / "cells", out / "cells")

    def moved(table: Table) -> Table:
        cells = tuple(
            cell._replace(config=cell.config.model_copy(update={"output_dir": out / "runs"})) for cell in table.cells
        )
        return table._replace(out=out, cells=cells, selected=cells)

    assert draw_table(moved(trained)) == []
    # A run that is not measured yet has curves alone.
    (out / "cells" / "vae-colours-seed0.json").unlink()
    shutil.copytree(trained.out / "runs" / "vae-colours-seed0", out / "runs" / "vae-colours-seed0")
    assert [path.name for path in draw_table(moved(trained))] == ["curves-colours.png"]
