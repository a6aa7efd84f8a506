"""Kernel-preconditioned ALD: MALA per data point, a weight that follows and does not drift, features that cannot carry.

That it leaves densities invariant is tested with the paper's ALD in test_amortized.py.
"""

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import kernel_amortized, mala
from medlangevin.system.errors import MedlangevinError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def potential(z: Tensor) -> Tensor:
    """Another centre for each data point, the last dimension stiffer than the first."""
    centre = torch.arange(z.shape[-2], dtype=z.dtype)[:, None]
    return (torch.linspace(0.5, 4.0, z.shape[-1], dtype=z.dtype) * (z - centre).square()).sum(-1)


def problem(dtype: torch.dtype = torch.float64, points: int = 6, size: int = 16, chains: tuple[int, ...] = ()):
    rng = generator(1)
    features = torch.randn(*chains, points, size, generator=rng, dtype=torch.float64).relu().to(dtype)
    weight = torch.randn(*chains, 3, size, generator=rng, dtype=torch.float64).to(dtype)
    return weight, features


@pytest.mark.claim("kernel-ald")
@pytest.mark.parametrize("chains", [(), (4,)])
def test_latents_are_those_of_mala_and_the_weight_follows(chains):
    weight, features = problem(chains=chains)
    state = kernel_amortized.init(weight, potential, features=features)
    chain = mala.init(features @ weight.mT, potential)
    one, other = generator(5), generator(5)
    decisions = set()
    for _ in range(200):
        state, info = kernel_amortized.step(state, potential, one, features=features, step_size=0.15)
        chain, expected = mala.step(chain, potential, other, step_size=0.15)
        assert torch.equal(state.latent, chain.position)
        assert torch.equal(info.is_accepted, expected.is_accepted)
        torch.testing.assert_close(state.latent, features @ state.weight.mT, atol=1e-9, rtol=0)
        decisions.add(tuple(info.is_accepted.flatten().tolist()))
    assert info.is_accepted.shape == (*chains, 6)
    # One decision for each data point: within a step some are accepted and some are not.
    assert any(True in decision and False in decision for decision in decisions)


@pytest.mark.claim("kernel-ald")
def test_one_step_is_the_least_norm_update():
    weight, features = problem()
    before = kernel_amortized.init(weight, potential, features=features)
    after, _ = kernel_amortized.step(before, potential, generator(), features=features, step_size=0.15)
    move = (after.latent - before.latent).mT @ torch.linalg.solve(features @ features.mT, features)
    torch.testing.assert_close(after.weight, weight + move)
    # The least of all moves with these latents: it has no part orthogonal to the features.
    null = torch.linalg.svd(features).Vh[6:]
    assert ((after.weight - weight) @ null.mT).abs().max() < 1e-12


@pytest.mark.slow
def test_errors_do_not_add_up_in_float32():
    """3,000 steps from a badly conditioned kernel (condition number 1e3): Phi still gives the chain's latents."""
    weight, features = problem(torch.float32)
    u, _, vh = torch.linalg.svd(features, full_matrices=False)
    features = u @ torch.diag(torch.logspace(0, -1.5, 6)) @ vh
    state = kernel_amortized.init(weight, potential, features=features)
    rng = generator()
    for _ in range(3000):
        state, _ = kernel_amortized.step(state, potential, rng, features=features, step_size=0.15)
    torch.testing.assert_close(state.latent, features @ state.weight.mT, atol=5e-4, rtol=0)


@pytest.mark.claim("kernel-ald")
def told(features: Tensor) -> str:
    """What is said of features that cannot be used."""
    obstacle = kernel_amortized.obstacle(features)
    assert obstacle is not None
    return obstacle


def test_features_that_cannot_carry_the_data_points_are_refused():
    weight, features = problem(torch.float32, points=6, size=5)
    with pytest.raises(MedlangevinError, match=r"6 data points need .* there are 5; sample the latents with mala"):
        kernel_amortized.init(weight, potential, features=features)
    weight, features = problem(torch.float32)
    assert kernel_amortized.obstacle(features) is None
    features[3] = features[2]
    with pytest.raises(MedlangevinError, match=r"linearly dependent, or nearly so for torch.float32; sample .* mala"):
        kernel_amortized.init(weight, potential, features=features)
    assert "dependent" in told(torch.zeros(2, 4))
    assert "dependent" in told(torch.full((2, 4), torch.nan))


def test_what_counts_as_dependent_is_decided_by_the_dtype():
    _, features = problem()
    features[3] = features[2] + 1e-4 * features[3]
    assert kernel_amortized.obstacle(features) is None
    assert "float32" in told(features.float())
