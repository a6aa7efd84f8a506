"""``medlangevin evaluate``: the figures of a run of crops or of images, kept beside it and shown as a table."""

from pathlib import Path
from typing import Any

from medlangevin.evaluation.crops import SplitName, evaluate_crops
from medlangevin.evaluation.decoder_likelihood import DEFAULT_CHAINS, DEFAULT_TEMPERATURES
from medlangevin.evaluation.evidence import DEFAULT_SAMPLES, ENOUGH
from medlangevin.evaluation.images import evaluate_image_run
from medlangevin.runs.folder import CheckpointName
from medlangevin.runs.load import load_run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, write_json

RESULTS = "evaluation.json"


def evaluate(
    run_dir: Path | str,
    *,
    split: SplitName = "test",
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    data_root: Path | str | None = None,
    checkpoint: CheckpointName = "best",
    decoder_likelihood: bool = False,
    temperatures: int | None = None,
    chains: int | None = None,
) -> dict[str, Any]:
    """Evaluate a run on a split, and put the result into RUN/evaluation.json under the split.

    Args:
        run_dir: The run, of crops or of images.
        split: The ears or images to evaluate on.
        samples: Draws for each of the NLLs (docs/mathematics.md).
        seed: All noise follows from it.
        data_root: Where the data are if not where the run's config says.
        checkpoint: Which weights of the run.
        decoder_likelihood: Add the NLL by annealed importance sampling from the prior, which does not depend on the
            encoder. It takes thousands of decoder gradients an ear.
        temperatures: Of the annealing (500).
        chains: Of the annealing (16).

    Returns:
        The run and what was measured, as ``evaluate_crops`` or ``evaluate_image_run`` gives it.

    Raises:
        MedlangevinError: The options, the run or its data do not fit; one line.
    """
    if samples < 1:
        raise MedlangevinError(f"--samples {samples}: at least 1 sample is needed")
    if not decoder_likelihood and (temperatures, chains) != (None, None):
        raise MedlangevinError("--temperatures and --chains belong to --decoder-likelihood; add it or leave them out")
    annealing = {"temperatures": temperatures or DEFAULT_TEMPERATURES, "chains": chains or DEFAULT_CHAINS}
    run = load_run(run_dir, checkpoint=checkpoint)
    results_path = run.directory / RESULTS
    results = read_json(results_path) if results_path.exists() else {}
    if not isinstance(results, dict):
        raise MedlangevinError(f"{results_path} is damaged; delete it and evaluate again")
    measure = evaluate_crops if run.config.images is None else evaluate_image_run
    about = {"run": run.name, "model": run.config.model.kind, "checkpoint": checkpoint, "epoch": run.state.epoch}
    result = about | measure(
        run,
        split=split,
        samples=samples,
        seed=seed,
        data_root=data_root,
        annealing=annealing if decoder_likelihood else None,
    )
    write_json(results_path, results | {split: result})
    return result


def format_result(result: dict[str, Any]) -> str:
    """Show a result as a table for the terminal.

    Args:
        result: What ``evaluate`` gave.

    Returns:
        A line for the run and one for each figure: mean, standard error and number.
    """
    unit = "image" if "images_from" in result else "ear"
    lines = [f"{result['run']} ({result['model']}, epoch {result['epoch']}) on {result[f'{unit}s_from']}"]
    for name, label, digits in _rows(result, unit):
        figure = result[name]
        error = figure["standard_error"]
        spread = f"+- {error:.{digits}f}" if error is not None else f"(one {unit}: no standard error)"
        lines.append(f"  {label:<34} {figure['mean']:>14,.{digits}f} {spread}  n = {figure['count']}")
    if "effective_sample_size" in result and "nll" not in result:
        lines.append(f"  NLL: not measured, as every {unit} has fewer than {ENOUGH} effective samples; more --samples")
    return "\n".join(lines)


def _rows(result: dict[str, Any], unit: str) -> list[tuple[str, str, int]]:
    """The lines of the table: name of the figure, label, digits after the point."""
    of_images = unit == "image"
    digits = 2 if of_images else 1
    bound = ("negative_elbo", "negative ELBO") if of_images else ("elbo", "ELBO")
    table = [
        (bound[0], f"{bound[1]}, nats per {unit}", digits),
        ("negative_elbo_per_dim", "  per dimension", 4),
        ("nll", f"NLL, nats per {unit} ({result['samples']} samples)", digits),
        ("nll_per_dim", "  per dimension" if of_images else "  per voxel", 4 if of_images else 5),
        ("effective_sample_size", "  effective samples", 1),
        ("nll_ppca", "NLL of PPCA, exact", digits),
        ("nll_encoder", "NLL by the encoder's samples", digits),
        ("nll_encoder_per_dim", "  per dimension" if of_images else "  per voxel", 4 if of_images else 5),
        ("variance_explained", "variance explained", 3),
        ("variance_explained_encoder", "  by the encoder's latent", 3),
        ("variance_explained_ppca", "  by PCA", 3),
    ]
    if "nll_ais" in result:
        table += [
            ("nll_ais", f"NLL by AIS ({result['temperatures']} temperatures)", digits),
            ("nll_ais_per_dim", "  per dimension", 4),
            ("ais_effective_sample_size", f"  effective chains of {result['chains']}", 1),
            ("ais_acceptance", "  acceptance", 2),
        ]
    return [row for row in table if row[0] in result]
