"""The schema of what is measured on a model of images."""

from typing import Annotated, Literal

from pydantic import Field

from medlangevin.config.fields import Count, Integer, Repeats, Section

# Importance samples and generated images: more than this is a slip of the keyboard.
Draws = Annotated[Integer, Field(ge=1, le=1_000_000)]


class ImportanceEvaluation(Section):
    """NLL by importance sampling: ``samples`` draws of L for each of the first ``images`` of the split."""

    samples: Draws = 1000
    images: Count = 1000


class AnnealingEvaluation(Section):
    """NLL of the decoder by annealed importance sampling of the first ``images`` of the split.

    ``temperatures`` from the prior to the posterior, ``chains`` for each image (docs/mathematics.md).
    """

    temperatures: Annotated[Integer, Field(ge=2, le=1_000_000)] = 500
    chains: Repeats = 16
    images: Count = 100


class InceptionEvaluation(Section):
    """Inception Score and Frechet distance of ``samples`` generated digits, by a digit classifier."""

    samples: Annotated[Integer, Field(ge=10, le=1_000_000)] = 10000


class ImageEvaluation(Section):
    """The figures of a model of images, on one ``split`` of its set.

    The negative ELBO is measured always, with ``elbo_draws`` for each image of the split. ``importance``,
    ``annealing`` and ``inception`` are measured where the section is given. ``images``, where a section has it: the
    first so many of the split, so that every model is judged on the same ones.
    """

    split: Literal["test", "validation"] = "test"
    elbo_draws: Repeats = 1
    importance: ImportanceEvaluation | None = None
    annealing: AnnealingEvaluation | None = None
    inception: InceptionEvaluation | None = None
