"""The picture of one ear: three planes of the crop under the reference's contours, and the same planes in the large."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from medlangevin.imaging.reference import CROP_CENTRE_MM, CROP_SIZE, CROP_SPACING_MM, LUMEN_WALL_HU, Reference
from medlangevin.io import atomic_path

WINDOW_HU = (-500.0, 2500.0)


class Plane(NamedTuple):
    """A slice of a volume: pixel values (rows, columns), the edges (left, right, bottom, top) in mm."""

    values: NDArray[np.float32]
    extent: tuple[float, float, float, float]


# Name, axis across the plane, axis to the right, axis upwards, and what lies at the right and the upper edge.
PLANES = (
    ("axial", 2, 0, 1, "medial", "posterior"),
    ("coronal", 1, 0, 2, "medial", "superior"),
    ("sagittal", 0, 1, 2, "posterior", "superior"),
)


def save_qc_figure(path: Path, crop: sitk.Image, wide: sitk.Image, reference: Reference, title: str) -> None:
    """Write the PNG: upper row the crop, lower row 36 mm around it. All images in the reference frame, HU."""
    figure = Figure(figsize=(11.0, 7.6), dpi=80, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(2, 3)
    for column, (name, across, right, up, right_word, up_word) in enumerate(PLANES):
        at = CROP_CENTRE_MM[across]
        outline = plane(reference.image, across, right, up, at)
        for row, image in enumerate((crop, wide)):
            axis = axes[row, column]
            shown = plane(image, across, right, up, at)
            axis.imshow(
                shown.values, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=shown.extent, origin="lower"
            )
            axis.set_xlim(shown.extent[:2])
            axis.set_ylim(shown.extent[2:])
            axis.tick_params(labelsize=7)
            axis.set_xlabel(f"mm, {right_word} \N{RIGHTWARDS ARROW}", fontsize=8)
            axis.set_ylabel(f"mm, {up_word} \N{RIGHTWARDS ARROW}", fontsize=8)
            axis.set_title(f"{name}, {'crop' if row == 0 else 'surroundings'}", fontsize=9)
        axes[0, column].contour(
            outline.values, levels=[LUMEN_WALL_HU], colors="#ff9d00", linewidths=0.9, extent=outline.extent
        )
        axes[1, column].add_patch(_crop_outline(right, up))
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "medlangevin"})


def plane(image: sitk.Image, across: int, right: int, up: int, at_mm: float) -> Plane:
    """The slice nearest to ``at_mm`` along axis ``across`` (0 x, 1 y, 2 z) of an axis-aligned image."""
    origin, spacing = np.array(image.GetOrigin()), np.array(image.GetSpacing())
    size = np.array(image.GetSize())
    index = int(np.clip(np.rint((at_mm - origin[across]) / spacing[across]), 0, size[across] - 1))
    volume = sitk.GetArrayViewFromImage(image)  # (z, y, x)
    values = np.take(volume, index, axis=2 - across).astype(np.float32)
    # np.take leaves the axes in (z, y, x) order, so the later axis of the pair already runs along rows.
    low, high = origin - spacing / 2, origin + spacing * (size - 0.5)
    return Plane(values, (low[right], high[right], low[up], high[up]))


def _crop_outline(right: int, up: int) -> Rectangle:
    span = CROP_SPACING_MM * np.array(CROP_SIZE)
    corner = np.array(CROP_CENTRE_MM) - span / 2
    return Rectangle((corner[right], corner[up]), span[right], span[up], fill=False, edgecolor="#ff9d00", linewidth=0.9)
