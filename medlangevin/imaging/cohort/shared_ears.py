"""Crops of different persons that show one ear: training and test data must not share it, whatever files it came from.

The same volume in two files is seen before (``reading.copies``). Here it may be as DICOM and as NIfTI, resampled, cut
to another field of view, or under another id.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.person import Outcome, failure_row
from medlangevin.imaging.reading.rejection import Reason
from medlangevin.system.nifti import VolumeError, read_volume

CODE = "same-scan"
WINDOW_HU = (-1000.0, 3000.0)
# What is smaller than this differs most between people, and shows the noise of the scan.
DETAIL_VOXELS = 2.0
# Different ears: at most 0.85 (11,000 pairs of phantoms; simulated scans 0.66). One scan twice: 1.00, also cut;
# 0.97 with noise, 0.95 resampled to 0.25 mm.
ALIKE = 0.9
# Every so many voxels are compared, about 9000 of a crop: ten thousand ears then fit into memory.
STRIDE, EDGE_VOXELS = 13, 2
BLOCK = 1024


def with_shared_ears(out: Path, outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    """Note crops of different persons that show the same.

    Args:
        out: The output folder.
        outcomes: What became of each person, by pseudonym.

    Returns:
        The same with such notes, and without those of earlier runs.
    """
    notes: dict[str, list[dict[str, str]]] = {
        name: [row for row in outcome.notes if row["code"] != CODE] for name, outcome in outcomes.items()
    }
    ears = [(name, ear) for name, outcome in sorted(outcomes.items()) for ear in outcome.ears]
    for at, others in _alike(out, [(name, ear["side"]) for name, ear in ears]).items():
        (name, ear), shown = (
            ears[at],
            ", ".join(f"sub-{ears[other][0]} side {ears[other][1]['side']}" for other in others),
        )
        text = (
            f"sub-{name} side {ear['side']} shows the same ear as {shown}: one scan, taken for several persons, may "
            "end up in training and in test data"
        )
        notes[name].append(
            failure_row(ear["series"], Reason(CODE, text, "leave all but one of them out with --exclude"))
        )
    return {name: replace(outcome, notes=notes[name]) for name, outcome in outcomes.items()}


def _alike(out: Path, ears: list[tuple[str, str]]) -> dict[int, list[int]]:
    """By index the ears of which those of other persons show the same details, and these ears."""
    details: dict[tuple[int, ...], list[tuple[int, NDArray[np.float32]]]] = {}
    for at, (subject, side) in enumerate(ears):
        # A crop that cannot be read is made again by the next run.
        with suppress(VolumeError):
            values, _ = read_volume(out / "crops" / f"{ear_name(subject, side)}.nii.gz")
            details.setdefault(values.shape, []).append((at, _details(values)))
    shared: dict[int, list[int]] = {}
    for alike in details.values():
        table = np.stack([detail for _, detail in alike])
        for start in range(0, len(table), BLOCK):
            for row, column in np.argwhere(table[start : start + BLOCK] @ table.T > ALIKE).tolist():
                one, other = alike[start + row][0], alike[column][0]
                if ears[one][0] != ears[other][0]:
                    shared.setdefault(one, []).append(other)
    return dict(sorted(shared.items()))


def _details(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sample of what is small in a crop, of mean 0 and length 1; 0 where there is nothing."""
    clipped = np.clip(values, *WINDOW_HU)
    inner = tuple(slice(EDGE_VOXELS, -EDGE_VOXELS) for _ in range(3))
    sample = (clipped - gaussian_filter(clipped, DETAIL_VOXELS))[inner].ravel()[::STRIDE]
    sample = sample - sample.mean()
    return np.asarray(sample / max(float(np.linalg.norm(sample)), 1e-6), dtype=np.float32)
