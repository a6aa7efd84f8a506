"""The sampler core: potentials, integrators, flows and Markov kernels. Torch only; it knows nothing of images."""

from medlangevin.samplers import euler_maruyama, leapfrog, mala, quasi_symplectic, ula
from medlangevin.samplers.annealed import AnnealedFlowResult, annealed_flow
from medlangevin.samplers.flow import FlowResult, leapfrog_flow, quasi_symplectic_flow
from medlangevin.samplers.potential import Evaluation, Potential, evaluate
from medlangevin.samplers.quasi_symplectic import PhaseState
from medlangevin.samplers.random import standard_normal, uniform

__all__ = [
    "AnnealedFlowResult",
    "Evaluation",
    "FlowResult",
    "PhaseState",
    "Potential",
    "annealed_flow",
    "euler_maruyama",
    "evaluate",
    "leapfrog",
    "leapfrog_flow",
    "mala",
    "quasi_symplectic",
    "quasi_symplectic_flow",
    "standard_normal",
    "ula",
    "uniform",
]
