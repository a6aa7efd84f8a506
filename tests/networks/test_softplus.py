"""softplus against torch's own, with derivatives to the third."""

import pytest
import torch
from torch.nn import functional

from medlangevin.networks.softplus import softplus

POINTS = [-200.0, -90.0, -20.0, -3.0, -1e-3, 0.0, 1e-30, 0.5, 4.0, 19.9, 20.1, 90.0, 1e4]


def derivatives(function, x):
    results, value = [], function(x)
    for _ in range(3):
        results.append(value)
        (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return [*results, value]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_derivatives_are_those_of_torch(dtype):
    x = torch.tensor(POINTS, dtype=dtype, requires_grad=True)
    rounding = 2 * torch.finfo(dtype).eps
    for ours, theirs in zip(derivatives(softplus, x), derivatives(functional.softplus, x), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours[x <= 20], theirs[x <= 20], rtol=rounding, atol=rounding)
        # Torch's is the line y = x beyond 20, off by exp(-20) = 2.1e-9.
        torch.testing.assert_close(ours[x > 20], theirs[x > 20], rtol=rounding, atol=3e-9)


def test_the_derivatives_by_finite_differences():
    x = torch.linspace(-6, 6, 13, dtype=torch.float64, requires_grad=True)  # zero among them
    assert torch.autograd.gradcheck(softplus, x)
    assert torch.autograd.gradgradcheck(softplus, x)


def test_the_input_stays_as_it_was():
    x = torch.tensor(POINTS)
    before = x.clone()
    softplus(x)
    assert torch.equal(x, before)


def test_other_types_are_left_to_torch():
    x = torch.tensor(POINTS, dtype=torch.bfloat16)
    assert torch.equal(softplus(x), functional.softplus(x))


def test_what_is_not_finite_stays_so():
    x = torch.tensor([-torch.inf, torch.inf, torch.nan])
    assert torch.equal(softplus(x)[:2], torch.tensor([0, torch.inf]))
    assert softplus(x)[2].isnan()
