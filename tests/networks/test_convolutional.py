"""Convolutional encoder and decoder: sizes, start values, evenness of the output."""

from typing import Any

import pytest
import torch
from torch import nn

from medlangevin.networks import ConvDecoder, ConvEncoder, ConvFeatures, strided_shapes
from medlangevin.networks.convolutional import ScaledLinear

SHAPES = [(1, 28, 28), (3, 33, 17), (1, 60, 50, 50), (2, 9, 12, 7), (1, 1, 2, 3)]


def test_strided_shapes_of_a_cochlea_crop():
    assert strided_shapes((60, 50, 50), 3) == [(60, 50, 50), (30, 25, 25), (15, 13, 13), (8, 7, 7)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sizes_in_two_and_three_dimensions(shape):
    torch.manual_seed(0)
    encoder = ConvEncoder(shape, 5, channels=(4, 6, 8), hidden=12)
    decoder = ConvDecoder(shape, 5, channels=(4, 6, 8), hidden=12)
    x = torch.rand(2, *shape)
    mean, scale = encoder(x)
    assert mean.shape == scale.shape == (2, 5)
    assert (scale > 0).all()
    image = decoder(mean)
    assert image.shape == x.shape
    assert image.min() > 0
    assert image.max() < 1


def test_encoder_activations_match_strided_shapes():
    shape = (1, 13, 10, 7)
    encoder = ConvEncoder(shape, 2, channels=(3, 4), hidden=5)
    x = torch.rand(1, *shape)
    for convolution, expected in zip(encoder.convolutions, strided_shapes(shape[1:], 2)[1:], strict=True):
        x = convolution(x)
        assert tuple(x.shape[2:]) == expected


@pytest.mark.parametrize(("channels", "hidden"), [((8, 16, 32), 64), ((16, 32, 64), 256)])
def test_they_start_at_useful_sizes(channels, hidden):
    shape = (1, 24, 20, 20)
    torch.manual_seed(0)
    mean_image = 0.2 + 0.6 * torch.rand(shape)
    encoder = ConvEncoder(
        shape, 16, channels=channels, hidden=hidden, mean_image=mean_image, input_scale=0.1, initial_scale=0.1
    )
    decoder = ConvDecoder(shape, 16, channels=channels, hidden=hidden, mean_image=mean_image)
    with torch.no_grad():
        mean, scale = encoder(mean_image + 0.1 * torch.randn(64, *shape))
        images = decoder(torch.randn(64, 16))
    # Means of the order of the prior's, scales where asked, images near the mean image that do depend on z.
    assert 0.1 < mean.std(0).mean() < 2
    assert mean.abs().mean() < 2
    assert 0.05 < scale.mean() < 0.2
    assert 0.005 < images.std(0).mean() < 0.05
    assert (images.mean(0) - mean_image).abs().mean() < 0.05


def test_an_encoder_sees_nothing_in_the_mean_image():
    shape = (1, 8, 8)
    mean_image = torch.rand(shape)
    encoder = ConvEncoder(shape, 3, channels=(4,), hidden=5, mean_image=mean_image)
    mean, _ = encoder(mean_image[None])
    torch.testing.assert_close(mean, torch.zeros(1, 3))


def test_the_mean_image_is_state_and_not_a_parameter():
    decoder = ConvDecoder((1, 8, 8), 3, channels=(4,), hidden=5, mean_image=torch.full((1, 8, 8), 0.3))
    assert "mean_logit" in decoder.state_dict()
    assert "mean_logit" not in dict(decoder.named_parameters())


def test_decoder_spreads_evenly_no_checkerboard():
    """With equal weights everywhere a flat input must give a flat interior, whatever the parity of the voxel."""
    decoder = ConvDecoder((1, 32, 24, 24), 2, channels=(3, 4, 5), hidden=4, output="logit")
    image = torch.ones(1, 5, *strided_shapes((32, 24, 24), 3)[-1])
    with torch.no_grad():
        for convolution in decoder.convolutions:
            nn.init.constant_(convolution.get_parameter("weight"), 0.01)
            image = convolution(image)
    interior = image[..., 8:-8, 8:-8, 8:-8]
    assert interior.std() < 1e-5 * interior.mean()


def test_scaled_linear_moves_little_for_a_step_of_every_weight():
    torch.manual_seed(0)
    layer, x = ScaledLinear(10_000, 3), torch.ones(1, 10_000)
    before = layer(x)
    with torch.no_grad():
        layer.weight += 1e-3
    torch.testing.assert_close(layer(x) - before, torch.full((1, 3), 0.1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_features_are_what_the_encoder_s_head_sees(shape):
    torch.manual_seed(0)
    mean_image = torch.rand(shape)
    options: dict[str, Any] = {"channels": (4, 6), "hidden": 12, "mean_image": mean_image, "input_scale": 0.3}
    features, encoder = ConvFeatures(shape, **options), ConvEncoder(shape, 5, **options)
    assert features.num_features == 12
    left = encoder.load_state_dict(features.state_dict(), strict=False)
    assert set(left.missing_keys) == {"head.weight", "head.bias"}
    assert not left.unexpected_keys
    x = torch.rand(3, *shape)
    assert features(x).shape == (3, 12)
    torch.testing.assert_close(encoder.head(features(x)), encoder(x))


def test_the_names_of_the_encoder_s_state_are_those_of_earlier_checkpoints():
    names = set(ConvEncoder((1, 8, 8), 3, channels=(4,), hidden=5).state_dict())
    layers = ("convolutions.0", "dense", "head")
    assert names == {"mean_image", *(f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))}


@pytest.mark.parametrize("output", ["logit", "symmetric"])
def test_outputs_other_than_probabilities(output):
    torch.manual_seed(0)
    mean_image = 0.2 + 0.6 * torch.rand(1, 8, 8)
    probability = ConvDecoder((1, 8, 8), 3, channels=(4,), hidden=5, mean_image=mean_image)
    other = ConvDecoder((1, 8, 8), 3, channels=(4,), hidden=5, output=output)
    other.load_state_dict(probability.state_dict())
    z = torch.randn(2, 3)
    expected = probability(z).logit()
    if output == "symmetric":
        expected = expected - mean_image.logit() + 2 * mean_image - 1
    torch.testing.assert_close(other(z), expected, rtol=1e-4, atol=1e-5)
