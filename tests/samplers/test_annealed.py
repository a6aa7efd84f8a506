"""The annealed flow: unbiased evidence where it is known, gradients and cost."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import annealed_flow, standard_normal

D = 4


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Evidence(NamedTuple):
    """x = W z + 0.5 noise, z ~ N(0, I), six outputs: log p(x) is that of a Gaussian. q is off in mean and scales."""

    weight: Tensor
    x: Tensor
    mean: Tensor
    scale: Tensor

    def target(self, z: Tensor) -> Tensor:
        residual = (self.x - z @ self.weight.T) / 0.5
        constant = 0.5 * (D + 6) * math.log(2 * math.pi) + 6 * math.log(0.5)
        return 0.5 * z.square().sum(-1) + 0.5 * residual.square().sum(-1) + constant

    def initial(self, z: Tensor) -> Tensor:
        return (0.5 * ((z - self.mean) / self.scale).square() + self.scale.log()).sum(-1) + 0.5 * D * math.log(
            2 * math.pi
        )

    def log_evidence(self) -> Tensor:
        covariance = self.weight @ self.weight.T + 0.25 * torch.eye(6, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(self.x)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    weight, x = 0.6 * normal(6, D, seed=1), normal(6, seed=2)
    posterior = torch.linalg.inv(torch.eye(D, dtype=torch.float64) + 4 * weight.T @ weight)
    mean = 4 * posterior @ weight.T @ x + 0.2
    return Evidence(weight, x, mean, 1.1 * posterior.diagonal().sqrt())


def fractions_of(num_steps: int) -> Tensor:
    """Increasing, ending at 1, neither even nor smooth."""
    return (
        (0.1 + torch.rand(num_steps, generator=torch.Generator().manual_seed(num_steps)).double()).softmax(0).cumsum(0)
    )


def step_sizes_of(name: str, num_steps: int) -> float | Tensor:
    sizes: dict[str, float | Tensor] = {
        "small": 0.05,
        "large": 0.3,
        "per dimension": torch.tensor([0.05, 0.25, 0.2, 0.1], dtype=torch.float64),
        "per step and dimension": 0.05 + 0.25 * normal(num_steps, D, seed=5).sigmoid(),
    }
    return sizes[name]


def errors_of(weights: Tensor) -> float:
    """The error of the mean of ``weights``, which should be 1, in standard errors."""
    return float((weights.mean() - 1) / (weights.std() / math.sqrt(len(weights))))


def weights_of(evidence: Evidence, start: Tensor, end: Tensor, log_weight: Tensor) -> Tensor:
    return (log_weight - evidence.target(end) + evidence.initial(start) - evidence.log_evidence()).exp()


@pytest.mark.claim("annealed-flow")
@pytest.mark.parametrize("num_steps", [2, 5, 10])
@pytest.mark.parametrize("step_size", ["small", "large", "per dimension", "per step and dimension"])
@pytest.mark.parametrize("damping", [0, 0.7, 4.0])
def test_the_evidence_is_unbiased(num_steps, step_size, damping, evidence):
    generator = torch.Generator().manual_seed(7)
    start = evidence.mean + evidence.scale * standard_normal((10_000, D), like=evidence.mean, generator=generator)
    result = annealed_flow(
        start,
        evidence.initial,
        evidence.target,
        fractions=fractions_of(num_steps),
        step_size=step_sizes_of(step_size, num_steps),
        damping=damping,
        generator=generator,
    )
    # 3 standard errors each, a false-alarm rate of 0.27 % a case over seeds.
    assert abs(errors_of(weights_of(evidence, start, result.state.position, result.log_weight))) < 3


def by_the_book(evidence: Evidence, start: Tensor, t: float, nu: float, seed: int, variant: str = "") -> Tensor:
    """Weights of the bound written out step by step for five even fractions; ``variant`` puts one mistake in."""
    generator = torch.Generator().manual_seed(seed)
    rho = math.exp(-nu * t)
    kappa = standard_normal(tuple(start.shape), like=start, generator=generator)
    phi, log_weight = start, torch.zeros(len(start), dtype=torch.float64)
    precision = torch.eye(D, dtype=torch.float64) + 4 * evidence.weight.T @ evidence.weight
    pull = 4 * evidence.x @ evidence.weight
    for k in range(1, 6):
        a = kappa
        if k > 1:
            noise = standard_normal(tuple(start.shape), like=start, generator=generator)
            kappa = rho * kappa + (0 if variant == "damping without noise" else math.sqrt(1 - rho**2)) * noise
        if variant != "energy counted across the damping":
            a = kappa
        phi = phi + t / 2 * kappa
        b = k / 5
        kappa = kappa + t * ((1 - b) * (evidence.mean - phi) / evidence.scale**2 + b * (pull - phi @ precision))
        phi = phi + t / 2 * kappa
        change = (a.square() - kappa.square()).sum(-1) / 2
        log_weight = log_weight + (-change if variant == "sign of the energy" else change)
    return weights_of(evidence, start, phi, log_weight)


def test_it_is_the_bound_as_derived(evidence):
    start = evidence.mean + evidence.scale * normal(100, D, seed=3)
    fractions = torch.arange(1, 6, dtype=torch.float64) / 5
    result = annealed_flow(
        start,
        evidence.initial,
        evidence.target,
        fractions=fractions,
        step_size=0.3,
        damping=1.5,
        generator=torch.Generator().manual_seed(4),
    )
    found = weights_of(evidence, start, result.state.position, result.log_weight)
    torch.testing.assert_close(found, by_the_book(evidence, start, 0.3, 1.5, seed=4), rtol=1e-10, atol=0)


# Step size and damping are such that the wrong weight has a finite variance to measure its error by.
@pytest.mark.claim("annealed-flow")
@pytest.mark.parametrize(
    ("variant", "step_size", "damping"),
    [
        ("damping without noise", 0.3, 1.5),
        ("energy counted across the damping", 0.1, 0.3),
        ("sign of the energy", 0.01, 0.3),
    ],
)
def test_a_wrong_weight_would_be_seen(variant, step_size, damping, evidence):
    start = evidence.mean + evidence.scale * normal(10_000, D, seed=3)
    assert abs(errors_of(by_the_book(evidence, start, step_size, damping, seed=4))) < 3
    assert abs(errors_of(by_the_book(evidence, start, step_size, damping, seed=4, variant=variant))) > 5


@pytest.mark.claim("annealed-flow-gradients")
@pytest.mark.parametrize("checkpoint_steps", [False, True])
def test_gradients_agree_with_finite_differences(checkpoint_steps, evidence):
    def end(position, step_size, damping, logits, mean, scale, factor):
        moved = evidence._replace(mean=mean, scale=scale, weight=factor * evidence.weight)
        result = annealed_flow(
            position,
            moved.initial,
            moved.target,
            fractions=logits.softmax(0).cumsum(0),
            step_size=step_size,
            damping=damping,
            generator=torch.Generator().manual_seed(1),
            create_graph=True,
            checkpoint_steps=checkpoint_steps,
        )
        return *result.state, result.log_weight

    arguments = (
        normal(2, D, seed=1),
        0.1 + 0.2 * normal(3, D, seed=2).sigmoid(),
        torch.tensor(0.8, dtype=torch.float64),
        normal(3, seed=3),
        evidence.mean,
        evidence.scale,
        torch.tensor(1.1, dtype=torch.float64),
    )
    assert torch.autograd.gradcheck(end, tuple(argument.clone().requires_grad_() for argument in arguments))


@pytest.mark.claim("annealed-flow")
@pytest.mark.parametrize("num_steps", [1, 5])
@pytest.mark.parametrize("create_graph", [False, True])
def test_k_steps_make_k_gradients_of_the_target(num_steps, create_graph, evidence, counting):
    potential = counting(evidence.target)
    annealed_flow(
        normal(3, D, seed=0),
        evidence.initial,
        potential,
        fractions=fractions_of(num_steps),
        step_size=0.1,
        damping=0.5,
        create_graph=create_graph,
    )
    assert (potential.values, potential.gradients) == (num_steps, num_steps)
