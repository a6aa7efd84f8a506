"""Annealed importance sampling: unbiased evidence where it is known, from above and from below, and its plan."""

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import annealed_importance, annealed_importance_sampling, hmc
from medlangevin.samplers.annealed_importance import effective_sample_size, log_mean_exp, plan
from medlangevin.system.errors import MedlangevinError

D, LOG_TWO_PI = 4, math.log(2 * math.pi)


def sigmoidal_fractions(num_temperatures: int) -> Tensor:
    """b_k of a sigmoid from -4 to 4, scaled to end at 1 (Wu et al. 2017, section 2.3)."""
    values = torch.linspace(-4, 4, num_temperatures + 1, dtype=torch.float64).sigmoid()
    fractions = (values[1:] - values[0]) / (values[-1] - values[0])
    fractions[-1] = 1.0
    return fractions


SCHEDULES = {
    "sigmoidal": sigmoidal_fractions(12),
    "geometric": torch.logspace(-2, 0, 10, dtype=torch.float64),
    "uneven and few": torch.tensor([0.3, 0.4, 1.0], dtype=torch.float64),
}


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prior(z: Tensor) -> Tensor:
    return 0.5 * (z.square() + LOG_TWO_PI).sum(-1)


class Evidence(NamedTuple):
    """x = W z + scale noise, z ~ N(0, I), six outputs: log p(x) and the posterior are those of Gaussians."""

    weight: Tensor
    x: Tensor
    scale: float

    def energy(self, z: Tensor) -> Tensor:
        residual = (self.x - z @ self.weight.T) / self.scale
        return 0.5 * (residual.square() + LOG_TWO_PI).sum(-1) + 6 * math.log(self.scale)

    def log_evidence(self) -> Tensor:
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(6, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(self.x)

    def draw_posterior(self, count: int, seed: int) -> Tensor:
        precision = torch.eye(D, dtype=torch.float64) + self.weight.T @ self.weight / self.scale**2
        mean = torch.linalg.solve(precision, self.weight.T @ self.x / self.scale**2)
        factor = torch.linalg.cholesky(precision)
        return mean + torch.linalg.solve_triangular(factor.T, normal(count, D, seed=seed).T, upper=True).T


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence(0.6 * normal(6, D, seed=1), normal(6, seed=2), 0.5)


def error_of(weights: Tensor) -> float:
    """The error of the mean of ``weights``, which should be 1, in standard errors."""
    return float((weights.mean() - 1) / (weights.std() / math.sqrt(len(weights))))


def run(evidence: Evidence, schedule: str, start: Tensor, seed: int, *, step_size: float = 0.3, reverse: bool = False):
    return annealed_importance_sampling(
        start,
        prior,
        evidence.energy,
        torch.Generator().manual_seed(seed),
        fractions=SCHEDULES[schedule],
        step_sizes=step_size,
        num_leapfrog_steps=3,
        reverse=reverse,
    )


# 3 standard errors each: false alarms in 0 to 2 of 200 other seeds a case, 2 of 1,200 in all.
@pytest.mark.claim("annealed-importance")
@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("step_size", [0.3, 0.6])
def test_weights_are_unbiased(schedule, step_size, evidence):
    result = run(evidence, schedule, normal(10_000, D, seed=3), seed=4, step_size=step_size)
    assert abs(error_of((result.log_weight - evidence.log_evidence()).exp())) < 3
    assert 0.2 < result.acceptance.mean() < 0.99


# Backwards, weights have a finite variance only where the data say little and the last step down to b = 0 is short.
# 3 standard errors: no false alarm at 200 other seeds.
@pytest.mark.claim("reverse-importance")
@pytest.mark.parametrize("schedule", ["sigmoidal", "geometric"])
def test_reverse_weights_are_unbiased_for_the_inverse(schedule, evidence):
    vague = evidence._replace(scale=4.0)
    result = run(vague, schedule, vague.draw_posterior(10_000, seed=5), seed=6, reverse=True)
    assert abs(error_of((vague.log_evidence() - result.log_weight).exp())) < 3


# Each side is off by more than 5 standard errors, and by less the more temperatures: the bounds close in.
# At 200 other seeds no side was off by less than 37.
@pytest.mark.claim("reverse-importance")
def test_forward_and_reverse_bracket_the_truth(evidence):
    gaps = []
    for schedule in ("uneven and few", "sigmoidal"):
        below = run(evidence, schedule, normal(4_000, D, seed=7), seed=8).log_weight - evidence.log_evidence()
        start = evidence.draw_posterior(4_000, seed=9)
        above = run(evidence, schedule, start, seed=10, reverse=True).log_weight - evidence.log_evidence()
        for bound, sign in ((below, -1), (above, 1)):
            assert sign * bound.mean() > 5 * bound.std() / math.sqrt(4_000)
        gaps.append(above.mean() - below.mean())
    assert gaps[1] < 0.5 * gaps[0]


def by_the_book(evidence: Evidence, schedule: str, start: Tensor, seed: int, step_size: float, variant: str = ""):
    """Log weights written out with the posterior's gradient by hand; ``variant`` puts one mistake in."""
    generator = torch.Generator().manual_seed(seed)
    z, previous = start, 0.0
    log_weight = torch.zeros(len(start), dtype=torch.float64)
    fractions = SCHEDULES[schedule].tolist()
    for k, b in enumerate(fractions):
        if variant != "weighed after the move":
            log_weight = log_weight - (b - previous) * evidence.energy(z)
        if k < len(fractions) - 1 or variant == "weighed after the move":

            def bridge(position: Tensor, b: float = b) -> Tensor:
                return prior(position) + b * evidence.energy(position)

            state = hmc.init(z, bridge)
            jittered = step_size * (0.5 + torch.rand(len(z), 1, generator=generator, dtype=z.dtype))
            if variant == "no accept test":
                velocity = torch.randn(z.shape, generator=generator, dtype=z.dtype)
                z = state.position
                for _ in range(3):
                    velocity = velocity - 0.5 * jittered * hmc.init(z, bridge).gradient
                    z = z + jittered * velocity
                    velocity = velocity - 0.5 * jittered * hmc.init(z, bridge).gradient
            else:
                z = hmc.step(state, bridge, generator, step_size=jittered, num_steps=3)[0].position
        if variant == "weighed after the move":
            log_weight = log_weight - (b - previous) * evidence.energy(z)
        previous = b
    return log_weight


def test_it_is_the_textbook_estimate(evidence):
    start = normal(100, D, seed=11)
    found = run(evidence, "geometric", start, seed=12, step_size=0.5).log_weight
    torch.testing.assert_close(found, by_the_book(evidence, "geometric", start, 12, 0.5), rtol=1e-9, atol=1e-9)


@pytest.mark.claim("annealed-importance-wrong")
@pytest.mark.parametrize(("variant", "step_size"), [("weighed after the move", 0.3), ("no accept test", 0.6)])
@pytest.mark.parametrize("schedule", ["sigmoidal", "uneven and few"])
def test_a_wrong_weight_would_be_seen(variant, step_size, schedule, evidence):
    start = normal(10_000, D, seed=3)
    right = by_the_book(evidence, schedule, start, 4, step_size) - evidence.log_evidence()
    wrong = by_the_book(evidence, schedule, start, 4, step_size, variant) - evidence.log_evidence()
    assert abs(error_of(right.exp())) < 3
    assert abs(error_of(wrong.exp())) > 5


def test_the_cost_is_as_stated_and_every_move_is_told(evidence, counting):
    potential = counting(evidence.energy)
    seen: list[int] = []
    result = annealed_importance_sampling(
        normal(3, D, seed=0),
        prior,
        potential,
        fractions=SCHEDULES["geometric"],
        step_sizes=torch.full((9,), 0.2, dtype=torch.float64),
        num_leapfrog_steps=3,
        on_step=seen.append,
    )
    assert potential.values == potential.gradients == result.num_gradients == 1 + 9 * 3
    assert seen == list(range(1, 10))


# A posterior some 100 times narrower than the prior, as image likelihoods make it: the energy varies by 1e5 nats.
@pytest.mark.slow
@pytest.mark.claim("temperature-schedule")
def test_a_plan_reaches_a_narrow_posterior_where_a_sigmoid_does_not(evidence):
    narrow = Evidence(evidence.weight, evidence.weight @ normal(D, seed=13), 1e-2)
    planned = plan(
        normal(8, D, seed=14),
        prior,
        narrow.energy,
        torch.Generator().manual_seed(15),
        num_temperatures=500,
        num_leapfrog_steps=2,
    )
    assert planned.fractions.shape == (500,)
    assert planned.fractions[-1] == 1
    assert (planned.fractions.diff() > 0).all()
    assert planned.fractions[0] < 1e-4
    assert 30 < planned.step_sizes[0] / planned.step_sizes[-1] < 10_000
    options: dict[str, Any] = {"num_leapfrog_steps": 2}
    start, generator = normal(400, D, seed=16), torch.Generator().manual_seed(17)
    fitted = annealed_importance_sampling(
        start, prior, narrow.energy, generator, fractions=planned.fractions, step_sizes=planned.step_sizes, **options
    )
    sigmoid = sigmoidal_fractions(500)
    shrinking = (planned.step_sizes[-1] / sigmoid[:-1].sqrt()).clamp(max=1.0)
    fixed = annealed_importance_sampling(
        start, prior, narrow.energy, generator, fractions=sigmoid, step_sizes=shrinking, **options
    )
    assert 0.4 < fitted.acceptance.mean() < 0.9
    assert effective_sample_size(fitted.log_weight) > 20
    assert effective_sample_size(fixed.log_weight) < 5
    error = log_mean_exp(fitted.log_weight) - narrow.log_evidence()
    assert abs(error) < 3 / math.sqrt(effective_sample_size(fitted.log_weight))


# 20 plans of 4 chains each, and 500 weighted chains for each plan. No false alarm at 200 other seeds.
@pytest.mark.slow
@pytest.mark.claim("annealed-importance")
def test_planned_weights_are_unbiased(evidence):
    weights = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        options: dict[str, Any] = {"num_leapfrog_steps": 2}
        planned = plan(normal(4, D, seed=100 + seed), prior, evidence.energy, generator, num_temperatures=20, **options)
        start = normal(500, D, seed=200 + seed)
        result = annealed_importance_sampling(
            start,
            prior,
            evidence.energy,
            generator,
            fractions=planned.fractions,
            step_sizes=planned.step_sizes,
            **options,
        )
        weights.append((result.log_weight - evidence.log_evidence()).exp())
    assert abs(error_of(torch.cat(weights))) < 3


def test_a_chain_that_never_moves_keeps_its_energy_without_rounding(evidence):
    start = normal(5, D, seed=20)
    result = annealed_importance_sampling(
        start,
        prior,
        evidence.energy,
        fractions=torch.logspace(-9, 0, 30, dtype=torch.float64),
        step_sizes=1e6,
        num_leapfrog_steps=1,
    )
    assert result.acceptance.max() == 0
    torch.testing.assert_close(result.log_weight, -evidence.energy(start), rtol=1e-14, atol=0)


def test_mean_and_effective_sample_size_by_hand():
    log_weight = torch.tensor([[1.0, 1.0, 2.0], [1.0, 0.0, 0.0]], dtype=torch.float64).T.log()
    torch.testing.assert_close(log_mean_exp(log_weight), torch.tensor([4 / 3, 1 / 3], dtype=torch.float64).log())
    torch.testing.assert_close(effective_sample_size(log_weight), torch.tensor([16 / 6, 1.0], dtype=torch.float64))


def test_draws_of_no_probability_weigh_nothing():
    def half(z: Tensor) -> Tensor:
        return torch.where(z[..., 0] > 0, 0.0, torch.inf) + 0 * z.sum(-1)

    result = annealed_importance_sampling(
        normal(10_000, D, seed=18), prior, half, fractions=SCHEDULES["sigmoidal"], step_sizes=0.3, num_leapfrog_steps=2
    )
    weights = 2 * result.log_weight.exp()
    assert abs(error_of(weights)) < 3


@pytest.mark.parametrize("fractions", [[0.0, 1.0], [0.5], [0.5, 0.5, 1.0], []])
def test_fractions_that_are_no_path_are_refused(fractions, evidence):
    with pytest.raises(MedlangevinError, match="rise from above 0 to exactly 1"):
        annealed_importance_sampling(
            normal(2, D, seed=0),
            prior,
            evidence.energy,
            fractions=torch.tensor(fractions),
            step_sizes=0.1,
            num_leapfrog_steps=1,
        )


def test_an_energy_that_is_nowhere_finite_is_refused():
    with pytest.raises(MedlangevinError, match="not finite"):
        plan(
            normal(4, D, seed=0),
            prior,
            lambda z: z.sum(-1) * torch.nan,
            num_temperatures=5,
            num_leapfrog_steps=1,
        )


def test_one_temperature_is_importance_sampling_from_the_prior(evidence):
    start = normal(5, D, seed=19)
    result = annealed_importance.annealed_importance_sampling(
        start, prior, evidence.energy, fractions=torch.ones(1), step_sizes=0.1, num_leapfrog_steps=1
    )
    torch.testing.assert_close(result.log_weight, -evidence.energy(start))
