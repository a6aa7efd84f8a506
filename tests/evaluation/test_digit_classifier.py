"""The classifier on ten made-up digits: a bright bar in one of ten places, amid noise."""

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medlangevin.datasets.images import ImageSplits, Labels, load_images, torchvision_sets
from medlangevin.evaluation import digit_classifier
from medlangevin.evaluation.digit_classifier import (
    RECORD,
    WEIGHTS,
    Accuracies,
    ClassifierSettings,
    DigitClassifier,
    DigitNetwork,
    augment,
    load_or_train,
    train_digits,
)
from medlangevin.system.errors import MedlangevinError

# All images are recognised with each of 40 seeds; half of these widths fail with one seed in eight.
SMALL = ClassifierSettings(channels=(8, 16), hidden=64, epochs=4, batch_size=20, learning_rate=0.005)


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (count, 28, 28) and labels: 2 x 5 places, further apart than the shifts reach."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 60, (count, 28, 28)), np.arange(count) % 10
    for image, label in zip(x, y, strict=True):
        row, column = 3 + 14 * (label // 5), 1 + 5 * (label % 5)
        image[row : row + 8, column + 1 : column + 4] += 180
    return x.astype(np.uint8), y.astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """400 training, 100 validation and 100 test images in the layout of MNIST."""
    root = tmp_path_factory.mktemp("digits")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digests = {}
    for split, prefix, count in (("train", "train", 500), ("test", "t10k", 100)):
        x, y = bars(count, seed=count)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, count, 28, 28) + x.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, count) + y.tobytes())
        digests[split] = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision_sets, "MNIST_SHA256", digests)
        patch.setattr(torchvision_sets, "MNIST_VALIDATION", 100)
        yield root


@pytest.fixture(scope="module")
def splits(root: Path) -> ImageSplits:
    return load_images("mnist", root)


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DigitClassifier, Path]:
    """A new classifier and the folder that keeps it."""
    folder = tmp_path_factory.mktemp("cache") / "new"
    with torch.no_grad():  # as evaluations are
        return load_or_train(folder, root, settings=SMALL), folder


@pytest.fixture
def kept(trained: tuple[DigitClassifier, Path], tmp_path: Path) -> Path:
    """A copy of that folder, to be changed."""
    return Path(shutil.copytree(trained[1], tmp_path / "kept"))


@pytest.fixture
def trainings(trained: tuple[DigitClassifier, Path], monkeypatch: pytest.MonkeyPatch) -> list[ClassifierSettings]:
    """The trainings asked for from now on; none is done."""
    asked: list[ClassifierSettings] = []

    def note(_: ImageSplits, settings: ClassifierSettings) -> tuple[DigitNetwork, Accuracies]:
        asked.append(settings)
        return trained[0].network, trained[0].accuracies

    monkeypatch.setattr(digit_classifier, "train_digits", note)
    return asked


def grey(images: torch.Tensor | None) -> torch.Tensor:
    assert images is not None
    return images.float() / 255


def test_learns(trained: tuple[DigitClassifier, Path], splits: ImageSplits) -> None:
    classifier, folder = trained
    assert min(classifier.accuracies) >= SMALL.least_accuracy
    assert splits.labels.test is not None
    p = classifier.probabilities(grey(splits.test))
    assert float((p.argmax(1) == splits.labels.test).double().mean()) == classifier.accuracies.test
    assert sorted(file.name for file in folder.iterdir()) == [RECORD, WEIGHTS]
    record = json.loads((folder / RECORD).read_text())
    assert record["format"] == 1
    assert record["images_sha256"] == splits.source.sha256
    assert record["settings"] | {"channels": (8, 16)} == SMALL._asdict()
    assert record["accuracies"] == classifier.accuracies._asdict()
    assert not any(value.requires_grad for value in classifier.network.parameters())


