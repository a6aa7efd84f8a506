"""The sets that torchvision knows, read from its files (or fetched by it) into uint8 tensors."""

import hashlib
import http.client
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medlangevin.datasets.images.splits import Found, hold_out_last
from medlangevin.system.errors import MedlangevinError

MNIST_VALIDATION = 10_000
# SHA-256 of all images, then all labels, as bytes: torchvision does not check the unpacked files.
MNIST_SHA256 = {
    "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
    "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
}
DAMAGE = (RuntimeError, ValueError, TypeError, KeyError, AssertionError, OSError, EOFError, struct.error)
DAMAGE_OR_NO_NETWORK = (*DAMAGE, http.client.HTTPException, tarfile.TarError, zipfile.BadZipFile, ImportError)


class DownloadError(Exception):
    """torchvision could not fetch a set; the message is one line."""


def _open(make: Callable[[], Any], location: Path, download: bool) -> Any:
    """Call torchvision; its errors become DownloadError or one line about the damaged files."""
    try:
        return make()
    except (*DAMAGE_OR_NO_NETWORK, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        if download:
            raise DownloadError(reason) from error
        raise MedlangevinError(
            f"{location} is damaged or incomplete ({reason}); copy the files again or remove it and download it anew"
        ) from error


def _mnist(root: Path, download: bool, location: Path) -> Found:
    from torchvision.datasets import MNIST

    images, labels = {}, {}
    for split in ("train", "test"):
        part = _open(partial(MNIST, root, train=split == "train", download=download), location, download)
        digest = hashlib.sha256(part.data.numpy().tobytes() + part.targets.to(torch.uint8).numpy().tobytes())
        if digest.hexdigest() != MNIST_SHA256[split]:
            changed = f"{location} does not hold MNIST's {split} images unchanged"
            raise MedlangevinError(f"{changed}; remove it and copy or download it anew")
        images[split], labels[split] = part.data.unsqueeze(1), part.targets.long()
    images, labels = hold_out_last(images, MNIST_VALIDATION), hold_out_last(labels, MNIST_VALIDATION)
    return Found(images, labels, location, f"the last {MNIST_VALIDATION} training images")


def _cifar10(root: Path, download: bool, location: Path) -> Found:
    from torchvision.datasets import CIFAR10

    images, labels = {}, {}
    for split in ("train", "test"):
        part = _open(partial(CIFAR10, root, train=split == "train", download=download), location, download)
        images[split] = torch.from_numpy(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)))
        labels[split] = torch.tensor(part.targets)
    return Found(images, labels, location)


def _svhn(root: Path, download: bool, location: Path) -> Found:
    """The 73,257 training and 26,032 test images, without the extra ones; the test file may be absent."""
    from torchvision.datasets import SVHN

    images, labels = {}, {}
    for split in ("train", "test"):
        file = root / f"{split}_32x32.mat"
        if download or file.is_file():
            part = _open(partial(SVHN, root, split=split, download=download), file, download)
            images[split] = torch.from_numpy(np.ascontiguousarray(part.data))
            labels[split] = torch.from_numpy(part.labels)
    return Found(images, labels, location)


def _celeba(root: Path, download: bool, location: Path) -> Found:
    from torchvision.datasets import CelebA

    from medlangevin.datasets.images.celeba import read_celeba

    def open_split(split: str) -> Any:
        return _open(partial(CelebA, root, split=split, target_type=[], download=download), location, download)

    return Found(read_celeba(location, open_split), {}, location, "the published partition")


# The reader of each set, and what its files lie in.
READERS: dict[str, tuple[Callable[[Path, bool, Path], Found], str]] = {
    "mnist": (_mnist, "MNIST"),
    "svhn": (_svhn, "train_32x32.mat"),
    "cifar10": (_cifar10, "cifar-10-batches-py"),
    "celeba": (_celeba, "celeba"),
}
