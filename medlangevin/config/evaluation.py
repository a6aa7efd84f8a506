"""The schema of what is measured on a model of images."""

from typing import Annotated, Literal

from pydantic import Field

from medlangevin.config.fields import Count, Integer, Repeats, Section

# Importance samples and generated images: more than this is a slip of the keyboard.
Draws = Annotated[Integer, Field(ge=1, le=1_000_000)]


class EvidenceEvaluation(Section):
    """NLL by importance samples about the mode of each posterior, whatever the encoder (docs/mathematics.md)."""

    samples: Draws = Field(default=60, description="Draws of z for each image, 1 to 1,000,000.")
    images: Count = Field(default=1000, description="How many images of the split, the first ones, at least 1.")


class ImportanceEvaluation(Section):
    """NLL by the encoder's importance samples: a bound that judges the encoder with the decoder."""

    samples: Draws = Field(default=1000, description="Draws of L for each image, 1 to 1,000,000.")
    images: Count = Field(default=1000, description="How many images of the split, the first ones, at least 1.")


class AnnealingEvaluation(Section):
    """NLL of the decoder by annealed importance sampling (docs/mathematics.md)."""

    temperatures: Integer = Field(
        default=500, ge=2, le=1_000_000, description="Temperatures from prior to posterior, 2 to 1,000,000."
    )
    chains: Repeats = Field(default=16, description="Chains for each image, 1 to 10,000.")
    images: Count = Field(default=100, description="How many images of the split, the first ones, at least 1.")


class InceptionEvaluation(Section):
    """Inception Score and Frechet distance of generated digits, by a digit classifier."""

    samples: Integer = Field(
        default=10000, ge=10, le=1_000_000, description="How many digits are generated, 10 to 1,000,000."
    )


class ImageEvaluation(Section):
    """The figures of a model of images, on one ``split`` of its set.

    The negative ELBO is measured always; ``evidence``, ``importance``, ``annealing`` and ``inception`` where their
    section is given. ``images``, where a section has it: the first so many of the split, so that every model is judged
    on the same ones.
    """

    split: Literal["test", "validation"] = Field(default="test", description="Which images are measured.")
    elbo_draws: Repeats = Field(default=1, description="Draws of the ELBO for each image, 1 to 10,000.")
    evidence: EvidenceEvaluation | None = Field(
        default=None, description="NLL of the decoder, whatever the encoder; left out: it is not measured."
    )
    importance: ImportanceEvaluation | None = Field(
        default=None, description="NLL by the encoder's importance samples; left out: it is not measured."
    )
    annealing: AnnealingEvaluation | None = Field(
        default=None, description="NLL by annealed importance sampling; left out: not measured."
    )
    inception: InceptionEvaluation | None = Field(
        default=None, description="Quality of generated digits; left out: not measured."
    )
