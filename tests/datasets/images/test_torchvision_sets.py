"""Made-up folders in torchvision's layouts, with its checksums replaced by theirs."""

import gzip
import hashlib
import pickle
import struct
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from PIL import Image

from medlangevin.datasets.images import load_images, torchvision_sets
from medlangevin.system.errors import MedlangevinError

Draw = Callable[..., np.ndarray]
Arrays = dict[str, np.ndarray]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def mnist(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    arrays: Arrays = {}
    digests = {}
    for split, prefix, count in (("train", "train", 12), ("test", "t10k", 5)):
        x, y = draw(count, 28, 28), draw(count, 1)[:, 0] % 10
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, count, 28, 28) + x.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, count) + y.tobytes())
        digests[split] = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
        arrays |= {f"x_{split}": x[:, None], f"y_{split}": y}
    monkeypatch.setattr(torchvision_sets, "MNIST_SHA256", digests)
    monkeypatch.setattr(torchvision_sets, "MNIST_VALIDATION", 4)
    return arrays


@pytest.fixture
def cifar10(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    batches = {}
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        batches[name] = (draw(4, 3 * 32 * 32), (draw(4, 1)[:, 0] % 10).tolist())
        (folder / name).write_bytes(pickle.dumps({"data": batches[name][0], "labels": batches[name][1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    cls = torchvision.datasets.CIFAR10
    names = list(batches)
    monkeypatch.setattr(cls, "train_list", [[name, md5(folder / name)] for name in names[:5]])
    monkeypatch.setattr(cls, "test_list", [["test_batch", md5(folder / "test_batch")]])
    monkeypatch.setattr(cls, "meta", cls.meta | {"md5": md5(folder / "batches.meta")})
    return {
        "x_train": np.concatenate([batches[name][0] for name in names[:5]]).reshape(-1, 3, 32, 32),
        "y_train": np.concatenate([batches[name][1] for name in names[:5]]),
        "x_test": batches["test_batch"][0].reshape(-1, 3, 32, 32),
        "y_test": np.array(batches["test_batch"][1]),
    }


@pytest.fixture
def svhn(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    arrays: Arrays = {}
    listing = dict(torchvision.datasets.SVHN.split_list)
    for split, count in (("train", 20), ("test", 6)):
        x, y = draw(count, 3, 32, 32), draw(count, 1) % 10
        path = tmp_path / f"{split}_32x32.mat"
        scipy.io.savemat(path, {"X": x.transpose(2, 3, 1, 0), "y": np.where(y == 0, 10, y)})
        listing[split] = [listing[split][0], path.name, md5(path)]
        arrays |= {f"x_{split}": x, f"y_{split}": y[:, 0]}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listing)
    return arrays


CELEBA_PARTITION = (0, 0, 2, 1, 0, 2, 1)  # 0 train, 1 valid, 2 test; torchvision needs two of each


@pytest.fixture
def celeba(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Aligned pictures of 178 x 218: noise outside the middle 148 x 148, one colour inside."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.png" for number in range(1, len(CELEBA_PARTITION) + 1)]
    colours = draw(len(names), 3)
    for name, colour in zip(names, colours, strict=True):
        picture = draw(218, 178, 3)
        picture[35 : 35 + 148, 15 : 15 + 148] = colour
        Image.fromarray(picture).save(folder / "img_align_celeba" / name)

    def table(header: str, values: str) -> str:
        return header + "".join(f"{name} {values}\n" for name in names)

    files = {
        "list_attr_celeba.txt": table(f"{len(names)}\nBald Young\n", "1 -1"),
        "identity_CelebA.txt": table("", "7"),
        "list_bbox_celeba.txt": table(f"{len(names)}\nimage_id x_1 y_1 width height\n", "1 2 3 4"),
        "list_landmarks_align_celeba.txt": table(f"{len(names)}\na b\n", "1 2"),
        "list_eval_partition.txt": "".join(
            f"{name} {part}\n" for name, part in zip(names, CELEBA_PARTITION, strict=True)
        ),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", [("", md5(folder / name), name) for name in files])
    return {"colours": colours}


def same(images: torch.Tensor | None, expected: np.ndarray) -> bool:
    return images is not None and images.dtype != torch.float32 and np.array_equal(images.numpy(), expected)


def test_mnist_validates_on_the_last_training_images(tmp_path: Path, mnist: Arrays) -> None:
    splits = load_images("mnist", tmp_path)
    assert same(splits.train, mnist["x_train"][:8])
    assert same(splits.valid, mnist["x_train"][8:])
    assert same(splits.test, mnist["x_test"])
    assert same(splits.labels.train, mnist["y_train"][:8])
    assert same(splits.labels.valid, mnist["y_train"][8:])
    assert same(splits.labels.test, mnist["y_test"])
    source = splits.source
    assert (source.origin, source.location) == ("torchvision", str(tmp_path / "MNIST"))
    assert source.validation == "the last 4 training images"


def test_mnist_with_a_changed_pixel(tmp_path: Path, mnist: Arrays) -> None:
    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(MedlangevinError, match="does not hold MNIST's test images unchanged; remove it"):
        load_images("mnist", tmp_path)


@pytest.mark.parametrize("length", [0, 3, 16, 1000])
def test_mnist_cut_short(tmp_path: Path, mnist: Arrays, length: int) -> None:
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(MedlangevinError, match="MNIST is damaged or incomplete") as caught:
        load_images("mnist", tmp_path)
    assert "\n" not in str(caught.value)


def test_mnist_with_a_file_missing(tmp_path: Path, mnist: Arrays) -> None:
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MedlangevinError, match="MNIST is damaged or incomplete"):
        load_images("mnist", tmp_path)


def test_mnist_unpacked_by_torchvision_where_download_is_asked(
    tmp_path: Path, mnist: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    resources = []
    for path in sorted(raw.iterdir()):
        packed = path.with_name(path.name + ".gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        resources.append((packed.name, md5(packed)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    assert same(load_images("mnist", tmp_path, download=True).test, mnist["x_test"])


def test_cifar10(tmp_path: Path, cifar10: Arrays) -> None:
    splits = load_images("cifar10", tmp_path)
    assert splits.source.counts == {"train": 18, "valid": 2, "test": 4}
    assert same(splits.test, cifar10["x_test"])
    assert same(splits.labels.test, cifar10["y_test"])
    assert splits.labels.train is not None
    assert splits.labels.valid is not None
    together = {
        image.numpy().tobytes(): int(label) for image, label in zip(splits.train, splits.labels.train, strict=True)
    }
    together |= {
        image.numpy().tobytes(): int(label) for image, label in zip(splits.valid, splits.labels.valid, strict=True)
    }
    assert together == {x.tobytes(): y for x, y in zip(cifar10["x_train"], cifar10["y_train"].tolist(), strict=True)}


def test_torchvision_files_come_before_the_npz(tmp_path: Path, cifar10: Arrays, draw: Draw) -> None:
    np.savez(tmp_path / "cifar10.npz", x_train=draw(7, 3, 32, 32), x_valid=draw(3, 3, 32, 32))
    assert load_images("cifar10", tmp_path).source.origin == "torchvision"


def test_damaged_cifar10_is_neither_unpickled_nor_replaced(tmp_path: Path, cifar10: Arrays, draw: Draw) -> None:
    np.savez(tmp_path / "cifar10.npz", x_train=draw(7, 3, 32, 32))
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"cbuiltins\nexit\n.")
    with pytest.raises(MedlangevinError, match="cifar-10-batches-py is damaged or incomplete"):
        load_images("cifar10", tmp_path)


def test_svhn(tmp_path: Path, svhn: Arrays) -> None:
    splits = load_images("svhn", tmp_path)
    assert splits.source.counts == {"train": 18, "valid": 2, "test": 6}
    assert same(splits.test, svhn["x_test"])
    assert same(splits.labels.test, svhn["y_test"])
    seen = {image.numpy().tobytes() for image in torch.cat([splits.train, splits.valid])}
    assert seen == {image.tobytes() for image in svhn["x_train"]}


def test_svhn_without_its_test_file(tmp_path: Path, svhn: Arrays) -> None:
    (tmp_path / "test_32x32.mat").unlink()
    assert load_images("svhn", tmp_path).test is None


def test_svhn_damaged(tmp_path: Path, svhn: Arrays) -> None:
    (tmp_path / "test_32x32.mat").write_bytes(b"damage")
    with pytest.raises(MedlangevinError, match=r"test_32x32\.mat is damaged or incomplete"):
        load_images("svhn", tmp_path)


def test_celeba_is_the_middle_of_the_pictures(tmp_path: Path, celeba: Arrays, logged: Callable[[], str]) -> None:
    splits = load_images("celeba", tmp_path)
    assert splits.source.counts == {"train": 3, "valid": 2, "test": 2}
    assert splits.source.validation == "the published partition"
    for number, split in enumerate(("train", "valid", "test")):
        colours = celeba["colours"][np.array(CELEBA_PARTITION) == number]
        assert same(splits.split(split), np.broadcast_to(colours[:, :, None, None], (len(colours), 3, 64, 64)))
    assert "CelebA train 3/3" in logged()


def test_celeba_agrees_with_torchvisions_transforms(tmp_path: Path, draw: Draw) -> None:
    from torchvision.transforms import CenterCrop, Compose, Resize

    from medlangevin.datasets.images.celeba import crop_face

    smooth = Image.fromarray(draw(11, 9, 3)).resize((178, 218), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "face.png")
    assert np.array_equal(crop_face(tmp_path / "face.png"), np.asarray(Compose([CenterCrop(148), Resize(64)])(smooth)))


def test_celeba_is_decoded_once(tmp_path: Path, celeba: Arrays) -> None:
    first = load_images("celeba", tmp_path)
    for picture in (tmp_path / "celeba" / "img_align_celeba").iterdir():
        picture.unlink()
    second = load_images("celeba", tmp_path)
    assert second.source == first.source


def test_celeba_in_a_folder_that_cannot_be_written(
    tmp_path: Path, celeba: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("medlangevin.system.files.tempfile.mkstemp", refuse)
    assert load_images("celeba", tmp_path).source.counts["train"] == 3
    assert not list((tmp_path / "celeba").glob("*.npz"))


def test_celeba_with_a_broken_or_a_small_picture(tmp_path: Path, celeba: Arrays) -> None:
    picture = tmp_path / "celeba" / "img_align_celeba" / "000004.png"
    Image.new("RGB", (89, 109)).save(picture)
    with pytest.raises(MedlangevinError, match=r"000004\.png is 89 x 109 pixels, smaller than the 148 pixel crop"):
        load_images("celeba", tmp_path)
    picture.write_bytes(b"no picture")
    with pytest.raises(MedlangevinError, match=r"000004\.png is missing or cannot be read"):
        load_images("celeba", tmp_path)


def test_celeba_without_its_lists(tmp_path: Path, celeba: Arrays) -> None:
    (tmp_path / "celeba" / "identity_CelebA.txt").unlink()
    with pytest.raises(MedlangevinError, match="celeba is damaged or incomplete"):
        load_images("celeba", tmp_path)


@pytest.mark.parametrize(
    ("name", "cls"), [("mnist", "MNIST"), ("svhn", "SVHN"), ("cifar10", "CIFAR10"), ("celeba", "CelebA")]
)
@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route to host"), RuntimeError("no mirror\nanswered: no route to host")]
)
def test_download_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cls: str, error: Exception
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(getattr(torchvision.datasets, cls), "download", fail)
    with pytest.raises(MedlangevinError, match=r"is missing and cannot be downloaded .*no route to host") as caught:
        load_images(name, tmp_path, download=True)
    assert "\n" not in str(caught.value)
    assert "looked for it in" in str(caught.value)


def test_nothing_is_fetched_unless_asked(tmp_path: Path, cifar10: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", lambda self: calls.append(self))
    load_images("cifar10", tmp_path)
    assert calls == []
    load_images("cifar10", tmp_path, download=True)
    assert calls


def test_the_npz_stands_in_where_the_download_fails(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torchvision.datasets.SVHN, "download", fail)
    np.savez(tmp_path / "svhn.npz", x_train=draw(20, 3, 32, 32))
    assert load_images("svhn", tmp_path, download=True).source.origin == "npz"
