"""The sampler core: potentials, integrators, flows and Markov kernels. Torch only; it knows nothing of images."""

from medlangevin.samplers import (
    amortized,
    annealed_importance,
    euler_maruyama,
    hmc,
    kernel_amortized,
    leapfrog,
    mala,
    metropolis,
    qsl,
    quasi_symplectic,
    tempering,
    ula,
)
from medlangevin.samplers.adaptation import Adaptation
from medlangevin.samplers.annealed import AnnealedFlowResult, annealed_flow
from medlangevin.samplers.annealed_importance import annealed_importance_sampling
from medlangevin.samplers.chain import Chains, sample
from medlangevin.samplers.flow import FlowResult, leapfrog_flow, quasi_symplectic_flow
from medlangevin.samplers.kernel import Kernel
from medlangevin.samplers.potential import Evaluation, Potential, Scalar, evaluate, scalar_like
from medlangevin.samplers.quasi_symplectic import PhaseState
from medlangevin.system.random import standard_normal, uniform

__all__ = [
    "Adaptation",
    "AnnealedFlowResult",
    "Chains",
    "Evaluation",
    "FlowResult",
    "Kernel",
    "PhaseState",
    "Potential",
    "Scalar",
    "amortized",
    "annealed_flow",
    "annealed_importance",
    "annealed_importance_sampling",
    "euler_maruyama",
    "evaluate",
    "hmc",
    "kernel_amortized",
    "leapfrog",
    "leapfrog_flow",
    "mala",
    "metropolis",
    "qsl",
    "quasi_symplectic",
    "quasi_symplectic_flow",
    "sample",
    "scalar_like",
    "standard_normal",
    "tempering",
    "ula",
    "uniform",
]
