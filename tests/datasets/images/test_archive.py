"""Every way in which a user's file can be wrong gives one line that names the file and the array."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medlangevin.datasets.images.archive import read_archive
from medlangevin.system.errors import MedlangevinError

Draw = Callable[..., np.ndarray]
Write = Callable[..., Path]


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(MedlangevinError, match=match) as caught:
        read_archive(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_images_and_labels_come_back_unchanged(write: Write, draw: Draw) -> None:
    x, v, t, y = draw(6), draw(2), draw(3), np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)
    archive = read_archive(write("own.npz", x_train=x, x_valid=v, x_test=t, y_train=y))
    assert {split: part.dtype for split, part in archive.images.items()} == dict.fromkeys(
        ("train", "valid", "test"), torch.uint8
    )
    assert np.array_equal(archive.images["train"], x)
    assert np.array_equal(archive.images["valid"], v)
    assert np.array_equal(archive.images["test"], t)
    assert archive.labels["train"].dtype == torch.int64
    assert archive.labels["train"].tolist() == y.tolist()
    assert set(archive.labels) == {"train"}


def test_absent_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "does not exist")


@pytest.mark.parametrize("content", [b"", b"no archive at all", pickle.dumps({"x_train": [1]})])
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    refused(path, r"is not an \.npz file or was cut short")


def test_single_array_under_the_wrong_name(tmp_path: Path, draw: Draw) -> None:
    path = tmp_path / "own.npz"
    with path.open("wb") as file:
        np.save(file, draw(3))
    refused(path, r"is not an \.npz file")


def test_file_cut_short(write: Write, draw: Draw) -> None:
    path = write("own.npz", x_train=draw(50))
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, "cut short|cannot be read")


@pytest.mark.parametrize("compressed", [False, True])
def test_flipped_byte(tmp_path: Path, draw: Draw, compressed: bool) -> None:
    path = tmp_path / "own.npz"
    (np.savez_compressed if compressed else np.savez)(path, x_train=draw(50))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path, "cannot be read")


class Tripwire:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_pickled_objects_are_never_loaded(write: Write) -> None:
    refused(write("own.npz", x_train=np.array([Tripwire()], dtype=object)), "pickled objects, which are never loaded")


def test_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train", b"bytes")
    refused(path, "x_train is not an array")


def test_missing_training_images_lists_what_is_there(write: Write, draw: Draw) -> None:
    refused(write("own.npz", x_test=draw(3)), r"x_train is missing \(it holds x_test\)")
    refused(write("empty.npz"), r"x_train is missing \(it holds nothing\)|cut short")


def test_unknown_array(write: Write, draw: Draw) -> None:
    refused(write("own.npz", x_train=draw(3), x_val=draw(1)), "unknown array 'x_val'; it may hold x_train, x_valid")


@pytest.mark.parametrize(
    ("dtype", "match"),
    [
        (np.float32, "x_train is float32, not uint8; multiply values in .0, 1. by 255"),
        (np.float64, "x_train is float64, not uint8; multiply"),
        (np.int64, "x_train is int64, not uint8; check the range"),
        (np.bool_, "x_train is bool, not uint8"),
        (np.str_, "x_train is <U3, not uint8"),
    ],
)
def test_wrong_type(write: Write, draw: Draw, dtype: type, match: str) -> None:
    refused(write("own.npz", x_train=draw(3).astype(dtype)), match)


def test_wrong_number_of_dimensions(write: Write, draw: Draw) -> None:
    refused(write("own.npz", x_train=draw(3, 4, 5)), "x_train has shape 3 x 4 x 5; make it N x C x H x W")


def test_channels_last(write: Write, draw: Draw) -> None:
    refused(write("own.npz", x_train=draw(3, 32, 32, 3)), "x_train has shape 3 x 32 x 32 x 3, channels last")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_empty_split(write: Write, draw: Draw, split: str) -> None:
    arrays = {"x_train": draw(3)} | {f"x_{split}": draw(0)}
    refused(write("own.npz", **arrays), f"x_{split} holds no images")


def test_images_without_pixels(write: Write, draw: Draw) -> None:
    refused(write("own.npz", x_train=draw(3, 1, 0, 5)), "hold no pixels")


def test_splits_of_different_shapes(write: Write, draw: Draw) -> None:
    path = write("own.npz", x_train=draw(3), x_test=draw(3, 1, 5, 4))
    refused(path, r"x_test has images of 1 x 5 x 4, expected 1 x 4 x 5")


def test_shape_of_a_known_set(write: Write, draw: Draw) -> None:
    refused(write("own.npz", x_train=draw(3)), "images of 1 x 4 x 5, expected 3 x 32 x 32", shape=(3, 32, 32))


def test_values_of_a_binary_set(write: Write, draw: Draw) -> None:
    good = draw(3, top=2)
    assert len(read_archive(write("good.npz", x_train=good), binary=True).images["train"]) == 3
    bad = good.copy()
    bad[2, 0, 3, 4] = 2
    refused(write("bad.npz", x_train=good, x_test=bad), "x_test holds the value 2; a binary set", binary=True)


def test_labels(write: Write, draw: Draw) -> None:
    x = draw(3)
    refused(write("a.npz", x_train=x, y_train=np.arange(4)), "y_train has shape 4 for 3 images")
    refused(write("b.npz", x_train=x, y_train=np.eye(3, dtype=np.int64)), "y_train has shape 3 x 3 for 3 images")
    refused(write("c.npz", x_train=x, y_train=np.arange(3.0)), "y_train is float64; labels are whole numbers")
    refused(write("d.npz", x_train=x, y_test=np.arange(3)), "y_test labels images that are not there")
