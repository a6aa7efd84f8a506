"""One self-contained page on a run: its data, how it learned, what it makes, and how that compares."""

from pathlib import Path
from typing import Any

from medlangevin._version import __version__
from medlangevin.datasets.crop_arrays import to_hu
from medlangevin.datasets.datalist import CropIndex, read_index
from medlangevin.inference.generation import GENERATED
from medlangevin.inference.latents import Aggregate, Latents, aggregated_posterior, fitted, from_prior, traverse
from medlangevin.inference.posterior import SUMMARY
from medlangevin.reports import report_sections, report_synthetic
from medlangevin.reports.run_pictures import held_out_ears
from medlangevin.reports.viewer import Direction, Volume, inline, viewer_data
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, require_folder, write_text
from medlangevin.system.pages import page_template

REAL_EARS, SYNTHETIC_EARS = 6, 8
DIRECTIONS, STEPS = 4, 9


def write_report(
    run_dir: Path | str,
    out: Path | str,
    *,
    data_root: Path | str | None = None,
    synthetic: Path | str | None = None,
    posterior: Path | str | None = None,
    with_real: bool = True,
    seed: int = 0,
) -> Path:
    """Write one HTML file that needs nothing else, not even a network.

    Args:
        run_dir: The run, of crops.
        out: The file to write.
        data_root: The crops, if not where the run's config says.
        synthetic: A folder that ``generate`` wrote, with what ``shape`` and ``audit`` found in it.
        posterior: A folder that ``posterior`` wrote.
        with_real: False keeps every picture, volume and measure of a real ear out, for a page that is passed on.
        seed: Of the synthetic volumes in the viewer.

    Returns:
        The file's path.

    Raises:
        MedlangevinError: One line, before anything is written.
    """
    out = Path(out)
    if out.is_dir():
        raise MedlangevinError(f"{out} is a folder; give --out the name of a file, such as report.html")
    require_folder(out.parent)
    run = load_run(run_dir)
    run.crop_grid()  # refuses a run of images
    folder = None if synthetic is None else Path(synthetic)
    if folder is not None and not folder.is_dir():
        raise MedlangevinError(f"{folder} is not a folder; give --synthetic a folder that medlangevin generate wrote")
    chains = None if posterior is None else Path(posterior)
    if chains is not None and not (chains / SUMMARY).is_file():
        raise MedlangevinError(
            f"{chains} holds no {SUMMARY}; give --posterior a folder that medlangevin posterior wrote"
        )
    crops = read_index(data_root or run.config.data.root)
    page = page_template("medlangevin.reports", "report.html.j2").render(
        name=run.name,
        version=__version__,
        with_real=with_real,
        inline=inline,
        facts=report_sections.run_facts(run),
        learning=report_sections.run_picture(run, "curves", "ELBO and the parts of the loss"),
        likelihood=report_sections.likelihood(run),
        data=report_sections.data(run, crops, with_real=with_real),
        samples=report_synthetic.samples(run, folder, with_real=with_real),
        shape=report_synthetic.shape(folder),
        copies=report_synthetic.copies(folder, with_real=with_real),
        posterior=report_sections.posterior(chains, with_real=with_real),
        viewer=_viewer(run, crops, folder, seed, with_real=with_real),
    )
    write_text(out, page)
    return out


def _viewer(run: Run, crops: CropIndex, synthetic: Path | None, seed: int, *, with_real: bool) -> dict[str, Any]:
    window = run.config.data.window_hu
    volumes = []
    if with_real:
        ears, images = held_out_ears(crops, REAL_EARS, window_hu=window)
        for number, (ear, crop) in enumerate(zip(ears, images, strict=True), start=1):
            label = f"real: sub-{ear.subject} side {ear.side} (validation)"
            volumes.append(Volume(f"real-{number}", label, to_hu(crop[0], window).numpy()))
    aggregate = aggregated_posterior(run, crops.root)  # encodes every training ear
    drawn = _drawn_as(synthetic, run, aggregate, seed)
    how = "" if drawn.about["mode"] == "prior" else f", {drawn.about['mode']}"
    for number in range(1, SYNTHETIC_EARS + 1):
        hu = run.draw(drawn.at(number), number, seed=seed, noise=False)
        volumes.append(Volume(f"synthetic-{number}", f"SYNTHETIC {number}, seed {seed}{how}", hu))
    return viewer_data(volumes, _directions(run, aggregate), affine=run.crop_grid().affine, window_hu=window)


def _drawn_as(synthetic: Path | None, run: Run, aggregate: Aggregate, seed: int) -> Latents:
    """From the fitted density where the folder ``synthetic`` was drawn from it, else from the prior."""
    marker = None if synthetic is None else synthetic / GENERATED
    about = read_json(marker) if marker is not None and marker.is_file() else {}
    if isinstance(about, dict) and about.get("mode") == "fitted":
        return fitted(run, count=SYNTHETIC_EARS, seed=seed, aggregate=aggregate)
    return from_prior(run, count=SYNTHETIC_EARS, seed=seed)


def _directions(run: Run, aggregate: Aggregate) -> list[Direction]:
    """The leading latent directions of the training ears, each as volumes from -2 to 2 standard deviations."""
    latents = traverse(run, directions=min(DIRECTIONS, run.model.latent_dim), steps=STEPS, aggregate=aggregate)
    deviations = latents.about["standard_deviations"]
    directions = [
        Direction(f"direction {number} (standard deviation {deviation:.2f} in latent space)", [])
        for number, deviation in enumerate(deviations, start=1)
    ]
    for index in range(1, latents.count + 1):
        note = latents.note(index)
        number, step = note["direction"], note["position_sd"]
        hu = run.draw(latents.at(index), index, seed=0, noise=False)
        label = f"SYNTHETIC, direction {number} at {step:+.1f} standard deviations"
        directions[number - 1].volumes.append(Volume(f"direction-{number}-{step:+.1f}", label, hu))
    return directions
