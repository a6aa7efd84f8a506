"""The flows: number of gradients, log-determinant of the whole map, differentiability, recomputation."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.profiler import profile

from medlangevin.samplers import (
    PhaseState,
    annealed_flow,
    leapfrog_flow,
    quasi_symplectic_flow,
    standard_normal,
    tempering,
)

D = 3


def start(chains: int, seed: int = 0) -> PhaseState:
    generator = torch.Generator().manual_seed(seed)
    like = torch.zeros((), dtype=torch.float64)
    return PhaseState(
        standard_normal((chains, D), like=like, generator=generator),
        standard_normal((chains, D), like=like, generator=generator),
    )


@pytest.mark.claim("gradients-per-flow")
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("num_steps", [1, 5])
def test_k_steps_make_k_gradients(num_steps, create_graph, counting, quartic):
    potential = counting(quartic)
    quasi_symplectic_flow(
        start(4), potential, num_steps=num_steps, step_size=0.1, damping=0.2, create_graph=create_graph
    )
    assert (potential.values, potential.gradients) == (num_steps, num_steps)


@pytest.mark.claim("gradients-per-flow")
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("num_steps", [1, 5])
def test_k_leapfrog_steps_make_k_plus_one_gradients(num_steps, create_graph, counting, quartic):
    potential = counting(quartic)
    leapfrog_flow(start(4), potential, num_steps=num_steps, step_size=0.1, create_graph=create_graph)
    assert (potential.values, potential.gradients) == (num_steps + 1, num_steps + 1)


PER_STEP_AND_DIMENSION = torch.linspace(0.05, 0.3, 12, dtype=torch.float64).reshape(4, 3)
STEP_SIZES: dict[str, float | Tensor] = {
    "scalar": 0.1,
    "per dimension": torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64),
    "per step": torch.tensor([[0.1], [0.2], [0.05], [0.3]], dtype=torch.float64),
    "per step and dimension": PER_STEP_AND_DIMENSION,
}


VELOCITY_SCALES = torch.tensor([0.9, 0.7, 1.0, 0.8], dtype=torch.float64)


def log_determinant_by_autodiff(flow, flat: Tensor) -> Tensor:
    def flat_end(flat: Tensor) -> Tensor:
        end = flow(PhaseState(flat[None, :D], flat[None, D:])).state
        return torch.cat([end.position[0], end.velocity[0]])

    sign, log_determinant = torch.linalg.slogdet(torch.autograd.functional.jacobian(flat_end, flat))
    assert sign == 1
    return log_determinant


@pytest.mark.claim("flow-log-determinant")
@pytest.mark.parametrize("name", STEP_SIZES)
@pytest.mark.parametrize("noise_scale", [0.0, 0.9])
def test_log_determinant_is_that_of_the_whole_map(name, noise_scale, quartic):
    def flow(state: PhaseState):
        return quasi_symplectic_flow(
            state,
            quartic,
            num_steps=4,
            step_size=STEP_SIZES[name],
            damping=0.6,
            noise_scale=noise_scale,
            generator=torch.Generator().manual_seed(1),
            create_graph=True,
        )

    log_determinant = log_determinant_by_autodiff(flow, torch.cat([part[0] for part in start(1)]))
    expected = -0.6 * torch.as_tensor(STEP_SIZES[name], dtype=torch.float64).expand(4, D).sum()
    torch.testing.assert_close(log_determinant, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(flow(start(2)).log_det_jacobian, expected.expand(2), rtol=0, atol=1e-11)


@pytest.mark.claim("flow-log-determinant")
@pytest.mark.parametrize("name", STEP_SIZES)
@pytest.mark.parametrize("velocity_scales", [None, VELOCITY_SCALES], ids=["untempered", "tempered"])
def test_log_determinant_of_the_leapfrog_flow_is_that_of_the_tempering(name, velocity_scales, quartic):
    def flow(state: PhaseState):
        return leapfrog_flow(
            state,
            quartic,
            num_steps=4,
            step_size=STEP_SIZES[name],
            velocity_scales=velocity_scales,
            create_graph=True,
        )

    log_determinant = log_determinant_by_autodiff(flow, torch.cat([part[0] for part in start(1)]))
    expected = torch.zeros((), dtype=torch.float64) if velocity_scales is None else D * velocity_scales.log().sum()
    torch.testing.assert_close(log_determinant, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(flow(start(2)).log_det_jacobian, expected.expand(2), rtol=0, atol=1e-11)


def check_gradients(end, *arguments: Tensor) -> None:
    assert torch.autograd.gradcheck(end, tuple(argument.clone().requires_grad_() for argument in arguments))


@pytest.mark.claim("flow-gradients")
@pytest.mark.parametrize("checkpoint_steps", [False, True])
def test_gradients_through_the_flow_agree_with_finite_differences(checkpoint_steps, quartic):
    def end(position, velocity, step_size, damping, noise_scale, weight):
        result = quasi_symplectic_flow(
            PhaseState(position, velocity),
            lambda z: quartic(weight * z),
            num_steps=3,
            step_size=step_size,
            damping=damping,
            noise_scale=noise_scale,
            generator=torch.Generator().manual_seed(1),
            create_graph=True,
            checkpoint_steps=checkpoint_steps,
        )
        return result.state.position, result.state.velocity, result.log_det_jacobian

    weight = torch.full((D,), 1.2, dtype=torch.float64)
    scalars = (torch.tensor(0.4).double(), torch.tensor(0.7).double())
    check_gradients(end, *start(2), PER_STEP_AND_DIMENSION, *scalars, weight)


@pytest.mark.claim("flow-gradients")
@pytest.mark.parametrize("checkpoint_steps", [False, True])
def test_gradients_through_the_leapfrog_flow_agree_with_finite_differences(checkpoint_steps, quartic):
    def end(position, velocity, step_size, initial_temperature, weight):
        result = leapfrog_flow(
            PhaseState(position, velocity),
            lambda z: quartic(weight * z),
            num_steps=3,
            step_size=step_size,
            velocity_scales=tempering.quadratic_schedule(initial_temperature, 3),
            create_graph=True,
            checkpoint_steps=checkpoint_steps,
        )
        return result.state.position, result.state.velocity, result.log_det_jacobian

    temperature, weight = torch.tensor(1.6, dtype=torch.float64), torch.full((D,), 1.2, dtype=torch.float64)
    check_gradients(end, *start(2), PER_STEP_AND_DIMENSION, temperature, weight)


def test_the_generator_alone_decides_the_noise(quartic):
    def end(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        torch.rand(1)
        return quasi_symplectic_flow(
            start(4),
            quartic,
            num_steps=3,
            step_size=0.1,
            damping=0.2,
            noise_scale=1.0,
            generator=generator,
        ).state.position

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))


def test_chains_do_not_influence_one_another(quartic):
    state = start(6)
    arguments: dict[str, Any] = {"num_steps": 4, "step_size": 0.2, "damping": 0.3}
    together = quasi_symplectic_flow(state, quartic, **arguments).state.position
    alone = quasi_symplectic_flow(
        PhaseState(state.position[2:3], state.velocity[2:3]), quartic, **arguments
    ).state.position
    torch.testing.assert_close(together[2:3], alone, rtol=0, atol=1e-14)


def run_flow(name: str, potential, state: PhaseState, num_steps: int, checkpoint_steps: bool):
    """The end of a flow from ``state``, every noise from one seed; the annealed flow draws its own velocity."""
    options: dict[str, Any] = {"create_graph": True, "checkpoint_steps": checkpoint_steps}
    generator = torch.Generator().manual_seed(2)
    if name == "leapfrog":
        return leapfrog_flow(state, potential, num_steps=num_steps, step_size=0.1, **options).state
    if name == "quasi-symplectic":
        options |= {"damping": 0.4, "noise_scale": 0.3, "generator": generator}
        return quasi_symplectic_flow(state, potential, num_steps=num_steps, step_size=0.1, **options).state
    fractions = torch.arange(1, num_steps + 1, dtype=torch.float64) / num_steps
    options |= {"damping": 0.4, "fractions": fractions, "generator": generator}
    return annealed_flow(state.position, lambda z: z.square().sum(-1), potential, step_size=0.1, **options).state


FLOWS = pytest.mark.parametrize("name", ["leapfrog", "quasi-symplectic", "annealed"])


@pytest.mark.claim("flow-recomputed")
@FLOWS
def test_recomputed_steps_give_the_same_values_and_gradients(name, quartic):
    results = []
    for checkpoint_steps in (False, True):
        weight = torch.full((D,), 1.2, dtype=torch.float64, requires_grad=True)
        state = PhaseState(*(part.clone().requires_grad_() for part in start(5)))
        end = run_flow(name, lambda z, weight=weight: quartic(weight * z), state, 4, checkpoint_steps)
        loss = end.position.square().sum() + end.velocity.sin().sum()
        wanted = (weight, state.position) if name == "annealed" else (weight, *state)
        results.append((*end, *torch.autograd.grad(loss, wanted)))
    for kept, recomputed in zip(*results, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=1e-12, atol=1e-12)


@pytest.mark.slow(seconds=1)
@pytest.mark.claim("flow-recomputed")
@FLOWS
def test_recomputed_steps_keep_their_states_alone_in_memory(name):
    weight = torch.randn(8, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    like = torch.zeros((), dtype=torch.float64)
    state = PhaseState(*(standard_normal((100, 8), like=like, generator=torch.Generator()) for _ in range(2)))

    def wide(z: Tensor) -> Tensor:
        return torch.tanh(z @ weight).square().sum(-1)

    def bytes_kept(num_steps: int, checkpoint_steps: bool) -> int:
        with profile(profile_memory=True, use_kineto=False) as events:
            end = run_flow(name, wide, state, num_steps, checkpoint_steps)
        assert end.position.requires_grad
        return sum(event.self_cpu_memory_usage for event in events.key_averages())

    one_state, one_layer = 100 * 8 * 8, 100 * 400 * 8
    # Position, velocity, noise and, for the leapfrog, the gradient of each step are needed to make it again; the
    # network's layers are not.
    assert bytes_kept(10, True) - bytes_kept(2, True) < 8 * 4.5 * one_state
    assert bytes_kept(10, False) - bytes_kept(2, False) > 8 * one_layer
