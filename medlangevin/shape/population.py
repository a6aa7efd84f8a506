"""Shape measures of all volumes in a folder, side by side in one table."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.shape.measure import Measures, analyse
from medlangevin.shape.mesh_file import MeshFormat, MeshSpace, write_mesh
from medlangevin.shape.modes import Maps, distance_map
from medlangevin.shape.sections import Sections
from medlangevin.shape.surface import mesh_of
from medlangevin.shape.volumes import Volume, find_volumes
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import VolumeError, is_label_map, read_volume
from medlangevin.system.progress import progress
from medlangevin.system.workers import run_all


class MeshExport(NamedTuple):
    """How to write the wall of every lumen as a mesh.

    Attributes:
        folder: Where to write.
        format: Of the files.
        space: Coordinates of the vertices, mm.
    """

    folder: Path
    format: MeshFormat
    space: MeshSpace = "LPS"


class MeasuredEar(NamedTuple):
    """One measured volume.

    Attributes:
        name: The volume's name in tables.
        measures: Its measures.
        subject: The person whose ear it shows.
        path: Its file.
        sections: Cross-sections of the duct; None without a coil.
        distance: Signed distance map of the lumen; None without a lumen.
    """

    name: str
    measures: Measures
    subject: str
    path: Path
    sections: Sections | None = None
    distance: Maps | None = None


@dataclass(frozen=True)
class Population:
    """The measured volumes of a folder.

    Attributes:
        name: The population's name in tables.
        ears: The volumes.
        failures: (name, reason) of those that could not be read or are label maps.
    """

    name: str
    ears: tuple[MeasuredEar, ...]
    failures: tuple[tuple[str, str], ...] = ()

    def column(self, measure_name: str) -> NDArray[np.float64]:
        """The values of one measure.

        Args:
            measure_name: The measure.

        Returns:
            A value a volume, NaN where missing.
        """
        return np.array([getattr(ear.measures, measure_name) for ear in self.ears], dtype=np.float64)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subject of each volume."""
        return tuple(ear.subject for ear in self.ears)


def measure_folder(
    folder: Path | str,
    *,
    splits: Sequence[str] = (),
    workers: int = 1,
    name: str | None = None,
    meshes: MeshExport | None = None,
) -> Population:
    """Measure every volume of a folder (preprocess or generate output, or any NIfTI crops in the reference frame).

    A file that cannot be read is listed in ``failures`` and skipped.

    Args:
        folder: The folder.
        splits: Only these of a folder that lists splits.
        workers: Processes that share the work; the result does not depend on their number.
        name: The population's name; the folder's by default.
        meshes: Write every lumen's wall as ``<volume>.<format>``; None for no meshes.

    Returns:
        The population.

    Raises:
        MedlangevinError: The folder holds no volume, or none that can be read.
    """
    volumes = find_volumes(folder, splits=splits)
    label = name or Path(folder).resolve().name
    done: dict[str, MeasuredEar | str] = {}
    work = closing(run_all(partial(_measure, meshes), volumes, workers=workers))
    with progress(len(volumes), f"measure {label}") as track, work as measuring:
        for count, (volume, result) in enumerate(measuring, start=1):
            done[volume.name] = result
            track.advance(count, volume.name)
    results = [(volume.name, done[volume.name]) for volume in volumes]
    failures = tuple((key, value) for key, value in results if isinstance(value, str))
    ears = tuple(value for _, value in results if isinstance(value, MeasuredEar))
    if not ears:
        none = f"none of the {len(volumes)} volumes in {folder} can be read"
        raise MedlangevinError(f"{none}; the first: {' '.join(failures[0])}")
    return Population(label, ears, failures)


def _measure(meshes: MeshExport | None, volume: Volume) -> MeasuredEar | str:
    """One file measured, or one line that says why it cannot be read."""
    try:
        values, affine = read_volume(volume.path)
    except VolumeError as error:
        # Without the path: folders may be named after patients, and this goes into a table.
        return error.reason
    if is_label_map(values):
        return "is a label map, whose numbers are not grey values; give the crop of the scan itself"
    found = analyse(values, affine)
    if found.lumen is not None and meshes is not None:
        wall = mesh_of(found.lumen.level, affine)
        write_mesh(wall, meshes.folder / f"{volume.name}.{meshes.format}", space=meshes.space)
    distance = None if found.lumen is None else distance_map(found.lumen)
    return MeasuredEar(volume.name, found.measures, volume.subject, volume.path, found.sections, distance)
