"""The planar flow: its log-determinant against autodiff, its inverse, its gradients."""

import pytest
import torch
from torch import Tensor

from medlangevin.networks import PlanarFlow


def wild(dim: int, num_layers: int, seed: int = 0) -> PlanarFlow:
    """A flow far from the identity, with w . u on both sides of -1 before it is corrected."""
    generator = torch.Generator().manual_seed(seed)
    flow = PlanarFlow(dim, num_layers).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return flow


def points(n: int, dim: int, seed: int = 1) -> Tensor:
    return 1.5 * torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.claim("planar")
@pytest.mark.parametrize(("dim", "num_layers"), [(1, 1), (3, 1), (4, 6)])
def test_log_det_is_that_of_the_jacobian(dim, num_layers):
    flow, z = wild(dim, num_layers), points(20, dim)
    result, log_det = flow(z)
    assert result.shape == z.shape
    assert log_det.shape == (20,)
    jacobians = torch.stack([torch.func.jacrev(lambda row: flow(row[None])[0][0])(row) for row in z])
    sign, expected = torch.linalg.slogdet(jacobians)
    assert (sign > 0).all()
    torch.testing.assert_close(log_det.detach(), expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.claim("planar")
def test_a_layer_is_monotone_along_w_even_where_u_points_against_it():
    flow = PlanarFlow(3, 1).double()
    with torch.no_grad():
        flow.weight.copy_(torch.tensor([[1.0, 2.0, -1.0]]))
        flow.direction.copy_(-5 * flow.weight)  # w . u = -30: not invertible as it is
    w = flow.weight[0] / flow.weight[0].norm()
    line = torch.linspace(-3, 3, 2001, dtype=torch.float64)[:, None] * w + torch.tensor([0.3, -0.1, 0.2]).double()
    along = flow(line)[0] @ w
    assert (along.diff() > 0).all()
    uncorrected = (line + flow.direction * torch.tanh(line @ flow.weight[0])[:, None]) @ w
    assert (uncorrected.diff() < 0).any()


def test_a_layer_can_be_inverted():
    """z' = z + u tanh(w . z + b): w . z' is increasing in w . z, so bisection finds w . z and with it z."""
    for seed in range(5):
        flow, z = wild(4, 1, seed), points(30, 4, seed)
        image, _ = flow(z)
        w, b = flow.weight[0], flow.bias[0]
        # The corrected u, from the flow itself: its shift where tanh is one.
        far = 1e3 * w[None]
        u = (flow(far)[0] - far)[0]
        low, high = (torch.full((30,), side, dtype=torch.float64) for side in (-200.0, 200.0))
        for _ in range(80):
            middle = 0.5 * (low + high)
            below = middle + (w @ u) * torch.tanh(middle + b) < image @ w
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        recovered = image - u * torch.tanh(low + b)[:, None]
        torch.testing.assert_close(recovered, z, rtol=0, atol=1e-7)


@pytest.mark.claim("planar")
def test_densities_still_integrate_to_one():
    flow = wild(1, 3)
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)[:, None]
    image, log_det = flow(z)
    log_density = torch.distributions.Normal(0, 1).log_prob(z[:, 0]) - log_det
    assert torch.trapezoid(log_density.exp(), image[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_gradients_against_finite_differences():
    flow, z = wild(3, 2), points(4, 3).requires_grad_()

    def outputs(z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        names = [name for name, _ in flow.named_parameters()]
        return torch.func.functional_call(flow, dict(zip(names, parameters, strict=True)), (z,))

    inputs = (z, *(parameter.detach().requires_grad_() for parameter in flow.parameters()))
    assert torch.autograd.gradcheck(outputs, inputs)
    assert torch.autograd.gradgradcheck(outputs, inputs)


def test_it_starts_near_the_identity():
    torch.manual_seed(0)
    flow, z = PlanarFlow(16, 10), torch.randn(50, 16)
    image, log_det = flow(z)
    assert (image - z).abs().max() < 0.2
    assert log_det.abs().max() < 0.2
    flow.direction.data.zero_()
    torch.testing.assert_close(flow(z)[0], z)
    torch.testing.assert_close(flow(z)[1], torch.zeros(50), rtol=0, atol=1e-5)


def test_nothing_overflows_however_hard_u_points_against_w():
    flow = PlanarFlow(2, 1)
    flow.direction.data = -200 * flow.weight.data / flow.weight.data.square().sum()
    z = torch.randn(100, 2)
    image, log_det = flow(z)
    log_det.sum().backward()
    assert torch.isfinite(image).all()
    assert torch.isfinite(log_det).all()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in flow.parameters())
