"""Montages and curves: a picture that can be opened, with the right values in the right places."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from medlangevin.reports.curves import save_curves
from medlangevin.reports.montage import save_montage
from medlangevin.system.errors import MedlangevinError


def tile_colours(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The greys of the picture, neither white paper nor black, and how many pixels have each."""
    pixels = imread(path)[..., :3]
    grey = pixels[(pixels.max(-1) - pixels.min(-1) < 0.01)].mean(-1)
    return np.unique(np.round(grey[(grey > 0.02) & (grey < 0.98)], 2), return_counts=True)


def test_each_volume_appears_with_its_value_in_the_window(tmp_path: Path) -> None:
    volumes = [np.full((12, 10, 10), value) for value in (-500.0, 0.0, 500.0, 5000.0)]
    save_montage(volumes, tmp_path / "m.png", labels=["", "", "", ""], title="", window=(-1000.0, 1000.0))
    values, counts = tile_colours(tmp_path / "m.png")
    common = values[counts > 1000]
    np.testing.assert_allclose(common, [0.25, 0.5, 0.75], atol=0.011)  # the fourth is white like the paper
    sizes = counts[counts > 1000]
    assert sizes.max() / sizes.min() < 1.1


def test_too_many_volumes_are_cut_and_single_ones_work(tmp_path: Path) -> None:
    many = [np.zeros((4, 4, 4))] * 60
    save_montage(many, tmp_path / "many.png", labels=[""] * 60, title="t", window=(0, 1))
    save_montage(many[:1], tmp_path / "one.png", labels=["a"], title="t", window=(0, 1), total=3)
    assert imread(tmp_path / "many.png").shape[0] > imread(tmp_path / "one.png").shape[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.png", "one.png"]


def test_curves_of_one_and_of_many_epochs(tmp_path: Path) -> None:
    rows = [
        {
            "epoch": epoch,
            "step": epoch,
            "loss": 1.0 / epoch,
            "elbo": -1.0,
            "kl": 2.0,
            "validation_elbo": -2.0,
            "seconds": 1.0,
        }
        for epoch in range(1, 30)
    ]
    for count in (1, 29):
        save_curves(rows[:count], tmp_path / f"{count}.png", title="t")
        assert imread(tmp_path / f"{count}.png").std() > 0.05
    with pytest.raises(MedlangevinError, match="no epoch has been finished"):
        save_curves([], tmp_path / "none.png", title="t")
    assert not (tmp_path / "none.png").exists()
