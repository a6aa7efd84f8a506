"""Grids of images: every image whole, in its place, in its colour."""

from pathlib import Path

import matplotlib.image
import numpy as np
import torch

from medlangevin.reports.image_grid import GAP, above_each_other, save_image_grid, tile


def test_images_are_laid_out_row_by_row_with_white_between() -> None:
    images = torch.stack([torch.full((1, 2, 3), value) for value in (0.1, 0.2, 0.3, 0.4, 0.5)])
    picture = tile(images, 2)
    assert picture.shape == (3 * 2 + 2 * GAP, 2 * 3 + GAP)
    below, beside = 2 + GAP, 3 + GAP
    for row, column, value in ((0, 0, 0.1), (0, 1, 0.2), (1, 0, 0.3), (1, 1, 0.4), (2, 0, 0.5), (2, 1, 1.0)):
        place = picture[row * below : row * below + 2, column * beside : column * beside + 3]
        assert np.allclose(place, value)
    assert (picture[2 : 2 + GAP] == 1).all()
    assert (picture[:, 3 : 3 + GAP] == 1).all()


def test_three_channels_are_rgb_and_others_grey() -> None:
    red = torch.tensor([1.0, 0.0, 0.25])[None, :, None, None].expand(1, 3, 2, 2)
    assert np.allclose(tile(red, 1), [1.0, 0.0, 0.25])
    assert tile(red, 1).shape == (2, 2, 3)
    assert np.allclose(tile(red[:, 2:], 1), 0.25)
    assert tile(red[:, 1:], 1).shape == (2, 2)


def test_values_are_clipped() -> None:
    assert tile(torch.tensor([-3.0, 5.0]).view(1, 1, 1, 2), 1).tolist() == [[0.0, 1.0]]


def test_each_row_of_images_stands_above_its_reconstructions() -> None:
    originals = torch.arange(4.0).view(4, 1, 1, 1)
    order = above_each_other(originals, originals + 10, 2).flatten().tolist()
    assert order == [0, 1, 10, 11, 2, 3, 12, 13]


def test_the_png_holds_the_images_unscaled_or_in_whole_multiples(tmp_path: Path) -> None:
    images = torch.zeros(6, 3, 30, 50)
    images[:, 0] = 1.0
    path = tmp_path / "grid.png"
    save_image_grid(images, path, columns=3, title="Red", labels=["first", "second"])
    pixels = matplotlib.image.imread(path)[..., :3]
    is_red = (pixels == [1, 0, 0]).all(-1)
    scale = round(900 / (3 * 50 + 2 * GAP))
    # Two rows of three images; the edge of an image may be shared with its neighbour by a pixel's rounding.
    assert abs(is_red.sum() / (6 * 30 * 50 * scale**2) - 1) < 0.02
    assert list(tmp_path.iterdir()) == [path]
