"""Fully connected networks: shapes, start values, options."""

import pytest
import torch
from torch import nn

from medlangevin.networks import MLPDecoder, MLPEncoder, MLPFeatures

SHAPES = [(1, 8, 7), (3, 5, 6), (1, 5, 4, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_sizes_in_two_and_three_dimensions(shape, activation, layer_norm):
    torch.manual_seed(0)
    options = {"widths": (12, 9), "activation": activation, "layer_norm": layer_norm}
    x = torch.rand(4, *shape)
    features = MLPFeatures(shape, **options)
    assert features.num_features == 9
    assert features(x).shape == (4, 9)
    mean, scale = MLPEncoder(shape, 5, **options)(x)
    assert mean.shape == scale.shape == (4, 5)
    assert (scale > 0).all()
    image = MLPDecoder(shape, 5, **options)(mean)
    assert image.shape == x.shape
    assert image.min() > 0
    assert image.max() < 1


def test_weights_start_orthogonal_and_biases_at_zero():
    torch.manual_seed(0)
    layers = MLPFeatures((1, 8, 8), widths=(32, 32, 16)).dense.layers
    for layer in layers:
        assert isinstance(layer, nn.Linear)
        torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(layer.out_features), rtol=0, atol=1e-5)
        assert (layer.bias == 0).all()


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_they_start_at_useful_sizes(activation, layer_norm):
    shape = (1, 14, 14)
    torch.manual_seed(0)
    mean_image = 0.2 + 0.6 * torch.rand(shape)
    options = {"widths": (256, 256, 256), "activation": activation, "layer_norm": layer_norm}
    encoder = MLPEncoder(shape, 16, mean_image=mean_image, input_scale=0.1, initial_scale=0.1, **options)
    decoder = MLPDecoder(shape, 16, mean_image=mean_image, **options)
    with torch.no_grad():
        mean, scale = encoder(mean_image + 0.1 * torch.randn(64, *shape))
        images = decoder(torch.randn(64, 16))
    assert 0.1 < mean.std(0).mean() < 2
    assert mean.abs().mean() < 2
    assert 0.05 < scale.mean() < 0.2
    assert 0.002 < images.std(0).mean() < 0.05
    assert (images.mean(0) - mean_image).abs().mean() < 0.05


def test_the_three_outputs_start_at_the_mean_image():
    shape = (1, 6, 5)
    mean_image = 0.1 + 0.8 * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    decoders = {
        output: MLPDecoder(shape, 3, widths=(8,), output=output, mean_image=mean_image)
        for output in ("probability", "logit", "symmetric")
    }
    z = torch.zeros(1, 3)  # every layer gives zero
    torch.testing.assert_close(decoders["probability"](z)[0], mean_image)
    torch.testing.assert_close(decoders["logit"](z)[0], mean_image.logit())
    torch.testing.assert_close(decoders["symmetric"](z)[0], 2 * mean_image - 1)


@pytest.mark.parametrize(("activation", "curved"), [("relu", False), ("softplus", True)])
def test_only_softplus_networks_have_a_second_derivative(activation, curved):
    """Why samplers that differentiate through the force want softplus."""
    torch.manual_seed(0)
    decoder = MLPDecoder((1, 2, 2), 2, widths=(6, 6), activation=activation, layer_norm=False, output="symmetric")
    hessian = torch.autograd.functional.hessian(lambda z: decoder(z[None]).sum(), torch.tensor([0.3, -0.2]))
    assert bool(hessian.abs().max() > 1e-5) == curved
