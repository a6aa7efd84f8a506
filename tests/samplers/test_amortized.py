"""Amortized Langevin dynamics: the accept test, the densities both kinds leave invariant, collapse, drift, costs."""

import math

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import amortized, kernel_amortized
from medlangevin.system.errors import MedlangevinError

CHAINS = 4000
MEANS = torch.tensor([[1.0, -1.0], [0.0, 2.0], [-3.0, 0.5]], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.7, 0.6], [0.6, 0.8]], dtype=torch.float64)
# Rows that are neither orthogonal nor of one length: the kernel's condition number is 4.
FEATURES = torch.tensor([[1.0, 0.2, 0.0, 0.3], [-0.3, 0.9, 0.4, 0.0], [0.0, 0.3, 1.2, -0.4]], dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Gaussian:
    """A correlated Gaussian with another mean for each data point."""

    statistics = 15

    def potential(self, z: Tensor) -> Tensor:
        residual = z - MEANS
        return 0.5 * (residual @ torch.linalg.inv(COVARIANCE) * residual).sum(-1)

    def draw(self, rng: torch.Generator) -> Tensor:
        noise = torch.randn(CHAINS, *MEANS.shape, dtype=torch.float64, generator=rng)
        return MEANS + noise @ torch.linalg.cholesky(COVARIANCE).mT

    def deviations(self, z: Tensor) -> Tensor:
        return moment_deviations(z, MEANS, COVARIANCE)


class TwoModes:
    """Two Gaussians with weights 0.3 and 0.7, around another centre for each data point."""

    statistics = 18
    weights, half, scale = (0.3, 0.7), torch.tensor([0.9, 0.5], dtype=torch.float64), 0.6

    def log_modes(self, z: Tensor) -> Tensor:
        squares = [(z - MEANS - sign * self.half).square().sum(-1) for sign in (-1, 1)]
        terms = [
            math.log(weight) - square / (2 * self.scale**2)
            for weight, square in zip(self.weights, squares, strict=True)
        ]
        return torch.stack(terms)

    def potential(self, z: Tensor) -> Tensor:
        return -self.log_modes(z).logsumexp(0)

    def draw(self, rng: torch.Generator) -> Tensor:
        shape = (CHAINS, len(MEANS))
        sign = 2.0 * (torch.rand(shape, dtype=torch.float64, generator=rng) < self.weights[1]) - 1
        noise = torch.randn(*shape, 2, dtype=torch.float64, generator=rng)
        return MEANS + sign[..., None] * self.half + self.scale * noise

    def deviations(self, z: Tensor) -> Tensor:
        bias = self.weights[1] - self.weights[0]
        covariance = self.scale**2 * torch.eye(2) + (1 - bias**2) * torch.outer(self.half, self.half)
        # The expected probability of having come from a mode is exactly the mode's weight.
        probability = self.log_modes(z).softmax(0)[1]
        weight = (probability.mean(0) - self.weights[1]) / (probability.std(0) / len(z) ** 0.5)
        return torch.cat([moment_deviations(z, MEANS + bias * self.half, covariance), weight.flatten()])


def moment_deviations(z: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Errors of means and covariances over independent chains (C, n, 2), each in its Monte-Carlo standard error."""
    residual = z - mean
    products = torch.stack([residual[..., i] * residual[..., j] for i, j in ((0, 0), (0, 1), (1, 1))], -1)
    expected = torch.stack([covariance[0, 0], covariance[0, 1], covariance[1, 1]])
    values, errors = torch.cat([residual, products], -1), torch.cat([residual, products - expected], -1)
    return (errors.mean(0) / (values.std(0) / len(z) ** 0.5)).flatten()


def least_norm_weight(latent: Tensor, features: Tensor) -> Tensor:
    return latent.mT @ torch.linalg.solve(features @ features.mT, features)


def run(module, target, weight: Tensor, *, steps: int, step_size: float, seed: int, **options):
    rng = generator(seed)
    state = module.init(weight, target.potential, features=FEATURES)
    acceptance = 0.0
    for _ in range(steps):
        state, info = module.step(state, target.potential, rng, features=FEATURES, step_size=step_size, **options)
        acceptance += info.acceptance_probability.mean().item() / steps
    return state, acceptance


# Large steps, so that an accept test that is wrong shows.
SAMPLERS = {"paper": (amortized, 0.11), "kernel": (kernel_amortized, 0.25)}
TARGETS = {"gaussian": Gaussian(), "two modes": TwoModes()}


@pytest.mark.slow
@pytest.mark.claim("ald-invariance")
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("start", ["target", "elsewhere"])
def test_the_density_is_left_invariant(sampler, target, start):
    """15 (18) statistics within 3 standard errors: a false-alarm rate of at most 4 % (5 %) over seeds."""
    (module, step_size), target = SAMPLERS[sampler], TARGETS[target]
    weight = least_norm_weight(target.draw(generator(1)), FEATURES)
    if start == "elsewhere":
        weight = torch.full_like(weight, 0.5)
    steps = 40 if start == "target" else 500
    state, acceptance = run(module, target, weight, steps=steps, step_size=step_size, seed=2)
    deviations = target.deviations(state.latent)
    assert deviations.shape == (target.statistics,)
    assert deviations.abs().max() < 3
    assert 0.3 < acceptance < 0.9
    torch.testing.assert_close(state.latent, FEATURES @ state.weight.mT)


@pytest.mark.claim("ald-collapse")
@pytest.mark.parametrize("target", TARGETS)
def test_without_the_accept_test_the_density_is_not_left_invariant(target):
    """The same steps unadjusted: the statistics above see the error."""
    target = TARGETS[target]
    weight = least_norm_weight(target.draw(generator(1)), FEATURES)
    state, _ = run(amortized, target, weight, steps=40, step_size=0.11, seed=2, metropolis=False)
    assert target.deviations(state.latent).abs().max() > 5


@pytest.mark.slow
@pytest.mark.claim("ald-collapse")
def test_fewer_features_than_data_points_collapse():
    """Figure 2 of the LAE paper: with d < n the latents of the set lie in a subspace that misses the target."""
    target, features = Gaussian(), FEATURES[:, :2]
    rng = generator()
    state = amortized.init(torch.zeros(CHAINS, 2, 2, dtype=torch.float64), target.potential, features=features)
    for _ in range(300):
        state, _ = amortized.step(state, target.potential, rng, features=features, step_size=0.1)
    null = torch.linalg.svd(features.mT).Vh[-1]
    assert (null @ state.latent).abs().max() < 1e-12
    assert (null @ MEANS).abs().max() > 1
    assert target.deviations(state.latent).abs().max() > 20
    reason = kernel_amortized.obstacle(features)
    assert reason == "3 data points need at least as many features, and there are 2"


@pytest.mark.slow
@pytest.mark.claim("ald-norm")
def test_the_norm_of_the_weight_grows_as_the_mathematics_says():
    """Orthogonal to all features, |Phi|^2 gains 2 eta per element and accepted step; under the kernel, nothing."""
    target = Gaussian()
    weight = torch.zeros(CHAINS, 2, 4, dtype=torch.float64)
    state, acceptance = run(amortized, target, weight, steps=200, step_size=0.05, seed=0)
    # One direction is orthogonal to the three rows.
    null = torch.linalg.svd(FEATURES).Vh[-1]
    squares = (state.weight @ null).square().sum(-1)
    expected = 2 * 2 * 0.05 * 200 * acceptance
    # 4 standard errors of the mean over chains: a false-alarm rate of 6e-5 over seeds.
    assert abs(squares.mean() - expected) < 4 * squares.std() / CHAINS**0.5
    assert expected > 20
    state, _ = run(kernel_amortized, target, weight, steps=200, step_size=0.05, seed=0)
    assert (state.weight @ null).abs().max() < 1e-9


def wavy(z: Tensor) -> Tensor:
    return (z.square() / 2 + z.cos()).sum(-1)


def problem(dtype: torch.dtype = torch.float32) -> tuple[amortized.State, Tensor]:
    """A typical state of three chains and their features, of five points and seven features each."""
    rng = generator(3)
    features = torch.randn(3, 5, 7, generator=rng, dtype=torch.float64).to(dtype)
    weight = 0.2 * torch.randn(3, 2, 7, generator=rng, dtype=torch.float64).to(dtype)
    state = amortized.init(weight, wavy, features=features)
    for _ in range(50):
        state, _ = amortized.step(state, wavy, rng, features=features, step_size=0.03)
    return state, features


@pytest.mark.claim("ald-acceptance")
@pytest.mark.parametrize("step_size", [0.05, torch.tensor([0.03, 0.05, 0.08])[:, None, None]])
def test_the_accept_ratio_is_that_of_brute_force(step_size):
    state, features = problem()
    etas = torch.as_tensor(step_size, dtype=torch.float64).expand(3, 1, 1).flatten()
    probabilities = []
    for seed in range(20):
        weight = amortized.propose(state, features, generator(seed), step_size=step_size)
        proposal = amortized.init(weight, wavy, features=features)
        _, info = amortized.accept(state, proposal, features, generator(), step_size=step_size)
        for chain, eta in enumerate(etas):
            old, new = (at[chain].double().requires_grad_() for at in (state.weight, weight))
            energies = [wavy(features[chain].double() @ at.mT).sum() for at in (old, new)]
            log_q = []
            for energy, start, end in ((energies[0], old, new), (energies[1], new, old)):
                (gradient,) = torch.autograd.grad(energy, start)
                normal = torch.distributions.Normal(start - eta * gradient, (2 * eta).sqrt())
                log_q.append(normal.log_prob(end).sum())
            ratio = (energies[0] - energies[1] + log_q[1] - log_q[0]).exp().clamp(max=1).item()
            assert info.acceptance_probability[chain].item() == pytest.approx(ratio, rel=1e-4)
            probabilities.append(ratio)
    assert sum(0.02 < probability < 0.98 for probability in probabilities) > 30


@pytest.mark.claim("ald-acceptance")
def test_energies_are_added_in_float64():
    """200 float32 energies of 1e5 nats: their float32 sum is off by nats, the accept ratio must not be."""
    rng = generator()
    features, weight = torch.randn(200, 7, generator=rng), torch.randn(2, 7, generator=rng)
    state = amortized.init(weight, lambda z: z.square().sum(-1), features=features)
    state = state._replace(value=100_000 + 8 * torch.rand(200, generator=rng))
    proposal = state._replace(value=state.value.roll(1) + (torch.arange(200) == 0) / 2)
    _, info = amortized.accept(state, proposal, features, generator(), step_size=0.1)
    assert info.acceptance_probability.item() == pytest.approx(math.exp(-0.5), rel=1e-2)
    assert (proposal.value.sum() - state.value.sum()).item() != 0.5


@pytest.mark.claim("ald-cost")
@pytest.mark.parametrize("module", [amortized, kernel_amortized])
def test_a_run_costs_one_gradient_more_than_it_has_steps(module):
    calls = []

    def potential(z: Tensor) -> Tensor:
        calls.append(z.requires_grad)
        return z.square().sum(-1)

    rng = generator()
    state = module.init(torch.ones(2, 4, dtype=torch.float64), potential, features=FEATURES)
    for _ in range(7):
        state, _ = module.step(state, potential, rng, features=FEATURES, step_size=0.1)
    assert calls == [True] * 8


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_proposal_that_is_not_finite_is_rejected(broken):
    def potential(z: Tensor) -> Tensor:
        return torch.where(torch.arange(3) == 1, broken, 1.0) * z.square().sum(-1)

    good = amortized.init(torch.ones(5, 2, 4, dtype=torch.float64), lambda z: z.square().sum(-1), features=FEATURES)
    state, info = amortized.step(good, potential, generator(), features=FEATURES, step_size=1e-6)
    assert not info.is_accepted.any()
    assert (info.acceptance_probability == 0).all()
    assert torch.equal(state.weight, good.weight)
    state, info = amortized.step(good, lambda z: z.square().sum(-1), generator(), features=FEATURES, step_size=1e-6)
    assert info.is_accepted.all()


def test_the_step_is_euler_maruyama_on_the_weight():
    state, features = problem(torch.float64)
    following, info = amortized.step(state, wavy, generator(9), features=features, step_size=0.3, metropolis=False)
    noise = torch.randn(3, 2, 7, dtype=torch.float64, generator=generator(9))
    weight = state.weight.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(wavy(features @ weight.mT).sum(), weight)
    torch.testing.assert_close(following.weight, state.weight - 0.3 * gradient + math.sqrt(0.6) * noise)
    torch.testing.assert_close(following.value, wavy(following.latent))
    assert info.is_accepted.all()
    assert info.acceptance_probability.shape == (3,)
    assert following.latent.shape == (3, 5, 2)


def test_features_broadcast_over_chains():
    state, features = problem(torch.float64)
    shared = features[0]
    state = amortized.init(state.weight, wavy, features=shared)
    expanded = amortized.init(state.weight, wavy, features=shared.expand(3, -1, -1))
    for _ in range(3):
        state, _ = amortized.step(state, wavy, generator(4), features=shared, step_size=0.02)
        expanded, _ = amortized.step(expanded, wavy, generator(4), features=shared.expand(3, -1, -1), step_size=0.02)
    torch.testing.assert_close(state, expanded)


def test_numbers_of_features_that_differ_are_named():
    with pytest.raises(MedlangevinError, match="takes 7 features and is given 4"):
        amortized.init(torch.zeros(2, 7), lambda z: z.sum(-1), features=FEATURES.float())
