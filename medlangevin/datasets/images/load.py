"""Load a benchmark set by name, or a user's own ``.npz`` by path."""

import os
from pathlib import Path
from typing import NamedTuple

from medlangevin.config import ImagesConfig
from medlangevin.datasets.images.archive import read_archive
from medlangevin.datasets.images.splits import Found, ImageSplits, first_images, held_out_positions, make_splits
from medlangevin.datasets.images.torchvision_sets import READERS, DownloadError
from medlangevin.system.errors import MedlangevinError


class _Known(NamedTuple):
    """A set that has a name: image shape (C, H, W), whether it is 0/1, how to get it, whether ``.npz`` will do."""

    shape: tuple[int, int, int]
    binary: bool
    remedy: str
    as_npz: bool = True


_BY_TORCHVISION = (
    "copy torchvision's files there or, where there is a network, set images.download to true (benchmark: --download)"
)
_KNOWN = {
    "mnist": _Known((1, 28, 28), False, _BY_TORCHVISION, as_npz=False),
    "svhn": _Known((3, 32, 32), False, _BY_TORCHVISION),
    "cifar10": _Known((3, 32, 32), False, _BY_TORCHVISION),
    "celeba": _Known((3, 64, 64), False, _BY_TORCHVISION),
    "binarized_mnist": _Known(
        (1, 28, 28),
        True,
        "write Larochelle's text files (www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist) "
        "as uint8 arrays x_train, x_valid, x_test into that file",
    ),
}
NAMES = tuple(_KNOWN)
# The folder of the benchmark images.
VARIABLE, DEFAULT = "MEDLANGEVIN_DATA", Path("data/images")


def data_root(chosen: Path | str | None = None) -> Path:
    """Where the benchmark images are looked for.

    Args:
        chosen: The value of ``--data-root``; an empty one counts as not given.

    Returns:
        ``chosen``, else the variable MEDLANGEVIN_DATA, else ``data/images``; ``~`` is the home folder. The folder need
        not exist.
    """
    return Path(chosen or os.environ.get(VARIABLE) or DEFAULT).expanduser()


def load_splits(images: ImagesConfig) -> ImageSplits:
    """The image set that a configuration names.

    Args:
        images: Which set, where, and how many of each split.

    Returns:
        Its splits, cut down to ``images.first``.

    Raises:
        MedlangevinError: One line, when a set is missing, damaged or not of the right kind.
    """
    splits = load_images(images.set, data_root(images.root), download=images.download)
    return splits if images.first is None else first_images(splits, images.first)


def load_images(name_or_path: str | Path, root: Path | str, *, download: bool = False) -> ImageSplits:
    """Load ``mnist``, ``svhn``, ``cifar10``, ``celeba``, ``binarized_mnist`` or a user's ``.npz``.

    A named set is read from torchvision's files in ``root`` (checked), else from ``root/<name>.npz``; binarised MNIST
    from its ``.npz`` alone, MNIST from torchvision's files alone. ``source.origin`` says which it was.

    Splits: as published where they are (MNIST: the first 50,000 and the last 10,000 training images, and the test
    set; CelebA: its partition file; binarised MNIST: Larochelle's). Else ``x_valid`` of the file, and where there is
    none a tenth of the training images, drawn with a fixed seed. The test images are never divided or joined.

    CelebA from torchvision's files: the central 148 x 148 pixels of the aligned 178 x 218 pictures, resized
    (bilinear) to 64 x 64, all 202,599 faces in the published partition. ``celeba.npz`` may differ: it is taken
    as it is (a subset of the faces, cropped from smaller copies of the pictures, has other pixels and other splits).

    Args:
        name_or_path: A name, or a path that ends in ``.npz``; a relative one is looked for in ``root`` first.
        root: The folder of the benchmark images.
        download: Fetch torchvision's files where they are not there.

    Returns:
        The splits, with a record of where they came from.

    Raises:
        MedlangevinError: One line, when a set is missing, damaged or not of the right kind.
    """
    root, name = Path(root), str(name_or_path)
    if name.endswith(".npz"):
        return _splits(name, "npz", read_archive(_find(Path(name).expanduser(), root)))
    if name not in _KNOWN:
        raise MedlangevinError(f"no image set is called '{name}'; choose {', '.join(NAMES)} or a path ending in .npz")
    known, path, failure = _KNOWN[name], root / f"{name}.npz", ""
    if name in READERS:
        read, files = READERS[name]
        try:
            if download or (root / files).exists():
                return _splits(name, "torchvision", read(root, download, root / files))
        except DownloadError as error:
            failure = f" and cannot be downloaded ({error})"
    if known.as_npz and path.is_file():
        return _splits(name, "npz", read_archive(path, shape=known.shape, binary=known.binary))
    places = ([f"{root} (torchvision's files)"] if name in READERS else []) + ([str(path)] if known.as_npz else [])
    raise MedlangevinError(
        f"the image set {name} is missing{failure}: looked for it in {' and '.join(places)}; "
        f"{known.remedy}, or choose another folder with --data-root or MEDLANGEVIN_DATA"
    )


def _find(path: Path, root: Path) -> Path:
    for candidate in (root / path, path):
        if candidate.is_file():
            return candidate
    raise MedlangevinError(f"{path} does not exist, nor does {root / path}; give the path of an .npz file")


def _splits(name: str, origin: str, found: Found) -> ImageSplits:
    if "valid" not in found.images:
        count = len(found.images["train"])
        train, valid = held_out_positions(count)
        images, labels = (
            parts | {"train": parts["train"][train], "valid": parts["train"][valid]} if "train" in parts else parts
            for parts in (found.images, found.labels)
        )
        validation = f"{len(valid)} of {count} training images, drawn with a fixed seed"
        found = Found(images, labels, found.location, validation)
    return make_splits(found, name=name, origin=origin)
