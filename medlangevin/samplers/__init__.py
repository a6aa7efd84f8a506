"""The sampler core: potentials, integrators, flows and Markov kernels. Torch only; it knows nothing of images."""

from medlangevin.samplers.flow import FlowResult, quasi_symplectic_flow
from medlangevin.samplers.potential import Evaluation, Potential, evaluate
from medlangevin.samplers.quasi_symplectic import PhaseState, inverse_step, log_det_jacobian, step
from medlangevin.samplers.random import standard_normal, uniform

__all__ = [
    "Evaluation",
    "FlowResult",
    "PhaseState",
    "Potential",
    "evaluate",
    "inverse_step",
    "log_det_jacobian",
    "quasi_symplectic_flow",
    "standard_normal",
    "step",
    "uniform",
]
