"""Scans that are hard to register or must not be trusted, made from good ones with known truth, for trust.py."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.spatial.transform import Rotation

from medlangevin.imaging.cohort.person import volumes
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.phantom.ear import draw_ear, truth
from medlangevin.phantom.frame import apply
from medlangevin.phantom.scan import SCAN_CENTRE, Geometry, acquire

BONE_HU = 1300.0


class Truth(NamedTuple):
    """One ear: ``matrix`` (4, 4) from the reference frame (a right ear) to LPS, ``points`` of its cochlea in LPS."""

    mirrored: bool
    matrix: np.ndarray
    points: np.ndarray


class Case(NamedTuple):
    """``ears``: those that a crop may be made of; empty where no fit is right."""

    name: str
    kind: str
    scan: sitk.Image
    ears: list[Truth]


def phantom_cases(per_kind: int, seed: int) -> Iterator[Case]:
    """Cases of the digital phantom, ``per_kind`` of each kind; every case is of an ear of its own."""
    for number, (kind, change) in enumerate((kind, change) for _ in range(per_kind) for kind, change in KINDS.items()):
        rng = np.random.default_rng([seed, number])
        yield change(f"phantom{number:03d}", kind, *_phantom(seed, number, kind, rng), rng)


def simulated_cases(folder: Path, per_kind: int, seed: int) -> Iterator[Case]:
    """The same of the scans in ``folder`` (dicom/, truth/), used in turn; scans of both ears also as they are."""
    scans = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "truth").glob("*.json"))}
    series = {item.series_uid: item for item in ingest(folder / "dicom").series}
    single = [name for name, scan in scans.items() if len(scan["ears"]) == 1]
    both = [name for name in scans if name not in single]

    def read(name: str) -> tuple[sitk.Image, list[Truth]]:
        image = next(volumes(series[scans[name]["series_instance_uid"]])).image
        return image, [_truth(ear, "T_canonical_to_lps_cochlea_only") for ear in scans[name]["ears"]]

    order = np.random.default_rng(seed).permutation(len(single))
    number = 0
    for _ in range(per_kind):
        for kind, change in KINDS.items():
            rng = np.random.default_rng([seed, number])
            name = both[number % len(both)] if kind == "elsewhere" else single[order[number % len(single)]]
            image, ears = read(name)
            if kind == "elsewhere":
                image = _part_without_ears(image, ears, rng)
            yield change(f"{name}#{number}", kind, image, ears, rng)
            number += 1
    for name in both:
        yield Case(name, "both ears", *read(name))


def _phantom(seed: int, index: int, kind: str, rng: np.random.Generator) -> tuple[sitk.Image, list[Truth]]:
    ear = draw_ear(seed, index)
    geometry = ear.geometry
    if kind == "elsewhere":
        direction = rng.normal(size=3)
        away = SCAN_CENTRE + rng.uniform(26, 32) * direction / np.linalg.norm(direction)
        geometry = Geometry.centred(apply(ear.to_lps, away), geometry.direction, geometry.spacing)
    hu = acquire(ear.anatomy, ear.to_lps, geometry, ear.acquisition, rng)
    scan = sitk.GetImageFromArray(hu)
    scan.SetOrigin(geometry.origin.tolist())
    scan.SetSpacing(geometry.spacing)
    scan.SetDirection(geometry.direction.ravel().tolist())
    return scan, [_truth(truth(ear)["ears"][0], "T_reference_to_lps_cochlea_only")]


def _truth(ear: dict, name: str) -> Truth:
    mirrored = ear["side"] == "L"
    matrix = np.array(ear[name]) @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0, 1.0])
    return Truth(mirrored, matrix, np.array(ear["cochlea_points_lps"]))


def _part_without_ears(scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> sitk.Image:
    """A box of 30 mm whose middle is at least 28 mm from either cochlea."""
    size = np.array(scan.GetSize())
    box = np.minimum(np.round(30.0 / np.array(scan.GetSpacing())).astype(int), size)
    while True:
        start = np.array([rng.integers(0, room + 1) for room in size - box])
        middle = np.array(scan.TransformContinuousIndexToPhysicalPoint((start + box / 2).tolist()))
        part = sitk.RegionOfInterest(scan, box.tolist(), start.tolist())
        air = float((sitk.GetArrayViewFromImage(part) < -500).mean())
        if air < 0.5 and all(np.linalg.norm(ear.points.mean(0) - middle) > 28.0 for ear in ears):
            return part


# --- changes: (name, kind, scan, ears, rng) -> Case; those that take the ear away return no ears ---


def _like(scan: sitk.Image, hu: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(np.clip(np.rint(hu), -1024, 4000).astype(np.int16))
    image.CopyInformation(scan)
    return image


def _hu(scan: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(scan).astype(np.float32)


def _noise(scan: sitk.Image, sd: float, rng: np.random.Generator) -> sitk.Image:
    hu = _hu(scan)
    white = gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0, 0.5, 0.5))
    return _like(scan, hu + sd * white / white.std())


def _blur(scan: sitk.Image, sigma_mm: float) -> sitk.Image:
    return _like(scan, gaussian_filter(_hu(scan), [sigma_mm / step for step in scan.GetSpacing()[::-1]]))


def _thick(scan: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """Slices of 0.4 to 0.6 mm, pixels of at least 0.3 mm, by averaging."""
    wanted = np.array([0.3, 0.3, rng.uniform(0.4, 0.6)])
    return sitk.BinShrink(scan, np.maximum(np.round(wanted / scan.GetSpacing()), 1).astype(int).tolist())


def _turn(
    scan: sitk.Image, ears: list[Truth], angle_deg: float, shift_mm: float, rng: np.random.Generator
) -> tuple[sitk.Image, list[Truth]]:
    """The same voxels in a world turned about the scan's middle and shifted."""
    axis, way = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(angle_deg * axis, degrees=True).as_matrix()
    middle = np.array(scan.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in scan.GetSize()]))
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = turn, middle - turn @ middle + shift_mm * way
    moved = sitk.Image(scan)
    moved.SetOrigin(apply(motion, np.array(scan.GetOrigin())).tolist())
    moved.SetDirection((turn @ np.array(scan.GetDirection()).reshape(3, 3)).ravel().tolist())
    return moved, [Truth(ear.mirrored, motion @ ear.matrix, apply(motion, ear.points)) for ear in ears]


