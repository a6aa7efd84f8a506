"""What a scan leaves open about an ear: posterior draws of its latent, carried to the shape measures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medlangevin._version import __version__
from medlangevin.datasets.crop_arrays import to_hu
from medlangevin.inference.kept_chains import keep_chains, kept_chains
from medlangevin.inference.latent_posterior import (
    ESS_LIMIT,
    R_HAT_LIMIT,
    KernelName,
    is_converged,
    sample_posterior,
    state_class,
)
from medlangevin.runs.folder import CheckpointName
from medlangevin.runs.load import load_run
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.samplers.diagnostics import from_chains, save_inference_data, summary
from medlangevin.shape.measure import measure, measure_fields
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import make_folder, require_own_folder, sweep, write_json, write_text
from medlangevin.system.nifti import read_volume
from medlangevin.system.progress import progress

SUMMARY, TABLE, CHAINS, DIAGNOSTICS = "summary.json", "measures.tsv", "chains.nc", "diagnostics.tsv"
PICTURE = "posterior.png"
# The draws of a call that was interrupted.
PARTIAL = "chains.partial.safetensors"
# A model does not reproduce an ear of which it leaves this many times its noise unexplained; see docs/posterior.md.
_TOO_FAR = 1.5


def posterior(
    run_dir: Path | str,
    image: Path | str,
    out: Path | str,
    *,
    kernel: KernelName = "hmc",
    chains: int = 4,
    draws: int = 2000,
    warmup: int = 100,
    measured: int = 100,
    seed: int = 0,
    checkpoint: CheckpointName = "best",
) -> dict[str, Any]:
    """Sample p(z | image) under a run's model, and measure decoded draws.

    Chains stop as soon as they have converged. Interrupted, the same call goes on with the draws that it has.

    Writes ``chains.nc`` (ArviZ InferenceData), ``diagnostics.tsv`` (a row for each latent dimension), ``measures.tsv``
    (a row for each measured draw) and, last, ``summary.json``. The spread of a measure is over mean images: what the
    model thinks the scan leaves open, not the error of the segmentation.

    Args:
        run_dir: The folder of the run.
        image: A crop on the grid that the run was trained on.
        out: The folder to write, new or from an earlier call.
        kernel: The kernel of ``sample_posterior``.
        chains: The number of chains.
        draws: Draws to keep of each chain, at most.
        warmup: Steps of each chain before them.
        measured: Draws to decode and measure, evenly spaced over all chains.
        seed: Chooses the chains, together with the kernel.
        checkpoint: The checkpoint of the run.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        MedlangevinError: Before anything is written, where the input is wrong.
    """
    out = Path(out)
    require_own_folder(out, {SUMMARY, TABLE, CHAINS, DIAGNOSTICS, PICTURE, PARTIAL}, "posterior")
    run = load_run(run_dir, checkpoint=checkpoint)
    x = run.image(image)
    if not 1 <= measured <= chains * draws:
        raise MedlangevinError(f"--measured {measured}: between 1 and {chains} x {draws} draws can be measured")
    about = {
        "run": run.name,
        "model": run.config.model.kind,
        "checkpoint": checkpoint,
        "epoch": run.state.epoch,
        "image": Path(image).name,
        "kernel": kernel,
        "chains": chains,
        "warmup": warmup,
        "seed": seed,
        "software": f"medlangevin {__version__}",
    }
    noise, key = generator(seed, "latent posterior", kernel), run.digest(x, draws, sorted(about.items()))
    make_folder(out)
    before = kept_chains(out / PARTIAL, state_class(kernel), noise, key)
    done = 0 if before is None else warmup + before.positions.shape[1]
    with progress(warmup + draws, "step", done=done) as track:
        sampled = sample_posterior(
            run.model,
            x,
            noise,
            kernel=kernel,
            num_chains=chains,
            num_draws=draws,
            warmup=warmup,
            before=before,
            on_round=lambda chains: keep_chains(out / PARTIAL, chains, noise, key),
            on_step=track.advance,
        )
    about["draws"] = sampled.positions.shape[1]
    measured = min(measured, chains * sampled.positions.shape[1])
    data = from_chains(sampled, attrs=about)
    table = summary(data, num_gradients=chains * sampled.num_gradients)
    rows = _measure_draws(run, sampled.positions, measured)
    if out.is_dir():
        sweep(out)
    (out / SUMMARY).unlink(missing_ok=True)
    save_inference_data(data, out / CHAINS)
    write_text(out / DIAGNOSTICS, table.to_csv(sep="\t", index=False, float_format="%.6g"))
    write_text(out / TABLE, rows.to_csv(sep="\t", index=False, float_format="%.4f"))
    scan = measure(*read_volume(Path(image)))
    result = about | {"unexplained": _unexplained(run, x, sampled.positions.flatten(0, 1).mean(0))}
    result |= {"diagnostics": _diagnostics(table), "measured": measured}
    result["measures"] = {
        item.name: {
            "units": item.metadata["units"],
            **_spread(rows[item.name].to_numpy()),
            "scan": _finite_or_none(getattr(scan, item.name)),
        }
        for item in measure_fields()
    }
    write_json(out / SUMMARY, result)
    (out / PARTIAL).unlink(missing_ok=True)
    return result


@torch.no_grad()
def _unexplained(run: Run, x: Tensor, z: Tensor) -> float:
    """What the model leaves unexplained of an ear, root mean square, over that of the noise that it has learned."""
    output = run.model.decoder(z[None])
    mean = run.model.likelihood.mean(output)
    noise = run.model.likelihood.sample(output, generator(0, "unexplained")) - mean
    return float((x - mean).square().mean().sqrt() / noise.square().mean().sqrt())


@torch.no_grad()
def _measure_draws(run: Run, positions: Tensor, measured: int) -> pd.DataFrame:
    """One row for each measured draw of (chains, draws, d); one decoded volume in memory at a time."""
    affine = run.crop_grid().affine
    num_chains, num_draws = positions.shape[:2]
    rows = []
    with progress(measured, "measure") as track:
        for number in range(measured):
            chain, draw = divmod(number * num_chains * num_draws // measured, num_draws)
            hu = to_hu(run.model.decode(positions[chain, draw][None])[0, 0], run.config.data.window_hu)
            found = measure(hu.numpy(), affine)
            values = {item.name: getattr(found, item.name) for item in measure_fields()}
            rows.append({"chain": chain, "draw": draw, **values, "note": found.note})
            track.advance(number + 1)
    return pd.DataFrame(rows)


def _diagnostics(table: pd.DataFrame) -> dict[str, Any]:
    """The worst of the latent dimensions, and whether the chains can be believed."""
    worst = {
        "r_hat_max": table["r_hat"].max(skipna=False),
        "ess_bulk_min": table["ess_bulk"].min(skipna=False),
        "ess_tail_min": table["ess_tail"].min(skipna=False),
        **{name: table[name][0] for name in ("acceptance_rate", "divergences", "gradients_per_effective_sample")},
    }
    return {name: _finite_or_none(value) for name, value in worst.items()} | {"converged": is_converged(table)}


def _spread(values: np.ndarray) -> dict[str, Any]:
    found = values[np.isfinite(values)]
    mean = found.mean() if found.size else math.nan
    deviation = found.std(ddof=1) if found.size > 1 else math.nan
    low, high = np.quantile(found, [0.025, 0.975]) if found.size else (math.nan, math.nan)
    figures = {"mean": mean, "sd": deviation, "low_2.5%": low, "high_97.5%": high}
    return {name: _finite_or_none(value) for name, value in figures.items()} | {"count": int(found.size)}


def _finite_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def with_spread(mean: float, sd: float) -> str:
    """Mean and standard deviation, both to the second significant digit of the latter, and at least to 0.01.

    Args:
        mean: The mean.
        sd: The standard deviation.

    Returns:
        For example ``9.12 +- 0.21``.
    """
    digits = max(2, 1 - math.floor(math.log10(sd))) if sd > 0 else 2
    return f"{mean:.{digits}f} +- {sd:.{digits}f}"


def format_posterior(result: dict[str, Any], *, with_scan: bool = True) -> str:
    """The spread of every measure given the scan, one line each, and the chains' diagnostics.

    Args:
        result: What ``posterior`` returned.
        with_scan: Show what was measured on the scan itself as well.

    Returns:
        Lines of text.
    """
    lines = []
    if result.get("unexplained", 0) > _TOO_FAR:
        lines += [
            f"the model does not reproduce this ear: {result['unexplained']:.1f} times its noise is left unexplained, "
            "so what follows is about another ear"
        ]
    lines += [f"{'measure':<20}{'given this scan':>22}" + ("   scan itself" if with_scan else "")]
    for name, figure in result["measures"].items():
        scan = "-" if figure["scan"] is None else f"{figure['scan']:.2f}"
        spread = "not found" if figure["sd"] is None else with_spread(figure["mean"], figure["sd"])
        shown_scan = f"   {scan:>11}" if with_scan else ""
        lines.append(f"{name:<20}{spread:>22}{shown_scan}   ({figure['count']} of {result['measured']} draws)")
    worst = result["diagnostics"]

    def shown(name: str) -> str:
        return "-" if worst[name] is None else f"{worst[name]:.4g}"

    lines.append(
        f"R-hat {shown('r_hat_max')}, effective draws {shown('ess_bulk_min')} (the worst dimension), "
        f"acceptance {shown('acceptance_rate')}, divergences {shown('divergences')}"
    )
    if not worst["converged"]:
        lines.append(
            f"not converged (R-hat above {R_HAT_LIMIT} or fewer than {ESS_LIMIT} effective draws) after "
            f"{result['draws']} draws of each chain: more --draws"
        )
    return "\n".join(lines)
