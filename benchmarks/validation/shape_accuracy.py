"""Accuracy of the shape measures on crops resampled with the true pose, so that segmentation and measuring are judged.

    python benchmarks/validation/shape_accuracy.py --out FOLDER [--simulated SIMULATED_EARS] [--ears 12] [--seed 77]

Phantom ears (``--ears`` of cohort ``--seed``, drawn and scanned here) have every measure in their truth; simulated ears
(a folder with dicom/ and truth/) have volume and surface; of the other measures it is told how many were found. Prints
scans of 0.3 mm or finer and for coarser ones, and what failed; draws a Bland-Altman figure (error over the mean of
measured and true, bias and 95 % limits of agreement; Bland and Altman 1986) and writes the ears as accuracy.tsv.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medlangevin.imaging.cohort.person import volumes
from medlangevin.imaging.reading.ingest import Series, ingest
from medlangevin.imaging.registration.crop import CROP_GRID, on_grid
from medlangevin.phantom.ear import draw_ear, truth
from medlangevin.phantom.scan import MIRROR, acquire
from medlangevin.shape.measure import measure
from medlangevin.system.files import read_json, write_tsv

FINE_MM = 0.3
# Our name: the truth's, and whether errors are in percent.
MEASURES = {
    "volume_mm3": ("cochlea_volume_mm3", True),
    "surface_mm2": ("cochlea_surface_mm2", True),
    "a_mm": ("a_value_mm", False),
    "b_mm": ("b_value_mm", False),
    "height_mm": ("height_mm", False),
    "turns": ("turns", False),
    "lateral_wall_mm": ("lateral_wall_mm", False),
}
# Colour and marker of each group of scans.
GROUPS = {
    "phantom, 0.3 mm or finer": ("#0072b2", "o"),
    "phantom, coarser": ("#0072b2", "x"),
    "simulated, 0.3 mm or finer": ("#d55e00", "o"),
    "simulated, coarser": ("#d55e00", "x"),
}


class Row(NamedTuple):
    """One measure of one ear."""

    kind: str
    name: str
    coarsest_mm: float
    measure: str
    true: float
    found: float

    @property
    def error(self) -> float:
        """In percent for volume and surface, in the measure's units for the others."""
        return 100 * (self.found / self.true - 1) if MEASURES[self.measure][1] else self.found - self.true

    @property
    def is_fine(self) -> bool:
        """Whether the scan's voxels are of 0.3 mm or finer."""
        return self.coarsest_mm <= FINE_MM + 1e-6

    @property
    def group(self) -> str:
        """The group of its scan, as in ``GROUPS``."""
        return f"{self.kind}, {'0.3 mm or finer' if self.is_fine else 'coarser'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--simulated", type=Path, help="folder of simulated ears [default: none]")
    parser.add_argument("--ears", type=int, default=12, help="phantom ears")
    parser.add_argument("--seed", type=int, default=77, help="cohort of the phantom ears")
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    rows = [row for index in range(arguments.ears) for row in phantom_rows(arguments.seed, index)]
    if arguments.simulated:
        rows += simulated_rows(arguments.simulated)
    write_tsv(arguments.out / "accuracy.tsv", [(*Row._fields, "error"), *(map(str, (*row, row.error)) for row in rows)])
    print_table(rows)
    draw(rows, arguments.out / "bland_altman.png")


