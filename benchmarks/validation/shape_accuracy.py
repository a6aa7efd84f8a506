"""Accuracy of the shape measures on crops resampled with the true pose, so that segmentation and measuring are judged.

    python benchmarks/validation/shape_accuracy.py --out FOLDER [--simulated SIMULATED_EARS] [--ears 12] [--seed 77]

Phantom ears (``--ears`` of cohort ``--seed``, drawn and scanned here) have every measure in their truth; simulated ears
(a folder with dicom/ and truth/) have volume and surface; of the other measures it is told how many were found. Prints
scans of 0.3 mm or finer and for coarser ones, and what failed; draws a Bland-Altman figure (error over the mean of
measured and true, bias and 95 % limits of agreement; Bland and Altman 1986) and writes the ears as accuracy.tsv.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medlangevin.phantom.ear import draw_ear, truth
from medlangevin.phantom.scan import acquire
from medlangevin.shape.measure import measure

FINE_MM = 0.3
SHAPE, SPACING_MM, FIRST_LPS = (60, 50, 50), 0.2, np.array([-0.4 - 5.9, 0.45 - 4.9, 0.4 - 4.9])
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


class Row(NamedTuple):
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
        for path in sorted((arguments.simulated / "truth").glob("*.json")):
            rows += simulated_rows(arguments.simulated, path)
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join([*Row._fields, "error"]), *("\t".join(map(str, [*row, row.error])) for row in rows)]
    (arguments.out / "accuracy.tsv").write_text("\n".join(lines) + "\n")
    print_table(rows)
    draw(rows, arguments.out / "bland_altman.png")


def crop(scan: sitk.Image, matrix: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (60, 50, 50) in HU and the RAS affine of the crop; ``matrix`` (4, 4): reference frame to scan, LPS mm."""
    if side == "L":
        matrix = matrix @ np.diag([-1.0, 1.0, 1.0, 1.0])
    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    grid = sitk.Image(*SHAPE, sitk.sitkFloat32)
    grid.SetSpacing([SPACING_MM] * 3)
    grid.SetOrigin(FIRST_LPS.tolist())
    values = sitk.GetArrayFromImage(sitk.Resample(scan, grid, transform, sitk.sitkLinear, -1000.0))
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = FIRST_LPS * [-1, -1, 1]
    return values.transpose(2, 1, 0).round(), affine


def phantom_rows(seed: int, index: int) -> list[Row]:
    ear = draw_ear(seed, index)
    hu = acquire(ear.anatomy, ear.to_lps, ear.geometry, ear.acquisition, np.random.default_rng([seed, index, 1]))
    scan = sitk.GetImageFromArray(hu.astype(np.float32))
    scan.SetOrigin(ear.geometry.origin.tolist())
    scan.SetSpacing(ear.geometry.spacing)
    scan.SetDirection(ear.geometry.direction.ravel().tolist())
    answers = truth(ear)["ears"][0]
    found = measure(*crop(scan, np.array(answers["T_reference_to_lps"]), answers["side"]))
    return compared("phantom", ear.scan, max(ear.geometry.spacing), answers, found)


def simulated_rows(folder: Path, path: Path) -> list[Row]:
    scan_truth = json.loads(path.read_text())
    scan = read_scan(folder / scan_truth["study_folder"])
    rows = []
    for ear in scan_truth["ears"]:
        found = measure(*crop(scan, np.array(ear["T_canonical_to_lps"]), ear["side"]))
        coarsest = max(scan_truth["geometry"]["spacing_mm"])
        rows += compared("simulated", f"{path.stem}-{ear['side']}", coarsest, ear, found)
    return rows


def read_scan(folder: Path) -> sitk.Image:
    """The one series in a folder, slices in order of position."""

    def position(file: Path) -> float:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        row, column = np.split(np.array(header.ImageOrientationPatient, dtype=float), 2)
        return float(np.cross(row, column) @ np.array(header.ImagePositionPatient, dtype=float))

    files = sorted((file for file in folder.iterdir() if file.is_file()), key=position)
    return sitk.Cast(sitk.ReadImage([str(file) for file in files]), sitk.sitkFloat32)


def compared(kind: str, name: str, coarsest: float, answers: dict, found: object) -> list[Row]:
    return [
        Row(kind, name, coarsest, ours, answers.get(theirs, float("nan")), getattr(found, ours))
        for ours, (theirs, _) in MEASURES.items()
    ]


def print_table(rows: list[Row]) -> None:
    print(f"{'ears':<30}{'measure':<18}{'found':>9}{'bias':>9}{'median |e|':>12}{'worst |e|':>11}  worst ear")
    for kind in ("phantom", "simulated"):
        for fine in (True, False):
            for ours, (_, percent) in MEASURES.items():
                group = [
                    row
                    for row in rows
                    if row.kind == kind and row.measure == ours and (row.coarsest_mm <= FINE_MM + 1e-6) == fine
                ]
                found = [row for row in group if np.isfinite(row.found)]
                label = f"{kind}, {'0.3 mm or finer' if fine else 'coarser'}"
                if not found or not np.isfinite(found[0].true):
                    if group:
                        print(f"{label:<30}{ours:<18}{f'{len(found)} of {len(group)}':>9}")
                    continue
                errors = np.array([row.error for row in found])
                worst = found[int(np.abs(errors).argmax())]
                unit = " %" if percent else ""
                print(
                    f"{label:<30}{ours:<18}{f'{len(found)} of {len(group)}':>9}{errors.mean():>9.2f}"
                    f"{np.median(np.abs(errors)):>12.2f}{np.abs(errors).max():>11.2f}{unit}  {worst.name}"
                )


def draw(rows: list[Row], path: Path) -> None:
    """One panel a measure: error over the mean of measured and true value, with bias and limits of agreement."""
    figure = Figure(figsize=(16, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 4).ravel()
    colours = {"phantom": "#0072b2", "simulated": "#d55e00"}
    for axes, (ours, (_, percent)) in zip(panels, MEASURES.items(), strict=False):
        found = [row for row in rows if row.measure == ours and np.isfinite(row.error)]
        for kind, colour in colours.items():
            for fine, marker in ((True, "o"), (False, "x")):
                group = [row for row in found if row.kind == kind and (row.coarsest_mm <= FINE_MM + 1e-6) == fine]
                if group:
                    middle = [(row.true + row.found) / 2 for row in group]
                    label = f"{kind}, {'0.3 mm or finer' if fine else 'coarser'}"
                    axes.scatter(middle, [row.error for row in group], c=colour, marker=marker, s=18, label=label)
        fine_errors = [row.error for row in found if row.coarsest_mm <= FINE_MM + 1e-6]
        if len(fine_errors) > 1:
            bias, spread = float(np.mean(fine_errors)), 1.96 * float(np.std(fine_errors, ddof=1))
            axes.axhline(bias, color="black", linewidth=1)
            for limit in (bias - spread, bias + spread):
                axes.axhline(limit, color="black", linewidth=1, linestyle="--")
            limits = f"{bias - spread:.2f} to {bias + spread:.2f}"
            axes.set_title(f"{ours}, {len(fine_errors)} fine scans\nbias {bias:.2f}, limits {limits}")
        axes.set_xlabel("mean of measured and true")
        axes.set_ylabel("error (%)" if percent else "error")
    labelled = {}
    for axes in panels:
        labelled |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    for axes in panels[len(MEASURES) :]:
        axes.set_axis_off()
    panels[-1].legend(labelled.values(), labelled.keys(), loc="center")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
