"""Where the latent vectors of synthetic ears come from: the prior, a density fitted to the training ears' latents, an
ear, a path between two, principal directions.

Each source gives latent number i from the seed and i alone, whatever else is drawn.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medlangevin.datasets.crops import choose_splits
from medlangevin.inference.ear_posteriors import ear_posteriors
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError

# How far a traversal goes to either side, in standard deviations of the aggregated posterior.
TRAVERSE_SD = 2.0


class Aggregate(NamedTuple):
    """The aggregated posterior of the training crops, float64.

    Attributes:
        mean: (d,).
        deviations: Its standard deviations, largest first, (d,).
        axes: The unit vectors that they lie along, a row each, (d, d).
    """

    mean: Tensor
    deviations: Tensor
    axes: Tensor


@dataclass(frozen=True)
class Latents:
    """Latent vectors, numbered from 1.

    Attributes:
        count: How many there are.
        at: ``at(i)`` is number i, (d,).
        about: What goes into the sidecars of all volumes.
        note: ``note(i)`` goes into the sidecar of volume i.
    """

    count: int
    at: Callable[[int], Tensor]
    about: dict[str, Any]
    note: Callable[[int], dict[str, Any]] = lambda index: {}


def from_prior(run: Run, *, count: int, seed: int) -> Latents:
    """Latents from the prior: z ~ N(0, I).

    Args:
        run: The run.
        count: The number of latents.
        seed: Chooses them.

    Returns:
        The latents.
    """
    return Latents(count, lambda i: run.prior_latent(i, seed=seed), {"mode": "prior"})


def fitted(
    run: Run, *, count: int, seed: int, data_root: Path | None = None, aggregate: Aggregate | None = None
) -> Latents:
    """Latents from z ~ N(m, C), with mean m and covariance C of the aggregated posterior of the training crops.

    A decoder has learned to draw only where its training latents are. N(0, I) is that place as far as the divergence
    from it matters in training, and beside a crop's 150,000 voxels it hardly does: see docs/generate.md.

    Args:
        run: The run.
        count: The number of latents.
        seed: Chooses them.
        data_root: Where the training crops are; by default where the run's config says.
        aggregate: Their aggregated posterior, where it is known already.

    Returns:
        The latents. After training the density is fitted anew, as Ghosh et al. do (2020, From variational to
        deterministic autoencoders, section 4).
    """
    mean, deviations, axes = aggregate or aggregated_posterior(run, data_root)

    def at(index: int) -> Tensor:
        noise = torch.randn(len(mean), generator=generator(seed, "latent", index)).double()
        return (mean + (deviations * noise) @ axes).float()

    about = {"mode": "fitted", "refined": run.refine, "mean": mean.tolist()}
    about |= {"standard_deviations": deviations.tolist()}
    return Latents(count, at, about)


def like(run: Run, image: Path, *, strength: float, count: int, seed: int) -> Latents:
    """Latents like those of an ear: z = m + s (z_i - m), with z_i a draw of ``run.posterior`` and m its mean.

    Args:
        run: The run.
        image: The ear, a crop on the grid of the run.
        strength: s. At 0 every volume is the reconstruction at m, at 1 a full posterior draw. Between, the posterior's
            deviations are scaled by s, so its covariance by s squared.
        count: The number of latents.
        seed: Chooses the draws.

    Returns:
        The latents.

    Raises:
        MedlangevinError: For an image off the grid, or a strength outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise MedlangevinError(f"--strength {strength}: it lies between 0 (the mean) and 1 (a full posterior draw)")
    x = run.image(image)
    posterior = run.posterior(x)

    def at(index: int) -> Tensor:
        draw = posterior.sample(generator(seed, "posterior", index))
        return torch.lerp(posterior.mean, draw, strength)[0]

    about = {"mode": "like", "image": image.name, "strength": strength, "refined": run.refine}
    return Latents(count, at, about | _conditioned_on(image))


def between(run: Run, first: Path, second: Path, *, count: int) -> Latents:
    """Points on the way from the latent of one ear to that of another; see ``spherical``.

    Args:
        run: The run.
        first: The first ear, a crop on the grid of the run.
        second: The second one.
        count: The number of points, both ends included; at least 2.

    Returns:
        The latents.

    Raises:
        MedlangevinError: For an image off the grid, or fewer than 2 points.
    """
    if count < 2:
        raise MedlangevinError(f"--count {count}: a path between two ears has at least its two ends")
    start, end = run.encode(first), run.encode(second)

    def fraction(index: int) -> float:
        return (index - 1) / (count - 1)

    about = {"mode": "between", "images": [first.name, second.name], "path": "spherical", "count": count}
    about["refined"] = run.refine
    about |= _conditioned_on(first, second)
    return Latents(count, lambda i: spherical(start, end, fraction(i)), about, lambda i: {"fraction": fraction(i)})