def _near(scan: sitk.Image, points: np.ndarray, distance_mm: float) -> np.ndarray:
    """Voxels, (z, y, x), within a distance of any of the points (LPS)."""
    inside = np.zeros(scan.GetSize()[::-1], bool)
    reach = np.ceil(distance_mm / np.array(scan.GetSpacing())).astype(int) + 1
    offsets = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), -1).reshape(-1, 3)
    offsets = offsets[np.linalg.norm(offsets * np.array(scan.GetSpacing()), axis=1) <= distance_mm]
    for point in points:
        index = np.array(scan.TransformPhysicalPointToIndex(point.tolist())) + offsets
        index = index[((index >= 0) & (index < scan.GetSize())).all(1)]
        inside[index[:, 2], index[:, 1], index[:, 0]] = True
    return inside


def _paint(scan: sitk.Image, where: np.ndarray, ears: list[Truth], rng: np.random.Generator) -> sitk.Image:
    """Filled with bone as there is around the cochleae, somewhat less dense."""
    hu = _hu(scan)
    around = hu[_near(scan, np.vstack([ear.points for ear in ears]), 2.5)]
    bone = float(np.median(around[around > BONE_HU])) - rng.uniform(0, 300)
    return _like(scan, np.where(where, bone + 100 * rng.standard_normal(hu.shape, dtype=np.float32), hu))


