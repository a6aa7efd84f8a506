"""Transposed convolutions with derivatives of their own: torch's values and gradients, to the second order and on."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medlangevin.networks import device_convolution
from medlangevin.networks.device_convolution import TransposedConvolution

LAYERS = {
    "2d": nn.ConvTranspose2d(2, 3, kernel_size=5, stride=2, padding=2, output_padding=(1, 0)),
    "3d": nn.ConvTranspose3d(3, 2, kernel_size=4, stride=2, padding=1),
    "3d without bias": nn.ConvTranspose3d(2, 1, kernel_size=4, stride=2, padding=1, bias=False),
}
SIZES = {"2d": (3, 4), "3d": (3, 2, 4), "3d without bias": (2, 2, 3)}


@pytest.fixture(params=LAYERS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    layer = LAYERS[request.param].double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    shape = (2, layer.in_channels, *SIZES[request.param])
    return layer, torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def test_values_are_those_of_the_layer(case):
    layer, x = case
    assert torch.allclose(TransposedConvolution.of(layer)(x, layer.weight, layer.bias), layer(x), rtol=0, atol=1e-12)


@pytest.mark.slow(seconds=1)
@pytest.mark.claim("device-convolution")
def test_gradients_of_both_orders_are_finite_differences(case):
    layer, x = case
    inputs = (x, *layer.parameters())

    def function(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return TransposedConvolution.of(layer)(x, weight, bias)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.claim("device-convolution")
def test_the_gradient_of_a_force_is_that_of_torch(case):
    layer, x = case
    found = []
    for convolve in (layer, lambda x: TransposedConvolution.of(layer)(x, layer.weight, layer.bias)):
        (force,) = torch.autograd.grad(convolve(x).tanh().sum(), x, create_graph=True)
        loss = force.square().sum() + convolve(x - 0.1 * force).cos().sum()
        found.append(torch.autograd.grad(loss, [x, *layer.parameters()]))
    for own, reference in zip(*found, strict=True):
        assert torch.allclose(own, reference, rtol=1e-10, atol=1e-10)


def test_a_force_makes_no_gradient_of_weights(case, monkeypatch):
    layer, x = case
    made = []
    real = device_convolution._WeightGradient.forward

    def recorded(ctx, *rest):
        made.append(1)
        return real(ctx, *rest)

    monkeypatch.setattr(device_convolution._WeightGradient, "forward", recorded)
    y = TransposedConvolution.of(layer)(x, layer.weight, layer.bias).tanh().sum()
    (force,) = torch.autograd.grad(y, x, create_graph=True)
    assert not made
    force.square().sum().backward()
    assert len(made) == 2  # through the force, and through the tanh's slope
    layer.zero_grad()


def recomputed(y: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    def step(x: Tensor) -> Tensor:
        return x - 0.1 * torch.autograd.grad(y(x).tanh().sum(), x, create_graph=True)[0]

    return checkpoint(step, x, use_reentrant=False).square().sum()


# What else is done to a graph: how the loss is made, and how its gradients are asked for.
WAYS = {
    "twice": (
        lambda y, x: y(x).tanh().sum(),
        lambda loss, x, weight: [loss.backward(retain_graph=i == 0) for i in (0, 1)],
    ),
    "of weights": (lambda y, x: y(x).tanh().sum(), lambda loss, x, weight: loss.backward(inputs=[weight])),
    "of positions": (lambda y, x: y(x).tanh().sum(), lambda loss, x, weight: loss.backward(inputs=[x])),
    "recomputed": (recomputed, lambda loss, x, weight: loss.backward()),
}


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_torch_however_they_are_asked_for(case, way):
    layer, x = case
    make, differentiate = WAYS[way]
    found = []
    for convolve in (layer, lambda x: TransposedConvolution.of(layer)(x, layer.weight, layer.bias)):
        layer.zero_grad()
        x.grad = None
        differentiate(make(convolve, x), x, layer.weight)
        found.append([x.grad, *(parameter.grad for parameter in layer.parameters())])
    layer.zero_grad()
    for own, reference in zip(*found, strict=True):
        assert (own is None) == (reference is None)
        assert own is None or torch.allclose(own, reference, rtol=1e-10, atol=1e-10)


def test_under_autocast_it_computes_in_half_precision(case):
    layer, x = case
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = TransposedConvolution.of(layer)(x, layer.weight, layer.bias)
        (force,) = torch.autograd.grad(y.float().tanh().sum(), x, create_graph=True)
    assert y.dtype == torch.bfloat16
    force.sum().backward()
    assert layer.weight.grad.dtype == torch.float64
    layer.zero_grad()
