"""Energies at visited states and their mean: value and gradients against ordinary autograd on a small decoder."""

import pytest
import torch
from torch import Tensor, nn

from medlangevin.models.energies import Energies, Visit, mean_energy, mean_energy_of_shares
from medlangevin.system.errors import MedlangevinError


class Problem:
    """U(z) = sum tanh(A z)^2 + |z|^2 / 2 at two states Phi of z = Phi g."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.decoder = nn.Linear(3, 5).double()
        self.features = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
        self.weights = [torch.randn(3, 4, dtype=torch.float64) for _ in range(2)]
        self.parameters = list(self.decoder.parameters())

    def potential(self, z: Tensor) -> Tensor:
        return torch.tanh(self.decoder(z)).square().sum(-1) + 0.5 * z.square().sum(-1)

    def expected(self, times: tuple[int, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        energies = [n * self.potential(self.features @ w.T).mean() for n, w in zip(times, self.weights, strict=True)]
        value = torch.stack(energies).sum() / sum(times)
        return value.detach(), torch.autograd.grad(value, [self.features, *self.parameters])

    def visits(self, times: tuple[int, ...], *, at_once: bool = True) -> list[Visit]:
        share = 1 / (sum(times) * len(self.features))
        return [
            Visit(
                Energies(
                    self.potential,
                    self.features.detach() @ weight.T,
                    self.parameters,
                    parameters_at_once=at_once,
                    share=share,
                ),
                weight,
                n,
            )
            for n, weight in zip(times, self.weights, strict=True)
        ]

    def gradients(self) -> list[Tensor]:
        found = [tensor.grad for tensor in (self.features, *self.parameters)]
        return [gradient for gradient in found if gradient is not None]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("times", [(1, 1), (2, 1), (1, 3)])
def test_value_and_gradients_are_those_of_the_mean_over_visits(times: tuple[int, ...], at_once: bool) -> None:
    problem = Problem()
    value, gradients = problem.expected(times)

    loss = mean_energy(problem.visits(times, at_once=at_once), problem.features, problem.parameters)
    loss.backward()

    torch.testing.assert_close(loss.detach(), value)
    torch.testing.assert_close(problem.gradients(), list(gradients))


def test_an_upstream_gradient_scales_them() -> None:
    problem = Problem()
    _, gradients = problem.expected((1, 1))

    (0.25 * mean_energy(problem.visits((1, 1)), problem.features, problem.parameters)).backward()

    torch.testing.assert_close(problem.gradients(), [0.25 * gradient for gradient in gradients])


def test_gradients_add_to_those_that_are_there() -> None:
    problem = Problem()
    _, gradients = problem.expected((1, 1))

    for _ in range(2):
        mean_energy(problem.visits((1, 1)), problem.features, problem.parameters).backward()

    torch.testing.assert_close(problem.gradients(), [2 * gradient for gradient in gradients])


def test_shares_known_to_the_device_alone_give_the_same() -> None:
    problem = Problem()
    value, gradients = problem.expected((2, 1))
    shares = torch.tensor([2 / 3, 1 / 3], dtype=torch.float64)

    loss = mean_energy_of_shares(problem.visits((2, 1)), shares, problem.features, problem.parameters)
    loss.backward()

    torch.testing.assert_close(loss.detach(), value)
    torch.testing.assert_close(problem.gradients(), list(gradients))


def test_a_second_backward_pass_is_refused() -> None:
    problem = Problem()
    loss = mean_energy(problem.visits((1, 1)), problem.features, problem.parameters)
    loss.backward(retain_graph=True)

    with pytest.raises(MedlangevinError, match="one backward pass"):
        loss.backward()