def _conditioned_on(*images: Path) -> dict[str, Any]:
    return {
        "description": "Synthetic volume drawn from a generative model, conditioned on a real ear.",
        "images_sha256": [hashlib.sha256(image.read_bytes()).hexdigest() for image in images],
    }


def spherical(first: Tensor, second: Tensor, fraction: float) -> Tensor:
    """A point on the arc between two latents: the direction turns along the great circle, the norm changes linearly.

    N(0, I) in d dimensions lives at a distance of about sqrt(d) from the origin. Half-way on the straight line between
    two unrelated ears the norm is 0.7 of that, where the decoder has seen little but averages; on the arc it stays
    where ears are. Where the directions (nearly) agree or are opposite the arc is not defined: then the straight line.

    Args:
        first: Where the arc starts, (d,).
        second: Where it ends, (d,).
        fraction: The share of the way, 0 to 1.

    Returns:
        The point, (d,).
    """
    norms = first.norm(), second.norm()
    cosine = float((first @ second) / (norms[0] * norms[1]).clamp(min=1e-12))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < 1e-4:
        return torch.lerp(first, second, fraction)
    start, end = first / norms[0], second / norms[1]
    direction = (math.sin((1 - fraction) * angle) * start + math.sin(fraction * angle) * end) / math.sin(angle)
    return torch.lerp(norms[0], norms[1], fraction) * direction


def traverse(
    run: Run, *, directions: int, steps: int, data_root: Path | None = None, aggregate: Aggregate | None = None
) -> Latents:
    """Points from -2 to 2 standard deviations along each of the leading directions, the mean in the middle.

    Directions, deviations and mean are the principal components of the aggregated posterior.

    Args:
        run: The run.
        directions: The number of directions.
        steps: The number of points along each, at least 2.
        data_root: Where the training crops are; by default where the run's config says.
        aggregate: Their aggregated posterior, where it is known already.

    Returns:
        The latents, direction by direction: number (k - 1) ``steps`` + j is step j of direction k.

    Raises:
        MedlangevinError: For more directions than latent dimensions, or fewer than 2 steps.
    """
    if directions > run.model.latent_dim or steps < 2:
        given = f"--directions {directions}, --steps {steps}: the run has {run.model.latent_dim} latent dimensions"
        raise MedlangevinError(f"{given}, and a traversal has at least 2 steps")
    mean, deviations, axes = aggregate or aggregated_posterior(run, data_root)
    positions = torch.linspace(-TRAVERSE_SD, TRAVERSE_SD, steps).tolist()

    def note(index: int) -> dict[str, Any]:
        direction, step = divmod(index - 1, steps)
        return {"direction": direction + 1, "position_sd": positions[step]}

    def at(index: int) -> Tensor:
        direction, step = divmod(index - 1, steps)
        return (mean + positions[step] * deviations[direction] * axes[direction]).float()

    about = {"mode": "traverse", "directions": directions, "steps": steps, "refined": run.refine}
    about["standard_deviations"] = deviations[:directions].tolist()
    return Latents(directions * steps, at, about, note)


def aggregated_posterior(run: Run, data_root: Path | None = None) -> Aggregate:
    """The aggregated posterior of the training crops: the mixture of their posteriors, by its mean and covariance.

    Args:
        run: The run.
        data_root: Where the training crops are; by default where the run's config says.

    Returns:
        Mean, deviations and axes. Each axis points where its largest component is positive.

    Raises:
        MedlangevinError: For crops that are not of the shape of the run's.
    """
    means, factors = (values.double() for values in ear_posteriors(run, choose_splits(run.crops(data_root)).training))
    mean = means.mean(0)
    within = (factors @ factors.mT).mean(0)
    between = (means - mean).T @ (means - mean) / len(means)
    variances, vectors = torch.linalg.eigh(within + between)
    axes = vectors.T.flip(0)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return Aggregate(mean, variances.flip(0).clamp(min=0).sqrt(), axes * largest.sign())