def test_probabilities_and_features(trained: tuple[DigitClassifier, Path], splits: ImageSplits) -> None:
    classifier, x = trained[0], grey(splits.train)[:7]
    p, features = classifier.probabilities(x), classifier.features(x)
    assert p.shape == (7, 10)
    assert p.dtype == torch.float64
    assert features.shape == (7, 64)
    assert torch.allclose(p.sum(1), torch.ones(7, dtype=torch.float64), atol=1e-14)
    # The features are what the last layer, and nothing else, makes the probabilities of.
    head = classifier.network.head
    logits = features.double() @ head.weight.double().T + head.bias.double()
    assert torch.allclose(p, logits.softmax(1), atol=1e-5)
    # Each image for itself: neither the others nor the parts they are taken in have a say.
    many = x.repeat(100, 1, 1, 1)
    assert torch.allclose(classifier.probabilities(many), p.repeat(100, 1), atol=1e-6)
    assert torch.allclose(torch.cat([classifier.probabilities(one[None]) for one in x]), p, atol=1e-6)
    # Values outside [0, 1] count as black and white.
    assert torch.equal(classifier.probabilities(x.round() * 3 - 1), classifier.probabilities(x.round()))


def test_kept_classifier_is_the_same(
    trained: tuple[DigitClassifier, Path],
    root: Path,
    splits: ImageSplits,
    trainings: list[ClassifierSettings],
    capsys: pytest.CaptureFixture,
) -> None:
    state = torch.get_rng_state()
    kept = load_or_train(trained[1], root, settings=SMALL)
    assert trainings == []
    assert capsys.readouterr().out == ""
    assert torch.equal(torch.get_rng_state(), state)
    x = grey(splits.test)
    assert torch.equal(kept.probabilities(x), trained[0].probabilities(x))
    assert torch.equal(kept.features(x), trained[0].features(x))
    assert kept.accuracies == trained[0].accuracies


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"images_sha256": "0" * 64},
        {"settings": SMALL._asdict() | {"seed": 1}},
        {"settings": None},
    ],
)
def test_another_record_trains_again(
    kept: Path, root: Path, trainings: list[ClassifierSettings], change: dict[str, object]
) -> None:
    record = json.loads((kept / RECORD).read_text())
    (kept / RECORD).write_text(json.dumps(record | change))
    load_or_train(kept, root, settings=SMALL)
    assert trainings == [SMALL]
    assert json.loads((kept / RECORD).read_text()) == record
    load_or_train(kept, root, settings=SMALL)
    assert trainings == [SMALL]


@pytest.mark.parametrize("name", [WEIGHTS, RECORD])
def test_half_of_the_files_trains_again(kept: Path, root: Path, trainings: list[ClassifierSettings], name: str) -> None:
    (kept / name).unlink()
    load_or_train(kept, root, settings=SMALL)
    assert trainings == [SMALL]
    assert sorted(file.name for file in kept.iterdir()) == [RECORD, WEIGHTS]


def test_a_record_that_is_no_record_trains_again(kept: Path, root: Path, trainings: list[ClassifierSettings]) -> None:
    (kept / RECORD).write_text("[]")
    load_or_train(kept, root, settings=SMALL)
    assert trainings == [SMALL]


def test_damage_is_reported(kept: Path, root: Path, trainings: list[ClassifierSettings]) -> None:
    weights, record = (kept / WEIGHTS).read_bytes(), (kept / RECORD).read_text()
    flipped = weights[:-1] + bytes([weights[-1] ^ 1])
    for damaged in (weights[:-100], flipped, b""):
        (kept / WEIGHTS).write_bytes(damaged)
        with pytest.raises(MedlangevinError, match=f"{WEIGHTS} is damaged.*{RECORD}; delete both") as caught:
            load_or_train(kept, root, settings=SMALL)
        assert "\n" not in str(caught.value)
    (kept / WEIGHTS).write_bytes(weights)
    parsed = json.loads(record)
    for key in ("weights_sha256", "accuracies"):
        (kept / RECORD).write_text(json.dumps({name: value for name, value in parsed.items() if name != key}))
        with pytest.raises(MedlangevinError, match="delete both"):
            load_or_train(kept, root, settings=SMALL)
    (kept / RECORD).write_text(record[:100])
    with pytest.raises(MedlangevinError, match=f"{RECORD} is not valid JSON"):
        load_or_train(kept, root, settings=SMALL)
    assert trainings == []


