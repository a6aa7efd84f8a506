"""The schema of what is measured on a model of images."""

from typing import Annotated, Literal

from pydantic import Field

from medlangevin.config.fields import Count, Integer, Repeats, Section

# Importance samples and generated images: more than this is a slip of the keyboard.
Draws = Annotated[Integer, Field(ge=1, le=1_000_000)]


class ImportanceEvaluation(Section):
    """NLL by importance sampling."""

    samples: Annotated[Draws, Field(description="Draws of L for each image, 1 to 1,000,000.")] = 1000
    images: Annotated[Count, Field(description="How many images of the split, the first ones, at least 1.")] = 1000


class AnnealingEvaluation(Section):
    """NLL of the decoder by annealed importance sampling (docs/mathematics.md)."""

    temperatures: Annotated[
        Integer, Field(ge=2, le=1_000_000, description="Temperatures from prior to posterior, 2 to 1,000,000.")
    ] = 500
    chains: Annotated[Repeats, Field(description="Chains for each image, 1 to 10,000.")] = 16
    images: Annotated[Count, Field(description="How many images of the split, the first ones, at least 1.")] = 100


class InceptionEvaluation(Section):
    """Inception Score and Frechet distance of generated digits, by a digit classifier."""

    samples: Annotated[
        Integer, Field(ge=10, le=1_000_000, description="How many digits are generated, 10 to 1,000,000.")
    ] = 10000


class ImageEvaluation(Section):
    """The figures of a model of images, on one ``split`` of its set.

    The negative ELBO is measured always; ``importance``, ``annealing`` and ``inception`` where the section is given.
    ``images``, where a section has it: the first so many of the split, so that every model is judged on the same ones.
    """

    split: Annotated[Literal["test", "validation"], Field(description="Which images are measured.")] = "test"
    elbo_draws: Annotated[Repeats, Field(description="Draws of the ELBO for each image, 1 to 10,000.")] = 1
    importance: Annotated[
        ImportanceEvaluation | None, Field(description="NLL by importance sampling; left out: it is not measured.")
    ] = None
    annealing: Annotated[
        AnnealingEvaluation | None, Field(description="NLL by annealed importance sampling; left out: not measured.")
    ] = None
    inception: Annotated[
        InceptionEvaluation | None, Field(description="Quality of generated digits; left out: not measured.")
    ] = None
