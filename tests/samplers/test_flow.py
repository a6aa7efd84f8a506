"""The flow: number of gradients, log-determinant of the whole map, differentiability."""

import pytest
import torch
from torch import Tensor

from medlangevin.samplers import PhaseState, quasi_symplectic_flow, standard_normal

D = 3


class CountingPotential:
    """U(z) = |z|^4 / 4 that counts its values and its gradients."""

    def __init__(self) -> None:
        self.values = 0
        self.gradients = 0

    def __call__(self, z: Tensor) -> Tensor:
        self.values += 1
        if z.requires_grad:
            z = z.clone()
            z.register_hook(self._count)
        return 0.25 * z.square().sum(-1).square()

    def _count(self, gradient: Tensor) -> None:
        self.gradients += 1


def start(chains: int, seed: int = 0) -> PhaseState:
    generator = torch.Generator().manual_seed(seed)
    like = torch.zeros((), dtype=torch.float64)
    return PhaseState(
        standard_normal((chains, D), like=like, generator=generator),
        standard_normal((chains, D), like=like, generator=generator),
    )


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("num_steps", [1, 5])
def test_k_steps_make_k_gradients(num_steps, create_graph):
    potential = CountingPotential()
    quasi_symplectic_flow(
        start(4), potential, num_steps=num_steps, step_size=0.1, damping=0.2, create_graph=create_graph
    )
    assert (potential.values, potential.gradients) == (num_steps, num_steps)


STEP_SIZES = {
    "scalar": 0.1,
    "per dimension": torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64),
    "per step": torch.tensor([[0.1], [0.2], [0.05], [0.3]], dtype=torch.float64),
    "per step and dimension": torch.linspace(0.05, 0.3, 12, dtype=torch.float64).reshape(4, 3),
}


@pytest.mark.parametrize("name", STEP_SIZES)
@pytest.mark.parametrize("noise_scale", [0.0, 0.9])
def test_log_determinant_is_that_of_the_whole_map(name, noise_scale):
    def flow(flat: Tensor):
        return quasi_symplectic_flow(
            PhaseState(flat[None, :D], flat[None, D:]),
            CountingPotential(),
            num_steps=4,
            step_size=STEP_SIZES[name],
            damping=0.6,
            noise_scale=noise_scale,
            generator=torch.Generator().manual_seed(1),
            create_graph=True,
        )

    def flat_end(flat: Tensor) -> Tensor:
        end = flow(flat).state
        return torch.cat([end.position[0], end.velocity[0]])

    flat = torch.cat([part[0] for part in start(1)])
    jacobian = torch.autograd.functional.jacobian(flat_end, flat)
    sign, log_determinant = torch.linalg.slogdet(jacobian)
    total = torch.as_tensor(STEP_SIZES[name], dtype=torch.float64).expand(4, D).sum()
    assert sign == 1
    torch.testing.assert_close(log_determinant, -0.6 * total, rtol=0, atol=1e-11)
    torch.testing.assert_close(flow(flat).log_det_jacobian, log_determinant[None], rtol=0, atol=1e-11)


def test_gradients_through_the_flow_agree_with_finite_differences():
    def end(position: Tensor, velocity: Tensor, step_size: Tensor, damping: Tensor, noise_scale: Tensor):
        result = quasi_symplectic_flow(
            PhaseState(position, velocity),
            CountingPotential(),
            num_steps=3,
            step_size=step_size,
            damping=damping,
            noise_scale=noise_scale,
            generator=torch.Generator().manual_seed(1),
            create_graph=True,
        )
        return result.state.position, result.state.velocity, result.log_det_jacobian

    arguments = (*start(2), STEP_SIZES["per dimension"], torch.tensor(0.4).double(), torch.tensor(0.7).double())
    assert torch.autograd.gradcheck(end, tuple(argument.clone().requires_grad_() for argument in arguments))


def test_the_generator_alone_decides_the_noise():
    def end(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        torch.rand(1)
        return quasi_symplectic_flow(
            start(4),
            CountingPotential(),
            num_steps=3,
            step_size=0.1,
            damping=0.2,
            noise_scale=1.0,
            generator=generator,
        ).state.position

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))


def test_chains_do_not_influence_one_another():
    state = start(6)
    arguments = {"num_steps": 4, "step_size": 0.2, "damping": 0.3}
    together = quasi_symplectic_flow(state, CountingPotential(), **arguments).state.position
    alone = quasi_symplectic_flow(
        PhaseState(state.position[2:3], state.velocity[2:3]), CountingPotential(), **arguments
    ).state.position
    torch.testing.assert_close(together[2:3], alone, rtol=0, atol=1e-14)
