"""The 2D benchmark images: MNIST, SVHN, CIFAR-10, CelebA, static binarised MNIST and any user data set as ``.npz``.

``load_images`` reads a set into uint8 tensors, ``data_root`` says where from, ``model_images`` turns the splits into
what a model sees: x in [0, 1], binarised where asked.
"""

from medlangevin.datasets.images.load import NAMES, data_root, load_images, load_splits
from medlangevin.datasets.images.model_images import ModelImages, model_images
from medlangevin.datasets.images.splits import ImageSource, ImageSplits, Labels

__all__ = [
    "NAMES",
    "ImageSource",
    "ImageSplits",
    "Labels",
    "ModelImages",
    "data_root",
    "load_images",
    "load_splits",
    "model_images",
]
