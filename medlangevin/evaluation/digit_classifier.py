"""A digit classifier, trained here on MNIST, for the Inception Score and the Fréchet distance of generated digits.

Its figures compare models that were judged with this same classifier; they are not those of Inception-v3.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from medlangevin.datasets.images import ImageSplits, ModelImages, load_images, model_images
from medlangevin.datasets.images.model_images import bernoulli
from medlangevin.runs.checkpoint import save_tensors
from medlangevin.runs.randomness import derive_seed, generator
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path, read_json, write_json
from medlangevin.system.progress import progress
from medlangevin.training.optimizer import learning_rate_factor, set_learning_rate
from medlangevin.training.sources import EpochBatches

WEIGHTS, RECORD = "digit_classifier.safetensors", "digit_classifier.json"

SHAPE = (1, 28, 28)
_FORMAT = 1
_CLASSES = 10
_SHIFT = 2  # pixels
_CHUNK = 500  # images classified at a time
T = TypeVar("T")


class ClassifierSettings(NamedTuple):
    """What the classifier is and how it is trained.

    Attributes:
        channels: Of the two convolutions.
        hidden: Number of features.
        epochs: Over the training images.
        batch_size: Images in a step.
        learning_rate: Of Adam at its highest, after a tenth of the steps, falling to 0.
        seed: Weights, order and augmentation follow from it.
        least_accuracy: See ``train_digits``.
    """

    channels: tuple[int, int] = (32, 64)
    hidden: int = 128
    epochs: int = 6
    batch_size: int = 128
    learning_rate: float = 2e-3
    seed: int = 0
    least_accuracy: float = 0.985


STANDARD = ClassifierSettings()  # published figures are those of this one


class Accuracies(NamedTuple):
    """Shares of images that are recognised; binarised ones are drawn once with the fixed seeds of the image sets.

    Attributes:
        validation: Of the grey validation images.
        validation_binarised: Of the binarised ones.
        test: Of the grey test images.
        test_binarised: Of the binarised ones.
    """

    validation: float
    validation_binarised: float
    test: float
    test_binarised: float


class DigitNetwork(nn.Module):
    """conv 3x3 - pool - conv 3x3 - pool - dense (the features) - dense (the logits), with BatchNorm and ReLU."""

    def __init__(self, channels: tuple[int, int], hidden: int) -> None:
        super().__init__()
        first, second = channels
        self.features = nn.Sequential(
            *_convolution(1, first),
            *_convolution(first, second),
            nn.Flatten(),
            nn.Linear(second * 7 * 7, hidden),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden, _CLASSES)
        self.to(memory_format=torch.channels_last)  # trains in a quarter less time on a CPU

    def forward(self, x: Tensor) -> Tensor:
        """Classify digits.

        Args:
            x: Images (N, 1, 28, 28) in [0, 1].

        Returns:
            Logits (N, 10).
        """
        logits: Tensor = self.head(self.features(x))
        return logits


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)


class DigitClassifier(NamedTuple):
    """A trained network, on the CPU, and how often it is right.

    Attributes:
        network: The network.
        accuracies: How often it is right.
    """

    network: DigitNetwork
    accuracies: Accuracies

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """How probable each digit is.

        Args:
            x: As for ``features``.

        Returns:
            p(digit | x), (N, 10) float64 on the CPU.

        Raises:
            MedlangevinError: As for ``features``.
        """
        logits: Tensor = self.network.head(self.features(x))
        return logits.double().softmax(1)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """What the last layer decides on, after its ReLU.

        Args:
            x: Digits (N, 1, 28, 28), floating, on any device, in [0, 1], grey or 0/1; values outside are clipped, as in
                a picture.

        Returns:
            Features (N, hidden) float32 on the CPU.

        Raises:
            MedlangevinError: Images of another shape or type, or NaN or infinity.
        """
        if tuple(x.shape[1:]) != SHAPE or len(x) == 0 or not x.is_floating_point():
            kind = str(x.dtype).removeprefix("torch.")
            raise MedlangevinError(
                f"the digit classifier takes floating images of N x 1 x 28 x 28, not {kind} of "
                f"{' x '.join(map(str, x.shape))}; ask for inception scores of digits alone"
            )
        if not bool(torch.isfinite(x).all()):
            raise MedlangevinError("the images to classify hold NaN or infinite values; train their model again")
        return torch.cat([self.network.features(part.cpu().float().clamp(0, 1)) for part in x.split(_CHUNK)])


def load_or_train(folder: Path, root: Path, *, settings: ClassifierSettings = STANDARD) -> DigitClassifier:
    """The classifier kept in a folder, or a new one that is trained on MNIST and kept there.

    Two files: ``digit_classifier.safetensors`` and the record ``digit_classifier.json``. Where one is absent, or the
    record speaks of other images, settings or another format, training takes a few minutes and both are replaced.

    Args:
        folder: The folder.
        root: Data root of MNIST.
        settings: The classifier and its training.

    Returns:
        The classifier.

    Raises:
        MedlangevinError: The files are damaged, MNIST is missing, the folder cannot be written, or the training does
            not reach ``settings.least_accuracy``.
    """
    weights, record = Path(folder) / WEIGHTS, Path(folder) / RECORD
    splits = load_images("mnist", root)
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in settings._asdict().items()}
    about = {"format": _FORMAT, "images_sha256": splits.source.sha256, "settings": plain}
    if weights.is_file() and record.is_file():
        kept = read_json(record)
        if isinstance(kept, dict) and all(kept.get(key) == value for key, value in about.items()):
            return _load(weights, record, kept, settings)
    with atomic_path(weights) as temporary:  # opened first: a folder that cannot be written must not cost the training
        network, accuracies = train_digits(splits, settings)
        save_tensors(network.state_dict(), temporary)
        digest = _sha256(temporary)
    # The record comes last: until it is there, or while it is an older one, the weights are not believed.
    write_json(record, about | {"accuracies": accuracies._asdict(), "weights_sha256": digest})
    return DigitClassifier(network, accuracies)


def _load(weights: Path, record: Path, kept: dict[str, Any], settings: ClassifierSettings) -> DigitClassifier:
    try:
        if _sha256(weights) != kept["weights_sha256"]:
            raise ValueError("not the bytes that were written")
        accuracies = Accuracies(**kept["accuracies"])
        with torch.random.fork_rng(devices=[]):  # building draws weights that loading replaces
            network = DigitNetwork(settings.channels, settings.hidden)
        network.load_state_dict(load_file(weights))
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise MedlangevinError(
            f"{weights} is damaged or does not belong to {record.name}; delete both, and the classifier is trained anew"
        ) from error
    return DigitClassifier(network.eval().requires_grad_(False), accuracies)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@torch.enable_grad()
def train_digits(splits: ImageSplits, settings: ClassifierSettings) -> tuple[DigitNetwork, Accuracies]:
    """Train on the training images of MNIST.

    The validation images decide only whether it is good enough, the test images nothing. The result follows from
    ``settings`` and the images alone, on the same kind of machine.

    Args:
        splits: MNIST.
        settings: The classifier and its training.

    Returns:
        The network of the last epoch, in evaluation mode, on the CPU, and its accuracies.

    Raises:
        MedlangevinError: Either validation accuracy is below ``settings.least_accuracy``: the scores of such a
            classifier would mean nothing.
    """
    grey, binarised = model_images(splits), model_images(splits, binarization="dynamic")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(settings.seed, "weights"))
        network = DigitNetwork(settings.channels, settings.hidden)
    optimizer = torch.optim.Adam(network.parameters())
    batches = EpochBatches(len(splits.train), settings.batch_size, seed=settings.seed)
    total, labels = settings.epochs * len(batches), _required(splits.labels.train)
    with progress(settings.epochs, "digit classifier, epoch") as track:
        for epoch in range(settings.epochs):
            batches.set_epoch(epoch)
            augmentation = generator(settings.seed, "augmentation", epoch)
            network.train()
            for step, positions in enumerate(batches, start=epoch * len(batches)):
                warmup = max(1, total // 10)
                factor = learning_rate_factor(step, total_steps=total, warmup_steps=warmup, schedule="cosine")
                set_learning_rate(optimizer, settings.learning_rate * factor)
                x = augment(splits.train[positions], augmentation)
                optimizer.zero_grad()
                functional.cross_entropy(network(x), labels[positions]).backward()
                optimizer.step()
            valid = [accuracy(network, images.valid, splits.labels.valid) for images in (grey, binarised)]
            note = f"validation accuracy {valid[0]:.4f}, binarised {valid[1]:.4f}"
            track.advance(epoch + 1, note)
    if min(valid) < settings.least_accuracy:
        raise MedlangevinError(
            f"the digit classifier reaches a {note}, less than {settings.least_accuracy:g}, so its scores would mean "
            f"nothing; check the digits and labels in {splits.source.location}"
        )
    test = [accuracy(network, images.test, splits.labels.test) for images in (grey, binarised)]
    network.eval().requires_grad_(False)
    return network, Accuracies(*valid, *test)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """The first half of the images drawn as 0/1, each image moved by up to 2 pixels both ways.

    So binary samples and mean images both look familiar. What is moved in is black.

    Args:
        images: uint8 (n, C, H, W).
        generator: Of the draws and moves.

    Returns:
        float32 (n, C, H, W) in [0, 1].
    """
    half = len(images) // 2
    x = torch.cat([bernoulli(images[:half], generator).float(), images[half:].float() / 255])
    height, width = x.shape[2:]
    down, right = torch.randint(2 * _SHIFT + 1, (2, len(x), 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    padded = functional.pad(x, (_SHIFT,) * 4)
    image = torch.arange(len(x))[:, None, None]
    # Indexing on both sides of the channels puts them last.
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def accuracy(network: DigitNetwork, images: ModelImages | None, labels: Tensor | None) -> float:
    """How many images are recognised.

    Args:
        network: The network; it is left in evaluation mode.
        images: The images.
        labels: Their digits.

    Returns:
        The share of images whose most probable digit is the label.
    """
    images, labels = _required(images), _required(labels)
    network.eval()
    parts = torch.arange(len(images)).split(_CHUNK)
    right = sum(int((network(images.batch(part)).argmax(1) == labels[part]).sum()) for part in parts)
    return right / len(images)


def _required(value: T | None) -> T:
    if value is None:
        raise ValueError("the digit classifier needs images and labels of every split")
    return value