def crop(scan: sitk.Image, matrix: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (60, 50, 50) in HU and the RAS affine of the crop; ``matrix`` (4, 4): reference frame to scan, LPS mm."""
    values = sitk.GetArrayFromImage(on_grid(scan, matrix @ MIRROR if side == "L" else matrix, CROP_GRID))
    affine = np.diag([-CROP_GRID.spacing_mm, -CROP_GRID.spacing_mm, CROP_GRID.spacing_mm, 1.0])
    affine[:3, 3] = np.array(CROP_GRID.origin_mm) * [-1, -1, 1]
    return values.transpose(2, 1, 0).round(), affine


def phantom_rows(seed: int, index: int) -> list[Row]:
    """Measure a phantom ear, drawn and scanned here."""
    ear = draw_ear(seed, index)
    hu = acquire(ear.anatomy, ear.to_lps, ear.geometry, ear.acquisition, np.random.default_rng([seed, index, 1]))
    scan = sitk.GetImageFromArray(hu.astype(np.float32))
    scan.SetOrigin(ear.geometry.origin.tolist())
    scan.SetSpacing(ear.geometry.spacing)
    scan.SetDirection(ear.geometry.direction.ravel().tolist())
    answers = truth(ear)["ears"][0]
    found = measure(*crop(scan, np.array(answers["T_reference_to_lps"]), answers["side"]))
    return compared("phantom", ear.scan, max(ear.geometry.spacing), answers, found)


def simulated_rows(folder: Path) -> Iterator[Row]:
    """Measure the simulated ears in ``folder`` (dicom/, truth/), one scan after the other."""
    series: dict[str, Series] = {item.series_uid: item for item in ingest(folder / "dicom").series}
    for path in sorted((folder / "truth").glob("*.json")):
        known = read_json(path)
        scan = next(volumes(series[known["series_instance_uid"]])).image
        for ear in known["ears"]:
            found = measure(*crop(scan, np.array(ear["T_canonical_to_lps"]), ear["side"]))
            coarsest = max(known["geometry"]["spacing_mm"])
            yield from compared("simulated", f"{path.stem}-{ear['side']}", coarsest, ear, found)


def compared(kind: str, name: str, coarsest: float, answers: dict[str, Any], found: object) -> list[Row]:
    """A row for each measure; what the truth does not tell is NaN."""
    return [
        Row(kind, name, coarsest, ours, answers.get(theirs, float("nan")), getattr(found, ours))
        for ours, (theirs, _) in MEASURES.items()
    ]


def print_table(rows: list[Row]) -> None:
    """Print how many measures were found, and their errors, for each group of scans."""
    print(f"{'ears':<30}{'measure':<18}{'found':>9}{'bias':>9}{'median |e|':>12}{'worst |e|':>11}  worst ear")
    for label in GROUPS:
        for ours, (_, percent) in MEASURES.items():
            group = [row for row in rows if row.group == label and row.measure == ours]
            if not group:
                continue
            found = [row for row in group if np.isfinite(row.found)]
            start = f"{label:<30}{ours:<18}{f'{len(found)} of {len(group)}':>9}"
            if not found or not np.isfinite(found[0].true):
                print(start)
                continue
            errors = np.array([row.error for row in found])
            worst = int(np.abs(errors).argmax())
            print(
                f"{start}{errors.mean():>9.2f}{np.median(np.abs(errors)):>12.2f}{np.abs(errors[worst]):>11.2f}"
                f"{' %' if percent else ''}  {found[worst].name}"
            )


def draw(rows: list[Row], path: Path) -> None:
    """Draw one panel a measure."""
    figure = Figure(figsize=(16, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 4).ravel()
    labelled: dict[str, Any] = {}
    for axes, ours in zip(panels, MEASURES, strict=False):
        draw_panel(axes, ours, [row for row in rows if row.measure == ours and np.isfinite(row.error)])
        labelled |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    for axes in panels[len(MEASURES) :]:
        axes.set_axis_off()
    panels[-1].legend(labelled.values(), labelled.keys(), loc="center")
    figure.savefig(path, dpi=110)


def draw_panel(axes: Axes, ours: str, found: list[Row]) -> None:
    """Draw error over the mean of measured and true value, with bias and limits of agreement of the fine scans."""
    for label, (colour, marker) in GROUPS.items():
        group = [row for row in found if row.group == label]
        if group:
            middle = [(row.true + row.found) / 2 for row in group]
            axes.scatter(middle, [row.error for row in group], c=colour, marker=marker, s=18, label=label)
    fine_errors = [row.error for row in found if row.is_fine]
    if len(fine_errors) > 1:
        bias, spread = float(np.mean(fine_errors)), 1.96 * float(np.std(fine_errors, ddof=1))
        axes.axhline(bias, color="black", linewidth=1)
        for limit in (bias - spread, bias + spread):
            axes.axhline(limit, color="black", linewidth=1, linestyle="--")
        limits = f"{bias - spread:.2f} to {bias + spread:.2f}"
        axes.set_title(f"{ours}, {len(fine_errors)} fine scans\nbias {bias:.2f}, limits {limits}")
    axes.set_xlabel("mean of measured and true")
    axes.set_ylabel("error (%)" if MEASURES[ours][1] else "error")


if __name__ == "__main__":
    main()
