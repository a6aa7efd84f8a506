"""The interface of every latent-variable model, and what they all share: prior, joint density, importance sampling."""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medlangevin.likelihoods import LOG_TWO_PI, Likelihood
from medlangevin.samplers import Potential, standard_normal

# Bounds the memory of evaluation: so many image elements are decoded at a time (about 1 GB of activations in 3D).
_ELEMENTS_PER_CHUNK = 2**23
# Draws of the approximate posterior whose mean estimates the latent, where a model knows no better.
_ESTIMATE_DRAWS = 8


class Loss(NamedTuple):
    """The loss of a batch.

    Attributes:
        loss: What is minimised, in nats per image; 0-d.
        parts: Named figures for the log, detached 0-d tensors.
    """

    loss: Tensor
    parts: dict[str, Tensor]

    @classmethod
    def of(cls, loss: Tensor, /, **parts: Tensor) -> "Loss":
        """A loss with parts that are not detached yet.

        Args:
            loss: What is minimised.
            parts: The named figures.

        Returns:
            It, with the parts detached.
        """
        return cls(loss, {name: part.detach() for name, part in parts.items()})


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) of each row.

    Args:
        z: (..., d).

    Returns:
        (...,) float64, in nats.
    """
    return -0.5 * (z.double().square().sum(-1) + z.shape[-1] * LOG_TWO_PI)


class LatentVariableModel(nn.Module, ABC):
    """Data x, latent z (d numbers) with prior N(0, I), decoder p(x | z).

    Images are (N, C, *spatial) in the units the model was trained in. Randomness comes from a ``generator``; None is
    torch's default one.

    Args:
        decoder: z (N, d) -> what the likelihood is of.
        likelihood: What that output means.
        latent_dim: d.
    """

    def __init__(self, *, decoder: nn.Module, likelihood: Likelihood, latent_dim: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.likelihood = likelihood
        self.latent_dim = latent_dim

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """The training loss plus the likelihood's penalty.

        Call the (wrapped) module so that distributed wrappers see every gradient being made.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            The loss, its parts plus ``penalty`` and the likelihood's settings.
        """
        loss, parts = self.training_loss(x, generator)
        parts = parts | self.likelihood.settings()
        penalty = self.likelihood.penalty()
        return Loss.of(loss, **parts) if penalty is None else Loss.of(loss + penalty, **parts, penalty=penalty)

    @abstractmethod
    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Minus a stochastic bound on log p(x), averaged over the batch.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            It and its named parts.
        """

    @abstractmethod
    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the evidence lower bound of each image; no gradients are kept.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """

    @abstractmethod
    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of L for each image, where exp(L) is an unbiased estimate of p(x).

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """

    @abstractmethod
    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """One approximate posterior sample for each image, (N, d)."""

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The encoder's estimate of the latent of each image; models with an encoder give its mean.

        Args:
            x: Images (N, C, *spatial).

        Returns:
            (N, d); the same at each call.
        """
        fixed = torch.Generator(x.device).manual_seed(0)
        return self.posterior_sample(x, _ESTIMATE_DRAWS, fixed).mean(0)

    def potential(self, x: Tensor) -> Potential:
        """U(z) = -log p(x, z) as a function of z.

        Args:
            x: Images (N, C, *spatial).

        Returns:
            A function of z (N, d), one chain per image, that gives (N,) float64, in nats.
        """

        def joint_energy(z: Tensor) -> Tensor:
            return -self.likelihood.log_prob(x, self.decoder(z)) - standard_normal_log_prob(z)

        return joint_energy

    def decode(self, z: Tensor) -> Tensor:
        """The mean image of each latent vector.

        Args:
            z: (N, d).

        Returns:
            (N, C, *spatial).
        """
        return self.likelihood.mean(self.decoder(z))

    @property
    def preparatory_epochs(self) -> int:
        """Epochs at first that train another bound than the model's own; 0 unless a subclass has such a phase."""
        return 0

    def start_epoch(self, epoch: int) -> bool:
        """Say which epoch comes next, or which one the weights are of.

        Args:
            epoch: Its number, from 1.

        Returns:
            Whether the model computes otherwise from now on.
        """
        return False

    def shorten_steps(self) -> bool:
        """Halve the Langevin steps that are part of the model's state, after one that diverged.

        Returns:
            Whether there are any.
        """
        return False

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """log p(x) of each image by importance sampling: log-mean-exp of draws of L.

        Biased down, by less the more samples. Runs in chunks, so memory does not grow with ``num_samples`` or N.

        Args:
            x: Images (N, C, *spatial).
            num_samples: Draws of L for each image.
            generator: The source of noise; None: torch's default one.

        Returns:
            (N,) in nats.
        """
        results = []
        for images, repeats in chunks(x, num_samples):
            total = torch.full((len(images),), -torch.inf, dtype=torch.float64, device=x.device)
            for count in repeats:
                draws = self.log_weights(repeat_images(images, count), generator).double()
                total = torch.logaddexp(total, draws.unflatten(0, (count, len(images))).logsumexp(0))
            results.append(total - math.log(num_samples))
        return torch.cat(results)

    @torch.no_grad()
    def posterior_sample(self, x: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Samples of the model's approximate posterior of z.

        Args:
            x: Images (N, C, *spatial).
            num_samples: Samples for each image.
            generator: The source of noise; None: torch's default one.

        Returns:
            (``num_samples``, N, d).
        """
        results = []
        for images, repeats in chunks(x, num_samples):
            draws = [
                self._draw_posterior(repeat_images(images, count), generator).unflatten(0, (count, len(images)))
                for count in repeats
            ]
            results.append(torch.cat(draws))
        return torch.cat(results, dim=1)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """The mean image of a latent of each image.

        Args:
            x: Images (N, C, *spatial).
            z: The latents (N, d), best those of ``medlangevin.models.laplace.find_mode``; None: the encoder's.

        Returns:
            Shaped like ``x``.
        """
        z = self.encode(x) if z is None else z
        return torch.cat([self.decode(part) for part in z.split(draws_at_once(x[:1]))])

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """New mean images, z drawn from the prior.

        Args:
            n: How many.
            generator: The source of noise; None: torch's default one.

        Returns:
            (n, C, *spatial).
        """
        like = next(self.parameters())
        z = standard_normal((n, self.latent_dim), like=like, generator=generator)
        # Decoding in small batches gives the same images as one large batch, in bounded memory.
        return torch.cat([self.decode(part) for part in z.split(16)])


class ClosedForm(ABC):
    """A model that is fitted to all training images at once, in place of gradient steps."""

    @abstractmethod
    def require_enough(self, groups: Sequence[Hashable]) -> None:
        """Refuse training images that are too few, before anything is written.

        Args:
            groups: Whose each image is, (n,).

        Raises:
            MedlangevinError: They are.
        """

    @abstractmethod
    def fit(self, images: Tensor, groups: Sequence[Hashable]) -> None:
        """Set all parameters to their estimates.

        Args:
            images: All training images (n, C, *spatial).
            groups: Whose each is, (n,): images of one person are not independent.

        Raises:
            MedlangevinError: The images do not determine the parameters.
        """


def repeat_images(x: Tensor, count: int) -> Tensor:
    """All images, several times over.

    Args:
        x: Images (N, C, *spatial).
        count: How many times.

    Returns:
        (``count`` * N, C, *spatial); draw k of image i is at k * N + i.
    """
    return x.repeat(count, *[1] * (x.ndim - 1))


def draws_at_once(x: Tensor) -> int:
    """How many latent vectors of every image may be decoded at a time in bounded memory.

    Args:
        x: Images (N, C, *spatial).

    Returns:
        The number, at least 1.
    """
    return max(1, _ELEMENTS_PER_CHUNK // x.numel())


def chunks(x: Tensor, num_samples: int) -> Iterator[tuple[Tensor, list[int]]]:
    """Split N images x ``num_samples`` draws: (images, how many draws of them at a time) of bounded size."""
    room = max(1, _ELEMENTS_PER_CHUNK // x[0].numel())
    for images in x.split(room):
        at_once = min(num_samples, draws_at_once(images))
        full, rest = divmod(num_samples, at_once)
        yield images, [at_once] * full + [rest] * (rest > 0)
