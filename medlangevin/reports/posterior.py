"""The picture of a posterior: traces of the chains, and histograms of the shape measures."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medlangevin.inference.posterior import CHAINS, PICTURE, SUMMARY, TABLE, with_spread
from medlangevin.samplers.diagnostics import load_positions
from medlangevin.shape.measure import measure_fields
from medlangevin.system.files import atomic_path, read_json

_TRACES, _COLUMNS = 4, 5


def draw_posterior(folder: Path | str) -> Path:
    """Draw what ``posterior`` wrote into ``folder``; the path of the PNG.

    Above the traces of the four latent dimensions of largest spread, a colour a chain; below a histogram a measure,
    with the scan's own value as a line.
    """
    folder = Path(folder)
    about = read_json(folder / SUMMARY)
    table = pd.read_csv(folder / TABLE, sep="\t")
    z = load_positions(folder / CHAINS)
    fields = measure_fields()
    rows = math.ceil(len(fields) / _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.6 * (rows + 1)), layout="constrained")
    figure.suptitle(
        f"{about['image']} under {about['run']}: {about['chains']} chains of {about['kernel']}", fontsize=11
    )
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, rows)).ravel()
    widest = np.argsort(-z.std((0, 1)))[:_TRACES]
    for axes, dimension in zip(above.subplots(1, len(widest), squeeze=False).flat, widest, strict=True):
        axes.plot(z[:, :, dimension].T, linewidth=0.5)
        axes.set_title(f"latent {dimension}", fontsize=9)
        axes.set_xlabel("draw")
    panels = below.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, item in zip(panels, fields, strict=False):
        spread = about["measures"][item.name]
        values = table[item.name].dropna()
        title = item.metadata["title"]
        if values.empty:
            axes.text(0.5, 0.5, "not found in any draw", ha="center", va="center", transform=axes.transAxes)
        else:
            axes.hist(values, bins=20, color="#0072b2", alpha=0.6)
            one = f"{spread['mean']:.2f}"
            title += f"\n{one if spread['sd'] is None else with_spread(spread['mean'], spread['sd'])}"
        if spread["scan"] is not None:
            axes.axvline(spread["scan"], color="#d55e00", linestyle="--", label="the scan itself")
            axes.legend(fontsize=7)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(item.metadata["units"])
    for axes in panels[len(fields) :]:
        axes.set_axis_off()
    with atomic_path(folder / PICTURE) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return folder / PICTURE
