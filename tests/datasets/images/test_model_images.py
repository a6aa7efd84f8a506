"""What a model sees: k/255, or Bernoulli draws anew for every training batch and once for validation and test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medlangevin.datasets.images import ImageSplits, load_images, model_images
from medlangevin.datasets.images.model_images import bernoulli
from medlangevin.system.errors import MedlangevinError

Draw = Callable[..., np.ndarray]
Write = Callable[..., Path]


@pytest.fixture
def grey(write: Write, draw: Draw, tmp_path: Path) -> ImageSplits:
    return load_images(write("grey.npz", x_train=draw(40), x_valid=draw(20), x_test=draw(20)), tmp_path)


@pytest.fixture
def binary(write: Write, draw: Draw, tmp_path: Path) -> ImageSplits:
    return load_images(write("binary.npz", x_train=draw(40, top=2), x_valid=draw(20, top=2)), tmp_path)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_grey_levels_become_k_over_255(grey: ImageSplits) -> None:
    train = model_images(grey).train
    x = train.batch([3, 1])
    assert x.dtype == torch.float32
    assert x.shape == (2, 1, 4, 5)
    assert torch.equal(x, grey.train[[3, 1]].float() / 255)
    assert torch.equal(train.batch(torch.tensor([3, 1])), x)
    assert torch.equal(train.batch(slice(1, 2)), x[1:])
    every = model_images(grey).train.batch(slice(None)) * 255
    assert torch.equal(every.round().to(torch.uint8), grey.train)  # k comes back exactly
    assert len(train) == 40
    assert train.images.dtype == torch.uint8


def test_training_batches_are_drawn_anew_from_the_generator(grey: ImageSplits) -> None:
    train = model_images(grey, binarization="dynamic").train
    generator = seeded(0)
    first, second = train.batch(slice(None), generator=generator), train.batch(slice(None), generator=generator)
    assert first.dtype == torch.float32
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first, second)
    assert torch.equal(train.batch(slice(None), generator=seeded(0)), first)


def test_dynamic_batches_need_a_generator(grey: ImageSplits) -> None:
    with pytest.raises(ValueError, match="generator"):
        model_images(grey, binarization="dynamic").train.batch([0])


def test_validation_and_test_are_drawn_once(grey: ImageSplits) -> None:
    torch.manual_seed(5)
    one = model_images(grey, binarization="dynamic")
    torch.manual_seed(6)
    two = model_images(grey, binarization="dynamic")
    assert torch.equal(one.valid.batch(slice(None)), two.valid.batch(slice(None)))
    assert torch.equal(one.valid.batch(slice(None)), one.valid.batch(slice(None), generator=seeded(3)))
    assert one.test is not None
    assert two.test is not None
    assert torch.equal(one.test.batch(slice(None)), two.test.batch(slice(None)))
    assert set(one.valid.batch(slice(None)).unique().tolist()) == {0.0, 1.0}


def test_each_split_has_its_own_draw(write: Write, tmp_path: Path) -> None:
    same = np.full((20, 1, 4, 5), 128, dtype=np.uint8)
    splits = model_images(
        load_images(write("same.npz", x_train=same, x_valid=same, x_test=same), tmp_path), binarization="dynamic"
    )
    assert splits.test is not None
    assert not torch.equal(splits.valid.images, splits.test.images)


def test_the_fixed_draw_stays_what_it_is(write: Write, tmp_path: Path) -> None:
    ramp = np.arange(0, 256, 15, dtype=np.uint8).reshape(1, 1, 3, 6)
    splits = model_images(load_images(write("ramp.npz", x_train=ramp, x_valid=ramp), tmp_path), binarization="dynamic")
    assert splits.valid.images.flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1]


def test_pixels_are_one_with_probability_k_over_255() -> None:
    # 256 frequencies within 5 binomial standard deviations: one false alarm in about 600 seeds (normal tail).
    draws = 20_000
    levels = torch.arange(256, dtype=torch.uint8).expand(draws, 1, 1, 256)
    probability = torch.arange(256) / 255
    frequency = bernoulli(levels, seeded(0)).double().mean(0).flatten()
    deviation = (frequency - probability).abs() / (probability * (1 - probability) / draws).sqrt().clamp_min(1e-12)
    assert float(deviation[1:-1].max()) < 5
    assert frequency[0] == 0
    assert frequency[255] == 1


def test_static_binary_images_stay_as_they_are(binary: ImageSplits) -> None:
    splits = model_images(binary, binarization="static")
    assert torch.equal(splits.train.batch(slice(None)), binary.train.float())
    assert torch.equal(splits.valid.batch([4]), binary.valid[[4]].float())
    assert splits.test is None


def test_mean_image(grey: ImageSplits, binary: ImageSplits) -> None:
    expected = grey.train.double().mean(0) / 255
    assert torch.allclose(model_images(grey).train.mean().double(), expected, atol=1e-7)
    assert torch.allclose(model_images(grey, binarization="dynamic").train.mean().double(), expected, atol=1e-7)
    expected = binary.train.double().mean(0)
    assert torch.allclose(model_images(binary, binarization="static").train.mean().double(), expected, atol=1e-7)


def test_the_kind_of_set_has_to_fit(grey: ImageSplits, binary: ImageSplits) -> None:
    with pytest.raises(MedlangevinError, match="holds grey levels, not 0 and 1 alone; choose"):
        model_images(grey, binarization="static")
    for binarization in ("none", "dynamic"):
        with pytest.raises(MedlangevinError, match="holds 0 and 1 alone; choose binarization static"):
            model_images(binary, binarization=binarization)
    with pytest.raises(MedlangevinError, match="'fixed' is not known; choose none, dynamic, static"):
        model_images(grey, binarization="fixed")  # type: ignore[arg-type]
