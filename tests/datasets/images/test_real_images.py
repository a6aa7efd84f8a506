"""The real benchmark images: counts, shapes, means and splits."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from medlangevin.datasets.images import ImageSplits, load_images, model_images


@pytest.fixture(scope="module")
def mnist(real_root: Path) -> ImageSplits:
    return load_images("mnist", real_root)


def level_sum(images: torch.Tensor) -> int:
    return int(images.numpy().sum(dtype=np.int64))  # torch would widen all images at once


@pytest.mark.slow(seconds=10)
def test_mnist(mnist: ImageSplits, real_root: Path) -> None:
    assert mnist.source.counts == {"train": 50_000, "valid": 10_000, "test": 10_000}
    assert mnist.source.shape == (1, 28, 28)
    assert mnist.train.dtype == torch.uint8
    # The published mean and standard deviation of the 60,000 training images: 0.1307 and 0.3081.
    whole = torch.cat([mnist.train, mnist.valid])
    assert level_sum(whole) / whole.numel() / 255 == pytest.approx(0.1307, abs=5e-5)
    raw = np.fromfile(real_root / "MNIST" / "raw" / "train-images-idx3-ubyte", dtype=np.uint8)[16:]
    assert np.array_equal(whole.numpy().ravel(), raw)  # in the order of the file: the first 50,000, the last 10,000
    assert mnist.labels.train is not None
    assert mnist.labels.train[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.labels.valid is not None
    assert mnist.labels.test is not None
    assert torch.cat([mnist.labels.train, mnist.labels.valid]).bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert mnist.labels.test.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_mnist_binarised_dynamically(mnist: ImageSplits) -> None:
    one, two = (model_images(mnist, binarization="dynamic") for _ in range(2))
    assert torch.equal(one.valid.images, two.valid.images)
    digest = hashlib.sha256(one.valid.images.numpy().tobytes()).hexdigest()
    assert digest == "77320eb20294d8f585d84a239c1fef50a743d58a743eea2ce0269ae0b51b0f56"
    generator = torch.Generator().manual_seed(0)
    first, second = (one.train.batch(slice(0, 100), generator=generator) for _ in range(2))
    assert not torch.equal(first, second)
    # Pixels that are black or white in the file never change; of the grey ones many do.
    grey = (mnist.train[:100] > 0) & (mnist.train[:100] < 255)
    assert torch.equal(first[~grey], second[~grey])
    assert 0.1 < float((first != second)[grey].double().mean()) < 0.5
    # The draws keep the mean: within 5 standard errors (at most 0.5 / sqrt(7.84e6 pixels) each), false alarm < 1e-6.
    assert float(one.valid.mean().mean()) == pytest.approx(
        level_sum(mnist.valid) / mnist.valid.numel() / 255, abs=5 * 0.5 / 7.84e6**0.5
    )


def test_binarised_mnist(real_root: Path) -> None:
    splits = load_images("binarized_mnist", real_root)
    assert splits.source.counts == {"train": 50_000, "valid": 10_000, "test": 10_000}
    assert splits.source.is_binary
    # Larochelle drew each pixel with the probability of MNIST's grey level, so the means agree.
    x = model_images(splits, binarization="static").train
    assert float(x.mean().mean()) == pytest.approx(0.1307, abs=1e-3)
    assert set(x.batch(slice(0, 100)).unique().tolist()) == {0.0, 1.0}


@pytest.mark.slow
def test_cifar10(real_root: Path) -> None:
    splits = load_images("cifar10", real_root)
    assert splits.source.counts == {"train": 44_934, "valid": 4_993, "test": 9_980}
    assert splits.train.dtype == torch.uint8
    assert splits.source.shape == (3, 32, 32)
    whole = torch.cat([splits.train, splits.valid])
    with np.load(real_root / "cifar10.npz") as archive:
        x, y = archive["x_train"], archive["y_train"]
        assert np.array_equal(splits.split("test").numpy(), archive["x_test"])
    assert level_sum(whole) == int(x.sum(dtype=np.int64))
    # The published channel means of CIFAR-10 (here 99.85 % of it): 0.4914, 0.4822, 0.4465.
    means = model_images(splits).train.mean().mean((1, 2))
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)
    assert splits.labels.train is not None
    assert splits.labels.valid is not None
    labels = torch.cat([splits.labels.train, splits.labels.valid])
    assert labels.bincount().tolist() == np.bincount(y).tolist()


def test_svhn(real_root: Path) -> None:
    splits = load_images("svhn", real_root)
    assert splits.source.counts == {"train": 975, "valid": 108}
    assert splits.source.shape == (3, 32, 32)
    assert splits.test is None
    assert splits.labels.train is None
    with np.load(real_root / "svhn.npz") as archive:
        assert level_sum(splits.train) + level_sum(splits.valid) == int(archive["x_train"].sum(dtype=np.int64))


def test_celeba(real_root: Path) -> None:
    splits = load_images("celeba", real_root)
    assert splits.source.counts == {"train": 4000, "valid": 500, "test": 500}
    assert splits.source.shape == (3, 64, 64)
    # Faces: red above green above blue, about the known channel means of cropped CelebA (0.52, 0.42, 0.37).
    means = model_images(splits).train.mean().mean((1, 2))
    assert means.tolist() == pytest.approx([0.5207, 0.4187, 0.3646], abs=1e-4)
