"""``medlangevin evaluate`` of a run of images: which figures, and how they are shown."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.evaluation.images import evaluate_images
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError


def evaluate_image_run(
    run: Run,
    *,
    split: str,
    samples: int,
    seed: int,
    data_root: Path | str | None,
    annealing: dict[str, int] | None,
) -> dict[str, Any]:
    """The figures of ``evaluate_images`` and what they were measured on, for evaluation.json.

    The bound of all images of the split, the NLL by ``samples`` draws for the first 1,000; with ``annealing``
    (``temperatures``, ``chains``) the decoder's for the first 100. ``data_root``: the folder of the image sets if not
    where the run's config says. Raises MedlangevinError, one line.
    """
    images = run.config.images
    if images is None:
        raise MedlangevinError(f"run {run.directory} was trained on crops of ears, not on images")
    if split == "training":
        raise MedlangevinError("--split training is for runs of crops; a run of images has validation and test")
    if data_root is not None:
        if Path(images.set).is_absolute():
            raise MedlangevinError(f"--data has no effect: run {run.directory} names its images in full, {images.set}")
        images = images.model_copy(update={"root": Path(data_root)})
        run = replace(run, config=run.config.model_copy(update={"images": images}))
    try:
        settings = ImageEvaluation.model_validate(
            {"split": split, "importance": {"samples": samples}, "annealing": annealing}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise MedlangevinError(f"--{first['loc'][-1]} {first['input']}: {first['msg'].lower()}") from error
    figures = evaluate_images(run, settings, seed=seed, cache=run.directory)
    return {
        "images_from": f"the {split} split of {images.set}",
        "samples": samples,
        "seed": seed,
        **(annealing or {}),
        **{name: figure.as_json() for name, figure in figures.items()},
    }


def rows(result: dict[str, Any]) -> list[tuple[str, str, int]]:
    """The lines of the table of a result: name of the figure, label, digits after the point."""
    table = [
        ("negative_elbo", "negative ELBO, nats per image", 2),
        ("negative_elbo_per_dim", "  per dimension", 4),
        ("nll", f"NLL, nats per image ({result['samples']} samples)", 2),
        ("nll_per_dim", "  per dimension", 4),
    ]
    if "nll_ais" in result:
        table += [
            ("nll_ais", f"NLL by AIS ({result['temperatures']} temperatures)", 2),
            ("nll_ais_per_dim", "  per dimension", 4),
            ("ais_effective_sample_size", f"  effective chains of {result['chains']}", 1),
            ("ais_acceptance", "  acceptance", 2),
        ]
    return table
