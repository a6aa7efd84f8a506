"""The papers' 2D networks: sizes of every layer, numbers of parameters, start values, derivatives."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from medlangevin.networks import Conv5Decoder, Conv5Encoder, Conv5Features, strided_shapes
from medlangevin.system.errors import MedlangevinError

SHAPES = [(1, 28, 28), (3, 32, 32), (2, 27, 31), (1, 1, 2)]
SMALL: dict[str, Any] = {"channels": (3, 4), "hidden": 6}


def centred(values: torch.Tensor) -> torch.Tensor:
    return functional.softplus(values) - math.log(2)


def features_of(encoder: Conv5Encoder) -> Conv5Features:
    assert isinstance(encoder.features, Conv5Features)
    return encoder.features


def convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def sizes_of(network: nn.Module, inputs: torch.Tensor) -> list[tuple[int, ...]]:
    """The shape that each convolution of ``network`` gives, in order, for one image."""
    sizes: list[tuple[int, ...]] = []
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(lambda _layer, _inputs, output: sizes.append(tuple(output.shape[1:])))
    network(inputs)
    return sizes


@pytest.mark.claim("conv5")
def test_the_sizes_are_those_of_the_papers():
    encoder, decoder = Conv5Encoder((1, 28, 28), 64), Conv5Decoder((1, 28, 28), 64)
    assert sizes_of(encoder, torch.rand(1, 1, 28, 28)) == [(16, 14, 14), (32, 7, 7), (32, 4, 4)]
    assert sizes_of(decoder, torch.randn(1, 64)) == [(32, 7, 7), (16, 14, 14), (1, 28, 28)]
    assert (decoder.dense.in_features, decoder.dense.out_features) == (64, 450)
    assert (decoder.expand.in_features, decoder.expand.out_features) == (450, 32 * 4 * 4)
    dense = features_of(encoder).dense
    assert (dense.in_features, dense.out_features) == (512, 450)


@pytest.mark.claim("conv5")
def test_the_numbers_of_parameters_counted_by_hand():
    def count(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    first, second, third = 16 * 25 + 16, 32 * 16 * 25 + 32, 32 * 32 * 25 + 32  # 416, 12832, 25632
    encoder = first + second + third + (512 * 450 + 450) + 2 * (450 * 64 + 64)
    decoder = (64 * 450 + 450) + (450 * 512 + 512) + third + (32 * 16 * 25 + 16) + (16 * 25 + 1)
    assert (encoder, decoder) == (327_458, 299_011)
    assert count(Conv5Encoder((1, 28, 28), 64)) == encoder
    assert count(Conv5Decoder((1, 28, 28), 64)) == decoder


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("channels", [(3,), (3, 4, 5), (3, 4, 5, 6)], ids=len)
def test_other_sizes_and_numbers_of_levels(shape, channels):
    torch.manual_seed(0)
    encoder = Conv5Encoder(shape, 5, channels=channels, hidden=7)
    decoder = Conv5Decoder(shape, 5, channels=channels, hidden=7)
    x = torch.rand(2, *shape)
    mean, scale = encoder(x)
    assert mean.shape == scale.shape == (2, 5)
    image = decoder(mean)
    assert image.shape == x.shape
    assert image.min() > 0
    assert image.max() < 1
    shapes = strided_shapes(shape[1:], len(channels))
    assert [size[1:] for size in sizes_of(encoder, x)] == shapes[1:]
    assert [size[1:] for size in sizes_of(decoder, mean)] == shapes[-2::-1]


@pytest.mark.claim("conv5")
def test_signals_keep_their_size_through_depth():
    """What differs from image to image, or from z to z, is of order one at every layer at the start.

    Started smaller (a factor of 0.3 a layer), the networks stay at the mean image for thousands of steps.
    """
    torch.manual_seed(0)
    encoder = Conv5Encoder((1, 28, 28), 64, mean_image=torch.full((1, 28, 28), 0.5), input_scale=0.5)
    decoder = Conv5Decoder((1, 28, 28), 64)
    sizes: list[float] = []
    for layer in [
        *features_of(encoder).convolutions,
        features_of(encoder).dense,
        decoder.dense,
        decoder.expand,
        *decoder.convolutions[:-1],
    ]:
        layer.register_forward_hook(
            lambda _layer, _inputs, output: sizes.append(output.std(0).square().mean().sqrt().item())
        )
    encoder(torch.rand(100, 1, 28, 28).round())
    decoder(torch.randn(100, 64))
    assert len(sizes) == 8
    # The observed sizes are 0.7 to 2.9: softplus is not linear, and borders see fewer inputs.
    assert all(0.5 < size < 4 for size in sizes), sizes


def test_without_weights_the_decoder_gives_the_mean_image_and_the_encoder_log_two():
    mean_image = 0.1 + 0.8 * torch.rand(2, 9, 6)
    options = {"mean_image": mean_image, **SMALL}
    outputs = {name: Conv5Decoder((2, 9, 6), 3, output=name, **options) for name in ("logit", "probability")}
    encoder = Conv5Encoder((2, 9, 6), 3, **SMALL)
    with torch.no_grad():
        for parameter in (*outputs["logit"].parameters(), *outputs["probability"].parameters(), *encoder.parameters()):
            parameter.zero_()
    z = torch.randn(1, 3)
    torch.testing.assert_close(outputs["logit"](z)[0], mean_image.logit())
    torch.testing.assert_close(outputs["probability"](z)[0], mean_image)
    mean, scale = encoder(torch.rand(1, 2, 9, 6))
    torch.testing.assert_close(mean, torch.zeros(1, 3))
    torch.testing.assert_close(scale, torch.full((1, 3), 2.0).log(), atol=2e-6, rtol=0)


def test_the_encoder_is_its_formula():
    """softplus less log 2 throughout, of standardised x; and the scale stays positive however low its layer is."""
    torch.manual_seed(0)
    encoder = Conv5Encoder((1, 9, 6), 3, mean_image=torch.rand(1, 9, 6), input_scale=0.5, **SMALL)
    x = torch.rand(4, 1, 9, 6)
    features = features_of(encoder)
    first, second = convolutions(features)
    hidden = (x - features.mean_image) / 0.5
    hidden = centred(functional.conv2d(hidden, first.weight, first.bias, stride=2, padding=2))
    hidden = centred(functional.conv2d(hidden, second.weight, second.bias, stride=2, padding=2))
    hidden = centred(features.dense(hidden.flatten(1)))
    mean, scale = encoder(x)
    torch.testing.assert_close(torch.cat([mean, scale], 1), torch.cat(encoder.head(hidden), 1))
    with torch.no_grad():
        encoder.head.bias.sub_(500)
    assert (encoder(x)[1] > 0).all()


def test_the_decoder_is_its_formula():
    torch.manual_seed(0)
    decoder = Conv5Decoder((1, 9, 6), 3, output="logit", **SMALL)
    z = torch.randn(4, 3)
    first, second = convolutions(decoder)
    image = centred(decoder.expand(centred(decoder.dense(z)))).view(4, 4, 3, 2)
    settings: dict[str, Any] = {"stride": 2, "padding": 2}
    image = functional.conv_transpose2d(image, first.weight, first.bias, output_padding=(0, 0), **settings)
    image = centred(image)
    assert image.shape == (4, 3, 5, 3)
    image = functional.conv_transpose2d(image, second.weight, second.bias, output_padding=(0, 1), **settings)
    torch.testing.assert_close(decoder(z), image)


def test_features_are_what_the_encoder_s_layers_see():
    torch.manual_seed(0)
    features, encoder = Conv5Features((1, 9, 6), **SMALL), Conv5Encoder((1, 9, 6), 3, **SMALL)
    encoder.features.load_state_dict(features.state_dict())
    x = torch.rand(4, 1, 9, 6)
    assert features.num_features == 6
    assert features(x).shape == (4, 6)
    torch.testing.assert_close(encoder.head(features(x))[0], encoder(x)[0])


def test_a_loss_through_a_force_reaches_every_parameter():
    torch.manual_seed(0)
    encoder, decoder = Conv5Encoder((1, 9, 6), 3, **SMALL), Conv5Decoder((1, 9, 6), 3, output="logit", **SMALL)
    x = torch.rand(4, 1, 9, 6)
    mean, scale = encoder(x)
    z = mean + scale * torch.randn(4, 3)
    energy = functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
    (force,) = torch.autograd.grad(energy, z, create_graph=True)
    functional.binary_cross_entropy_with_logits(decoder(z - 0.1 * force), x, reduction="sum").backward()
    for name, parameter in (*encoder.named_parameters(), *decoder.named_parameters()):
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_networks_run_in_half_precision_where_asked():
    encoder, decoder = Conv5Encoder((1, 9, 6), 3, **SMALL), Conv5Decoder((1, 9, 6), 3, output="logit", **SMALL)
    x = torch.rand(4, 1, 9, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean, scale = encoder(x)
        image = decoder(mean + scale)
    image.float().square().sum().backward()
    torch.testing.assert_close(image.float(), decoder(mean.float() + scale.float()), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("network", [Conv5Features, Conv5Encoder, Conv5Decoder])
def test_volumes_are_refused_with_what_to_use(network):
    latent = () if network is Conv5Features else (3,)
    with pytest.raises(
        MedlangevinError, match=r"2D images .* not for shape \(1, 5, 4, 6\); use network.kind: conv$"
    ) as e:
        network((1, 5, 4, 6), *latent)
    assert "\n" not in str(e.value)
