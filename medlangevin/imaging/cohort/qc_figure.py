"""The picture of one ear: three planes of the crop under the reference's contours, the same planes with more around."""

import textwrap
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.imaging.registration.find_ears import FoundEar
from medlangevin.imaging.registration.reference import CROP_SIZE, CROP_SPACING_MM, LUMEN_WALL_HU, Reference
from medlangevin.system.files import atomic_path

WINDOW_HU = (-500.0, 2500.0)
Edges = tuple[float, float, float, float]
VERDICT_COLOURS = {"ok": "#2e7d32", "review": "#e07b00", "failed": "#b71c1c"}


# Name, axis across the plane, axis to the right, axis upwards, and what lies at the right and the upper edge.
PLANES = (
    ("axial", 2, 0, 1, "medial", "posterior"),
    ("coronal", 1, 0, 2, "medial", "superior"),
    ("sagittal", 0, 1, 2, "posterior", "superior"),
)


def save_qc_figure(
    path: Path, crop: sitk.Image, wide: sitk.Image, reference: Reference, subject: str, ear: FoundEar
) -> None:
    """Write the picture of one ear: upper row the crop, lower row 36 mm around it.

    A left ear is shown as its crop is, mirrored to a right one: L and R mark the patient's own sides.

    Args:
        path: PNG file to write.
        crop: The crop, HU in the reference frame.
        wide: Its surroundings, HU in the reference frame.
        reference: Its contour is drawn over the crop.
        subject: Pseudonym of the person.
        ear: Its registration, figures and verdict.
    """
    sides, verdict = sides_at_edges(ear.fit.mirrored), ear.verdict
    figure = Figure(figsize=(11.0, 8.0), dpi=80, layout="constrained")
    figure.suptitle(_title(subject, ear), fontsize=11, x=0.02, ha="left")
    figure.text(
        0.98, 0.985, verdict.word, ha="right", va="top", fontsize=16, color="white", weight="bold",
        bbox={"facecolor": VERDICT_COLOURS[verdict.word], "edgecolor": "none", "boxstyle": "round"},
    )  # fmt: skip
    axes = figure.subplots(2, 3)
    span = CROP_SPACING_MM * np.array(CROP_SIZE)
    corner = np.array(CROP_CENTRE_LPS) - span / 2
    for column, (name, across, right, up, right_word, up_word) in enumerate(PLANES):
        at = CROP_CENTRE_LPS[across]
        outline, edges = plane(reference.image, across, right, up, at)
        for row, image in enumerate((crop, wide)):
            axis = axes[row, column]
            shown, extent = plane(image, across, right, up, at)
            axis.imshow(shown, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=extent, origin="lower")
            axis.set(xlim=extent[:2], ylim=extent[2:])
            axis.tick_params(labelsize=7)
            axis.set_xlabel(f"mm, {right_word} \N{RIGHTWARDS ARROW}", fontsize=8)
            axis.set_ylabel(f"mm, {up_word} \N{RIGHTWARDS ARROW}", fontsize=8)
            axis.set_title(f"{name}, {'crop' if row == 0 else 'surroundings'}", fontsize=9)
            if right == 0:
                for place, letter, align in zip((0.02, 0.98), sides, ("left", "right"), strict=True):
                    axis.text(
                        place, 0.5, letter, transform=axis.transAxes, ha=align, va="center", fontsize=13, weight="bold",
                        color="#4fc3f7", bbox={"facecolor": "black", "alpha": 0.5, "edgecolor": "none", "pad": 1.5},
                    )  # fmt: skip
        axes[0, column].contour(outline, levels=[LUMEN_WALL_HU], colors="#ff9d00", linewidths=0.9, extent=edges)
        axes[1, column].add_patch(
            Rectangle(
                (corner[right], corner[up]), span[right], span[up], fill=False, edgecolor="#ff9d00", linewidth=0.9
            )
        )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "medlangevin"})


def sides_at_edges(mirrored: bool) -> tuple[str, str]:
    """The patient's sides at the left and the right edge of a plane across which x runs.

    The frame's x runs medially. Medial of a right ear is the patient's left; of a left ear, the patient's right.

    Args:
        mirrored: Whether it is a left ear.

    Returns:
        L or R for the left edge and for the right edge.
    """
    return ("L", "R") if mirrored else ("R", "L")


def _title(subject: str, ear: FoundEar) -> str:
    side = "LEFT ear, shown mirrored as a right ear" if ear.fit.mirrored else "RIGHT ear, shown as it is"
    rivals = (ear.figures.mirror_ncc, ear.fit.runner_up_ncc)
    mirrored, elsewhere = (f"{ncc:.2f}" if ncc > -1.0 else "none" for ncc in rivals)
    numbers = (
        f"correlation {ear.fit.ncc:.2f}, mirrored {mirrored}, elsewhere {elsewhere}, coil {ear.figures.coil.ncc:.2f}; "
        f"two starts {ear.fit.agreement_mm:.2f} mm apart"
    )
    return f"sub-{subject}   {side}\n{numbers}\n{textwrap.fill(ear.verdict.why, 110)}"


def plane(image: sitk.Image, across: int, right: int, up: int, at_mm: float) -> tuple[NDArray[np.float32], Edges]:
    """The slice of an image that is nearest to a place.

    Args:
        image: Axis-aligned image.
        across: Axis across the plane (0 x, 1 y, 2 z).
        right: Axis to the right.
        up: Axis upwards.
        at_mm: Place along ``across``, mm.

    Returns:
        Pixel values (rows, columns), HU, and the edges (left, right, bottom, top), mm.
    """
    origin, spacing = np.array(image.GetOrigin()), np.array(image.GetSpacing())
    size = np.array(image.GetSize())
    index = int(np.clip(np.rint((at_mm - origin[across]) / spacing[across]), 0, size[across] - 1))
    volume = sitk.GetArrayViewFromImage(image)  # (z, y, x)
    values = np.take(volume, index, axis=2 - across).astype(np.float32)
    # np.take leaves the axes in (z, y, x) order, so the later axis of the pair already runs along rows.
    low, high = origin - spacing / 2, origin + spacing * (size - 0.5)
    return values, (low[right], high[right], low[up], high[up])