def test_weights_of_another_network(kept: Path, root: Path, trainings: list[ClassifierSettings]) -> None:
    other = SMALL._replace(hidden=8)
    record = json.loads((kept / RECORD).read_text())
    record["settings"]["hidden"] = 8
    (kept / RECORD).write_text(json.dumps(record))
    with pytest.raises(MedlangevinError, match="delete both") as caught:
        load_or_train(kept, root, settings=other)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_costs_no_training(
    tmp_path: Path, root: Path, trainings: list[ClassifierSettings]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MedlangevinError, match="cannot write"):
        load_or_train(tmp_path / "file", root, settings=SMALL)
    assert trainings == []


def test_same_seed_same_weights(trained: tuple[DigitClassifier, Path], splits: ImageSplits) -> None:
    torch.manual_seed(123)  # the state of the global generator has no say
    state = torch.get_rng_state()
    # Nor have the test images, nor their labels: what is trained is the same without them.
    assert splits.labels.test is not None
    other = splits._replace(test=255 - splits.split("test"), labels=splits.labels._replace(test=9 - splits.labels.test))
    network, accuracies = train_digits(other, SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    saved = load_file(trained[1] / WEIGHTS)
    assert saved.keys() == network.state_dict().keys()
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
    assert accuracies[:2] == trained[0].accuracies[:2]
    assert accuracies.test < 0.5


def test_another_seed_gives_other_weights(splits: ImageSplits) -> None:
    few = splits._replace(train=splits.train[:40])
    one, same, two = (
        train_digits(few, SMALL._replace(epochs=1, seed=seed, least_accuracy=0))[0].head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, two)


def test_labels_that_mean_nothing(splits: ImageSplits, root: Path, tmp_path: Path) -> None:
    assert splits.labels.train is not None
    shuffled = splits.labels.train[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    senseless = splits._replace(labels=Labels(shuffled, splits.labels.valid, splits.labels.test))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_classifier, "load_images", lambda *_: senseless)
        with pytest.raises(MedlangevinError, match=r"validation accuracy 0\.\d+.* less than 0\.985") as caught:
            load_or_train(tmp_path / "cache", root, settings=SMALL._replace(epochs=2))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 3, 32, 32),
        torch.zeros(2, 28, 28),
        torch.zeros(1, 28, 28),
        torch.zeros(0, 1, 28, 28),
        torch.zeros(2, 1, 28, 28, dtype=torch.uint8),
        torch.full((2, 1, 28, 28), torch.nan),
    ],
)
def test_refuses_what_is_no_digit(trained: tuple[DigitClassifier, Path], x: torch.Tensor) -> None:
    for judge in (trained[0].probabilities, trained[0].features):
        with pytest.raises(MedlangevinError, match=r"floating images of N x 1 x 28 x 28, not|NaN") as caught:
            judge(x)
        assert "\n" not in str(caught.value)


def test_augmentation_moves_all_and_draws_half() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 6, 9, dtype=torch.uint8)
    image[0, 2, 3], image[0, 3, 5] = 255, 51
    x = augment(image.expand(2000, 1, 6, 9), generator)
    assert x.shape == (2000, 1, 6, 9)
    drawn, shaded = x[:1000], x[1000:]
    assert set(drawn.unique().tolist()) == {0, 1}
    shifts = set()
    for one in shaded:
        row, column = one[0].eq(1).nonzero()[0].tolist()
        shifts.add((row - 2, column - 3))
        if column + 2 < 9 and row + 1 < 6:  # the whole image moves, not each pixel
            assert one[0, row + 1, column + 2] == pytest.approx(0.2)
        assert one.count_nonzero() <= 2
    # All 25 shifts; one is missing by chance with probability 25 (24/25)^1000 < 1e-16.
    assert shifts == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    # k/255 = 0.2 comes up in a fifth of the draws: 5 standard errors, false alarm < 1e-6. White always does.
    assert bool((drawn.sum((1, 2, 3)) >= 1).all())
    share = float((drawn.sum((1, 2, 3)) - 1).mean())
    assert share == pytest.approx(0.2, abs=5 * (0.16 / 1000) ** 0.5)
