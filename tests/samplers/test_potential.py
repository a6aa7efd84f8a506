"""Values and gradients of potentials."""

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import evaluate, standard_normal
from medlangevin.system.errors import MedlangevinError


def cubic(z: Tensor) -> Tensor:
    return (z**3).sum(-1)


def test_value_and_gradient_of_each_chain():
    z = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    evaluation = evaluate(cubic, z)
    torch.testing.assert_close(evaluation.value, torch.tensor([9.0, -0.875]))
    torch.testing.assert_close(evaluation.gradient, 3 * z**2)
    assert not evaluation.value.requires_grad
    assert not evaluation.gradient.requires_grad


def test_it_works_without_autograd_around_it_and_leaves_the_position_alone():
    z = torch.ones(2, 2)
    with torch.no_grad():
        evaluation = evaluate(cubic, z)
    torch.testing.assert_close(evaluation.gradient, 3 * z)
    assert not z.requires_grad


def test_second_order_gradients_reach_the_position():
    z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    evaluation = evaluate(cubic, 2 * z, create_graph=True)
    (second,) = torch.autograd.grad(evaluation.gradient.sum(), z)
    torch.testing.assert_close(second, 24 * z.detach())


def test_noise_has_the_asked_type_and_seed():
    like = torch.zeros(1, dtype=torch.float64)
    first, second = (
        standard_normal((3, 2), like=like, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0)
    )
    assert first.dtype == torch.float64
    assert torch.equal(first, second)


def test_a_potential_that_adds_up_its_chains_is_refused():
    """One summed energy for all chains would make every acceptance wrong without an error."""
    with pytest.raises(MedlangevinError, match=r"values of shape \(\) .* has to give \(4,\)"):
        evaluate(lambda z: z.square().sum(), torch.zeros(4, 3))


def test_inference_mode_is_refused():
    with torch.inference_mode(), pytest.raises(MedlangevinError, match=r"torch\.no_grad"):
        evaluate(cubic, torch.zeros(4, 3))