def plain(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    return Case(name, kind, scan, ears)


def noisy(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    return Case(name, kind, _noise(scan, rng.uniform(250, 500), rng), ears)


def thick(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    return Case(name, kind, _thick(scan, rng), ears)


def turned(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    return Case(name, kind, *_turn(scan, ears, rng.uniform(25, 40), rng.uniform(5, 15), rng))


def blurred(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    return Case(name, kind, _blur(scan, rng.uniform(0.35, 0.7)), ears)


def everything(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """Thick, blurred, turned and noisy at once."""
    scan, ears = _turn(_thick(_blur(scan, rng.uniform(0.2, 0.5)), rng), ears, rng.uniform(20, 40), 10.0, rng)
    return Case(name, kind, _noise(scan, rng.uniform(150, 400), rng), ears)


def grey_values(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """A cone-beam scanner's values: the same picture, scaled and shifted."""
    return Case(name, kind, _like(scan, rng.uniform(0.45, 0.8) * _hu(scan) + rng.uniform(-100, 150)), ears)


def metal(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """An electrode array along some points of the duct, and streaks in the slices that hold it."""
    (ear,) = ears
    start = int(rng.integers(0, len(ear.points) // 3))
    beads = _near(scan, ear.points[start::4][:8], 0.4)
    hu = _hu(scan)
    streaks = gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0, 0.6, 6.0))
    streaks *= rng.uniform(150, 400) / streaks.std() * beads.any(axis=(1, 2), keepdims=True)
    return Case(name, kind, _like(scan, np.where(beads, 4000, hu + streaks)), ears)


def painted(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """All fluid within 11 mm of the cochlea turned to bone."""
    near = _near(scan, np.array([ear.points.mean(0) for ear in ears]), 11.0)
    smooth = gaussian_filter(_hu(scan), 0.7)
    fluid = binary_dilation((smooth > -400) & (smooth < 1000), iterations=2)
    return Case(name, kind, _paint(scan, near & fluid & (smooth > -400), ears, rng), [])


def no_cochlea(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """Vestibule and canals without a cochlea: a malformation. No crop of it is a cochlea's."""
    return Case(name, kind, _paint(scan, _near(scan, ears[0].points, rng.uniform(1.6, 2.0)), ears, rng), [])


def cut(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """The scan ends within the cochlea."""
    (ear,) = ears
    axis, share = int(rng.integers(3)), rng.uniform(0.2, 0.7)
    index = np.array([scan.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in ear.points])[:, axis]
    size, start = np.array(scan.GetSize()), np.zeros(3, int)
    end = int(np.quantile(index, share))
    if rng.random() < 0.5:
        start[axis], size[axis] = end, size[axis] - end
    else:
        size[axis] = end
    return Case(name, kind, sitk.RegionOfInterest(scan, size.tolist(), start.tolist()), [])


def elsewhere(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """A field of view without the ear; the scan comes ready."""
    return Case(name, kind, scan, [])


def inverted(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """Fluid bright and bone dark, as in MR: no CT."""
    return Case(name, kind, _like(scan, 1600 - 0.8 * np.clip(_hu(scan), -200, 2200)), [])


def overturned(name: str, kind: str, scan: sitk.Image, ears: list[Truth], rng: np.random.Generator) -> Case:
    """Turned far beyond what is searched; a fit is right only if it is."""
    return Case(name, kind, *_turn(scan, ears, rng.uniform(60, 150), 5.0, rng))


Change = Callable[[str, str, sitk.Image, list[Truth], np.random.Generator], Case]
KINDS: dict[str, Change] = {
    "plain": plain,
    "noisy": noisy,
    "thick": thick,
    "turned": turned,
    "blurred": blurred,
    "everything": everything,
    "grey values": grey_values,
    "metal": metal,
    "painted": painted,
    "no cochlea": no_cochlea,
    "cut": cut,
    "elsewhere": elsewhere,
    "inverted": inverted,
    "overturned": overturned,
}
