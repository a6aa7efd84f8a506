"""A digit classifier, trained here on MNIST, for the Inception Score and the Fréchet distance of generated digits.

Its figures compare models that were judged with this same classifier; they are not those of Inception-v3.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medlangevin.datasets.images import ImageSource, load_images
from medlangevin.errors import MedlangevinError
from medlangevin.evaluation.digit_training import (
    CHUNK,
    STANDARD,
    Accuracies,
    ClassifierSettings,
    DigitNetwork,
    train_digits,
)
from medlangevin.io import atomic_path, read_json, write_json
from medlangevin.training.checkpoint import save_tensors

WEIGHTS, RECORD = "digit_classifier.safetensors", "digit_classifier.json"
FORMAT = 1
SHAPE = (1, 28, 28)


class DigitClassifier(NamedTuple):
    """A trained network, on the CPU, and how often it is right.

    x is (N, 1, 28, 28), floating, on any device: digits in [0, 1], grey or 0/1; values outside are clipped, as in a
    picture. Other shapes and NaN raise MedlangevinError.
    """

    network: DigitNetwork
    accuracies: Accuracies

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """p(digit | x), (N, 10) float64 on the CPU."""
        logits: Tensor = self.network.head(self.features(x))
        return logits.double().softmax(1)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """What the last layer decides on, after its ReLU: (N, hidden) float32 on the CPU."""
        if tuple(x.shape[1:]) != SHAPE or len(x) == 0 or not x.is_floating_point():
            kind = str(x.dtype).removeprefix("torch.")
            raise MedlangevinError(
                f"the digit classifier takes floating images of N x 1 x 28 x 28, not {kind} of "
                f"{' x '.join(map(str, x.shape))}; ask for inception scores of digits alone"
            )
        if not bool(torch.isfinite(x).all()):
            raise MedlangevinError("the images to classify hold NaN or infinite values; train their model again")
        return torch.cat([self.network.features(part.cpu().float().clamp(0, 1)) for part in x.split(CHUNK)])


def load_or_train(folder: Path, root: Path, *, settings: ClassifierSettings = STANDARD) -> DigitClassifier:
    """The classifier kept in ``folder``, or a new one trained on MNIST of the data ``root`` and kept there.

    Two files: ``digit_classifier.safetensors`` and the record ``digit_classifier.json``. Where one is absent, or the
    record speaks of other images, settings or another format, training takes a few minutes and both are replaced.
    Raises MedlangevinError when the files are damaged, MNIST is missing, the folder cannot be written, or
    the training does not reach ``settings.least_accuracy``.
    """
    weights, record = Path(folder) / WEIGHTS, Path(folder) / RECORD
    splits = load_images("mnist", root)
    about = _identity(splits.source, settings)
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


def _identity(source: ImageSource, settings: ClassifierSettings) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in settings._asdict().items()}
    return {"format": FORMAT, "images_sha256": source.sha256, "settings": plain}


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
