"""Named sets and user files become splits with a record; what is missing, and where, is said in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medlangevin.datasets.images import NAMES, data_root, load_images
from medlangevin.datasets.images.splits import held_out_positions
from medlangevin.system.errors import MedlangevinError

Draw = Callable[..., np.ndarray]
Write = Callable[..., Path]


def numbered(count: int) -> np.ndarray:
    """Images 1 x 2 x 2 that hold their own number in two bytes."""
    number = np.arange(count)
    return np.stack([number // 256, number % 256, number * 0, number * 0], 1).astype(np.uint8).reshape(count, 1, 2, 2)


def numbers(images: torch.Tensor) -> list[int]:
    flat = images.flatten(1).int()
    return (flat[:, 0] * 256 + flat[:, 1]).tolist()


def test_own_file_with_all_splits(write: Write, draw: Draw, tmp_path: Path) -> None:
    x, v, t = draw(6), draw(2), draw(3)
    path = write("own.npz", x_train=x, x_valid=v, x_test=t, y_test=np.arange(3))
    splits = load_images(path, tmp_path)
    assert np.array_equal(splits.split("train"), x)
    assert np.array_equal(splits.split("valid"), v)
    assert np.array_equal(splits.split("test"), t)
    assert splits.labels.train is None
    assert splits.labels.test is not None
    assert splits.labels.test.tolist() == [0, 1, 2]
    source = splits.source
    assert (source.name, source.origin, source.location) == (str(path), "npz", str(path))
    assert source.shape == (1, 4, 5)
    assert source.counts == {"train": 6, "valid": 2, "test": 3}
    assert source.validation == "x_valid of the file"
    assert not source.is_binary
    assert json.loads(json.dumps(source.as_json()))["shape"] == [1, 4, 5]


def test_a_relative_path_is_also_looked_for_in_the_root(write: Write, draw: Draw, tmp_path: Path) -> None:
    path = write("own.npz", x_train=draw(6), x_valid=draw(2))
    assert load_images("own.npz", tmp_path).source.location == str(path)
    with pytest.raises(MedlangevinError, match=r"other\.npz does not exist, nor does .*other\.npz"):
        load_images("other.npz", tmp_path)


def test_held_out_validation_is_disjoint_seeded_and_keeps_labels(write: Write, tmp_path: Path) -> None:
    path = write("own.npz", x_train=numbered(1000), y_train=np.arange(1000))
    splits = load_images(path, tmp_path)
    train, valid = numbers(splits.train), numbers(splits.valid)
    assert len(valid) == 100
    assert not set(train) & set(valid)
    assert sorted(train + valid) == list(range(1000))
    assert train == sorted(train)
    assert splits.labels.train is not None
    assert splits.labels.valid is not None
    assert splits.labels.train.tolist() == train
    assert splits.labels.valid.tolist() == valid
    assert splits.source.validation == "100 of 1000 training images, drawn with a fixed seed"
    # Spread over the file (the mean of 100 positions has a standard error of 29), not its end.
    assert abs(np.mean(valid) - 500) < 5 * 29
    torch.manual_seed(1)  # the split must not depend on the global generator
    assert numbers(load_images(path, tmp_path).valid) == valid


def test_the_fixed_seed_stays_what_it_is() -> None:
    assert held_out_positions(50)[1].tolist() == [2, 9, 19, 30, 43]


def test_too_few_images_to_hold_any_out(write: Write, draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match="leaves none to train on"):
        load_images(write("own.npz", x_train=draw(1)), tmp_path)
    assert [len(part) for part in held_out_positions(2)] == [1, 1]


def test_missing_test_images_are_an_error_only_when_asked_for(write: Write, draw: Draw, tmp_path: Path) -> None:
    write("svhn.npz", x_train=draw(20, 3, 32, 32))
    splits = load_images("svhn", tmp_path)
    assert splits.test is None
    assert splits.source.counts == {"train": 18, "valid": 2}
    with pytest.raises(MedlangevinError, match=r"svhn: .*svhn\.npz holds no test images"):
        splits.split("test")


def test_the_digest_follows_every_pixel_and_every_split(write: Write, draw: Draw, tmp_path: Path) -> None:
    x, v = draw(6), draw(2)
    other = x.copy()
    other[5, 0, 3, 4] ^= 1
    digests = {
        load_images(write(f"{number}.npz", **arrays), tmp_path).source.sha256
        for number, arrays in enumerate(
            [
                {"x_train": x, "x_valid": v},
                {"x_train": x, "x_valid": v, "x_test": v},
                {"x_train": other, "x_valid": v},
                {"x_train": x.reshape(6, 1, 5, 4), "x_valid": v.reshape(2, 1, 5, 4)},
                {"x_train": np.concatenate([x, v[:1]]), "x_valid": v[1:]},
            ]
        )
    }
    assert len(digests) == 5
    assert load_images("0.npz", tmp_path).source.sha256 == load_images(tmp_path / "0.npz", ".").source.sha256


def test_binary_images_are_recognised(write: Write, draw: Draw, tmp_path: Path) -> None:
    binary = draw(6, 1, 28, 28, top=2)
    write("binarized_mnist.npz", x_train=binary, x_valid=binary, x_test=binary)
    assert load_images("binarized_mnist", tmp_path).source.is_binary
    write("binarized_mnist.npz", x_train=binary * 255, x_valid=binary, x_test=binary)
    with pytest.raises(MedlangevinError, match="x_train holds the value 255; a binary set holds 0 and 1 alone"):
        load_images("binarized_mnist", tmp_path)


def test_named_files_need_the_shape_of_the_set(write: Write, draw: Draw, tmp_path: Path) -> None:
    write("cifar10.npz", x_train=draw(6, 3, 16, 16))
    with pytest.raises(MedlangevinError, match=r"images of 3 x 16 x 16, expected 3 x 32 x 32"):
        load_images("cifar10", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_missing_set_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError) as caught:
        load_images(name, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"the image set {name} is missing" in message
    assert f"looked for it in {tmp_path}" in message
    assert "--data-root or MEDLANGEVIN_DATA" in message
    assert ("images.download" in message) == (name != "binarized_mnist")
    assert list(tmp_path.iterdir()) == []


def test_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(MedlangevinError, match=r"'minst'; choose mnist, svhn, .* or a path ending in \.npz"):
        load_images("minst", tmp_path)


def test_the_option_beats_the_variable_and_the_variable_beats_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLANGEVIN_DATA", "elsewhere")
    assert data_root("here") == Path("here")
    assert data_root(None) == Path("elsewhere")
    monkeypatch.delenv("MEDLANGEVIN_DATA")
    assert data_root() == Path("data/images")


def test_empty_values_count_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLANGEVIN_DATA", "")
    assert data_root("") == Path("data/images")


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLANGEVIN_DATA", "~/images")
    assert data_root() == Path.home() / "images"
