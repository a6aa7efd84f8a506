"""Likelihoods p(x | z): what the decoder's output means, and log p summed over the elements of an image."""

from medlangevin.likelihoods.base import LOG_TWO_PI, Likelihood, at_least_float32, sum_elements
from medlangevin.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from medlangevin.likelihoods.gaussian import Gaussian
from medlangevin.likelihoods.logistic import DiscretizedLogistic

__all__ = [
    "LOG_TWO_PI",
    "Bernoulli",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Likelihood",
    "at_least_float32",
    "sum_elements",
]
