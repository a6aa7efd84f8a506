"""How well a run explains its data: ELBO, importance-sampled NLL and, on request, the decoder's NLL by annealing."""

import math
from pathlib import Path
from typing import Any, Literal

from medlangevin.datasets.crops import CropDataset, choose_splits
from medlangevin.datasets.datalist import CropIndex, Ear
from medlangevin.evaluation import image_run
from medlangevin.evaluation.decoder_likelihood import (
    DEFAULT_CHAINS,
    DEFAULT_TEMPERATURES,
    decoder_log_likelihood,
    reporter,
)
from medlangevin.evaluation.figure import figure_of
from medlangevin.runs.folder import CheckpointName
from medlangevin.runs.load import load_run
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, write_json
from medlangevin.system.progress import progress

RESULTS = "evaluation.json"
ELBO_DRAWS = 10
_ANNEALED = ("nll_ais", "ais_effective_sample_size", "ais_acceptance")
SplitName = Literal["training", "validation", "test"]


def evaluate(
    run_dir: Path | str,
    *,
    split: SplitName = "test",
    samples: int = 50,
    seed: int = 0,
    data_root: Path | str | None = None,
    checkpoint: CheckpointName = "best",
    decoder_likelihood: bool = False,
    temperatures: int | None = None,
    chains: int | None = None,
) -> dict[str, Any]:
    """Evaluate a run on a split; the result, which is also put into RUN/evaluation.json under the split.

    Of crops, per ear, and as mean with the standard error over ears: ``elbo`` (mean of 10 draws) and ``nll``
    (importance sampling with ``samples`` draws of L, docs/mathematics.md), nats; ``nll_per_voxel``. ``data_root``:
    where the data are if not where the run's config says. Of a run of images: see ``image_run``.

    ``decoder_likelihood`` adds ``nll_ais``, the NLL by annealed importance sampling from the prior, which does not
    depend on the encoder, with ``ais_effective_sample_size`` and ``ais_acceptance``; ``temperatures`` (500) and
    ``chains`` (16) are its own. Thousands of decoder gradients an ear. Raises MedlangevinError, one line.
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
    measure = evaluate_crops if run.config.images is None else image_run.evaluate_image_run
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


def evaluate_crops(
    run: Run,
    *,
    split: SplitName,
    samples: int,
    seed: int,
    data_root: Path | str | None,
    annealing: dict[str, int] | None,
    elbo_draws: int = ELBO_DRAWS,
) -> dict[str, Any]:
    """The figures of ``evaluate`` for a run of crops, and ear by ear; ``annealing``: temperatures and chains."""
    index = run.crops(data_root)
    ears, source = _ears(index, split)
    known = sorted({ear.subject for ear in ears} & set(run.data.get("seen_subjects", []))) if split == "test" else []
    if known:
        raise MedlangevinError(
            f"{len(known)} people of the test split of {index.root} (sub-{known[0]}, ...) were trained or validated on "
            f"by run {run.name}, so this is no test; evaluate with the data it was trained on, or train again"
        )
    rows = _evaluate_ears(run, ears, index, samples=samples, elbo_draws=elbo_draws, seed=seed)
    if annealing is not None:
        rows = _anneal_ears(run, ears, index, rows, **annealing, seed=seed)
    result: dict[str, Any] = {
        "ears_from": source,
        "samples": samples,
        "seed": seed,
        "elbo": figure_of([row["elbo"] for row in rows]).as_json(),
        "nll": figure_of([row["nll"] for row in rows]).as_json(),
        "nll_per_voxel": figure_of([row["nll"] / math.prod(index.shape) for row in rows]).as_json(),
    }
    if annealing is not None:
        result |= annealing | {name: figure_of([row[name] for row in rows]).as_json() for name in _ANNEALED}
    return result | {"ears": rows}


def format_result(result: dict[str, Any]) -> str:
    """The result of ``evaluate`` as a table for the terminal."""
    of_images = "images_from" in result
    source = result["images_from" if of_images else "ears_from"]
    lines = [f"{result['run']} ({result['model']}, epoch {result['epoch']}) on {source}"]
    for name, label, digits in image_run.rows(result) if of_images else _rows(result):
        figure = result[name]
        error = figure["standard_error"]
        alone = f"(one {'image' if of_images else 'ear'}: no standard error)"
        spread = f"+- {error:.{digits}f}" if error is not None else alone
        lines.append(f"  {label:<34} {figure['mean']:>14,.{digits}f} {spread}  n = {figure['count']}")
    return "\n".join(lines)


def _rows(result: dict[str, Any]) -> list[tuple[str, str, int]]:
    """The lines of the table: name of the figure, label, digits after the point."""
    table = [
        ("elbo", "ELBO, nats per ear", 1),
        ("nll", f"NLL, nats per ear ({result['samples']} samples)", 1),
        ("nll_per_voxel", "NLL, nats per voxel", 5),
    ]
    if "nll_ais" in result:
        table += [
            ("nll_ais", f"NLL by AIS ({result['temperatures']} temperatures)", 1),
            ("ais_effective_sample_size", f"  effective chains of {result['chains']}", 1),
            ("ais_acceptance", "  acceptance", 2),
        ]
    return table


def _ears(index: CropIndex, split: SplitName) -> tuple[tuple[Ear, ...], str]:
    if split == "validation":
        splits = choose_splits(index)
        return splits.validation, splits.validation_source
    ears = index.split(split) if split == "test" else choose_splits(index).training
    if not ears:
        raise MedlangevinError(f"the {split} split of {index.root} holds no ears; choose --split validation")
    return ears, f"the {split} split"


def _evaluate_ears(
    run: Run, ears: tuple[Ear, ...], index: CropIndex, *, samples: int, elbo_draws: int, seed: int
) -> list[dict[str, Any]]:
    data = CropDataset(ears, index.shape, window_hu=run.config.data.window_hu, cache_mb=0)
    device = next(run.model.parameters()).device
    rows: list[dict[str, Any]] = []
    with progress(len(ears), "ear") as track:
        for position, ear in enumerate(ears):
            x = data[position][None].to(device)
            name = f"{ear.subject}/{ear.side}"  # an ear's noise is its own, whatever else is evaluated with it
            draws = x.expand(elbo_draws, *x.shape[1:])
            elbo = run.model.elbo(draws, generator(seed, "elbo", name)).mean().item()
            nll = -run.model.log_likelihood(x, samples, generator(seed, "nll", name)).item()
            rows.append({"subject": ear.subject, "side": ear.side, "elbo": elbo, "nll": nll})
            track.advance(position + 1, f"ELBO {elbo:,.1f}, NLL {nll:,.1f} nats")
    if not all(math.isfinite(row["elbo"]) and math.isfinite(row["nll"]) for row in rows):
        raise MedlangevinError(f"run {run.directory} gives NaN or infinite likelihoods; train it again")
    return rows


def _anneal_ears(
    run: Run,
    ears: tuple[Ear, ...],
    index: CropIndex,
    rows: list[dict[str, Any]],
    *,
    temperatures: int,
    chains: int,
    seed: int,
) -> list[dict[str, Any]]:
    """``rows`` with the figures named in ``_ANNEALED``."""
    data = CropDataset(ears, index.shape, window_hu=run.config.data.window_hu, cache_mb=0)
    annealed: list[dict[str, Any]] = []
    with progress(len(ears) * temperatures, "temperature") as track:
        for position, row in enumerate(rows):
            estimate = decoder_log_likelihood(
                run.model,
                data[position][None].to(next(run.model.parameters()).device),
                generator(seed, "ais", f"{row['subject']}/{row['side']}"),
                num_chains=chains,
                num_temperatures=temperatures,
                on_step=reporter(track, position, temperatures),
            )
            figures = (-estimate.log_likelihood, estimate.effective_sample_size, estimate.acceptance)
            annealed.append(row | dict(zip(_ANNEALED, (figure.item() for figure in figures), strict=True)))
    return annealed
