"""The picture of a memorisation audit: the synthetic ears most like a training ear, each beside its neighbour."""

from pathlib import Path

import numpy as np

from medlangevin.evaluation.memorisation import PICTURE, RESULT
from medlangevin.reports.montage import save_montage
from medlangevin.shape.volumes import find_volumes
from medlangevin.system.files import read_json
from medlangevin.system.nifti import read_volume

_PAIRS = 12
_WINDOW_HU = (-1000.0, 2500.0)


def draw_pairs(folder: Path | str) -> Path:
    """Draw the up to 12 pairs of lowest image score from what ``audit`` wrote into ``folder``; the PNG's path."""
    folder = Path(folder)
    result = read_json(folder / RESULT)
    synthetic = {volume.name: volume.path for volume in find_volumes(Path(result["synthetic"]))}
    training = {volume.path.name: volume.path for volume in find_volumes(Path(result["data"]))}
    volumes: list[np.ndarray] = []
    labels: list[str] = []
    for row in sorted(result["ears"], key=lambda row: row["image_score"])[:_PAIRS]:
        neighbour = row["image_nearest"]
        volumes += [read_volume(synthetic[row["volume"]])[0], read_volume(training[neighbour])[0]]
        verdict = "COPY? " if row["copy"] else ""
        labels += [f"{verdict}{row['volume']}, score {row['image_score']:.2f}", neighbour.split("_ct")[0]]
    title = f"SYNTHETIC ears from {result['run']} (left) and their nearest training ears (right)"
    save_montage(volumes, folder / PICTURE, labels=labels, title=title, window=_WINDOW_HU, columns=2)
    return folder / PICTURE
