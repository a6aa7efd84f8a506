"""Rigid registration of ears with known truth: our methods and whichever peers are installed, in one table.

    python benchmarks/validation/registration.py --scans simulated_ears [--turned 30 --shift 8]
        [--methods block,correlation]

--scans holds dicom/ and truth/ (a JSON file per scan). One scan (dev03) is the fixed image: every other scan of one ear
is registered to it, left ears mirrored. For our methods its voxels are taken into the package's reference frame, once,
by our own registration; the truth of the fixed scan is never used to place anything.
Target registration error of an ear: mean distance, over 40 corresponding points of the cochlea, between where the
registration puts a point of the fixed ear and where the same point of the moving ear is. "Best rigid motion" is the
least that any rigid motion of the points can reach, the rest is shape; an ear is lost that lies over 1 mm above it. The
row "package's reference" registers both scans to that image instead. --turned and --shift turn and move every header by
so much (random axis and direction, fixed seed), for every method alike. Peers start from the centres of both volumes,
and are told the side. CPU s: median per ear, from the decoded scan to the aligned crop, on one thread; no pictures.
"""

import argparse
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import numpy as np
import registration_peers as peers
import SimpleITK as sitk
import torch

from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.registration.crop import Grid, extract, resample
from medlangevin.imaging.registration.reference import Reference, load_reference
from medlangevin.imaging.registration.register import Matcher, distinct_ears
from medlangevin.phantom.frame import apply, kabsch

FIXED = "dev03"
LOST_MM = 1.0
# What the fixed scan covers about its ear, on the grid of the package's own reference.
FRAME = Grid((-14.0, -12.0, -11.0), (113, 105, 93), 0.25)


class ScannedEar(NamedTuple):
    """``points``: (40, 3) LPS of the scan; ``left`` ears are mirrored for peers."""

    name: str
    scan: sitk.Image
    points: np.ndarray
    left: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, required=True)
    parser.add_argument("--turned", type=float, default=0.0, metavar="DEG")
    parser.add_argument("--shift", type=float, default=0.0, metavar="MM")
    parser.add_argument("--methods", default="", help="only rows whose name holds one of these words (comma-separated)")
    options = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
    one, both = read(options.scans, options.turned, options.shift)
    fixed = next(ear for ear in one if ear.name == FIXED)
    others = [ear for ear in one if ear is not fixed]
    best = np.array([best_rigid_mm(fixed, ear) for ear in others])
    print(
        f"{len(others)} scans of one ear registered to {FIXED}; "
        f"each turned by a further {options.turned:g} deg and moved by {options.shift:g} mm"
    )
    print(f"{'method':<36}{'median':>8}{'worst':>8}{'lost':>6}{'CPU s':>8}")
    print(f"{'best rigid motion':<36}{np.median(best):8.2f}{best.max():8.2f}", flush=True)
    wanted = [word for word in options.methods.split(",") if word]
    for name, run in methods(fixed):
        if wanted and not any(word in name for word in wanted):
            continue
        if run is None:
            print(f"{name:<36}  not installed", flush=True)
            continue
        errors, seconds = measure(run, fixed, others)
        lost = [ear.name for ear, error, least in zip(others, errors, best, strict=True) if error > least + LOST_MM]
        print(
            f"{name:<36}{np.median(errors):8.2f}{errors.max():8.2f}{len(lost):6d}{seconds:8.2f}  {' '.join(lost)}",
            flush=True,
        )
    print_both(both)


def read(
    root: Path, angle_deg: float, shift_mm: float
) -> tuple[list[ScannedEar], list[tuple[str, sitk.Image, list[dict]]]]:
    """Ears of scans of one ear; and the scans of both: name, image, ears of the truth with their points moved along."""
    truths = [json.loads(path.read_text()) for path in sorted((root / "truth").glob("*.json"))]
    by_uid = {truth["series_instance_uid"]: truth for truth in truths}
    images = {}
    for series in ingest(root / "dicom").series:
        if series.series_uid in by_uid:
            images[series.series_uid] = read_stack(stacks(series.slices)[0])
    generator = np.random.default_rng(11)
    one, both = [], []
    for truth in truths:
        motion = random_motion(generator, images[truth["series_instance_uid"]], angle_deg, shift_mm)
        scan = moved(images[truth["series_instance_uid"]], motion)
        ears = [{**ear, "points": apply(motion, np.array(ear["cochlea_points_lps"]))} for ear in truth["ears"]]
        if len(ears) == 1:
            one.append(ScannedEar(truth["scan"], scan, ears[0]["points"], ears[0]["side"] == "L"))
        else:
            both.append((truth["scan"], scan, ears))
    return one, both


def random_motion(generator: np.random.Generator, scan: sitk.Image, angle_deg: float, shift_mm: float) -> np.ndarray:
    """(4, 4): a turn about the centre of the scan and a shift, both in directions drawn at random."""
    axis, direction = (vector / np.linalg.norm(vector) for vector in generator.normal(size=(2, 3)))
    turn = sitk.VersorTransform(axis.tolist(), float(np.radians(angle_deg)))
    motion = np.eye(4)
    motion[:3, :3] = np.array(turn.GetMatrix()).reshape(3, 3)
    centre = np.array(peers.centre_of(scan))
    motion[:3, 3] = centre - motion[:3, :3] @ centre + shift_mm * direction
    return motion


def moved(scan: sitk.Image, motion: np.ndarray) -> sitk.Image:
    """The same voxels elsewhere: only the header changes."""
    image = sitk.Image(scan)
    image.SetOrigin(apply(motion, np.array([scan.GetOrigin()]))[0].tolist())
    image.SetDirection((motion[:3, :3] @ np.array(scan.GetDirection()).reshape(3, 3)).ravel().tolist())
    return image


def best_rigid_mm(fixed: ScannedEar, ear: ScannedEar) -> float:
    """Mean distance of corresponding points that the best rigid motion (after mirroring) leaves."""
    points = ear.points * ((-1.0 if ear.left else 1.0), 1.0, 1.0)
    motion = kabsch(fixed.points, points)
    return float(np.linalg.norm(apply(motion, fixed.points) - points, axis=1).mean())


def methods(fixed: ScannedEar) -> list[tuple[str, Callable[[ScannedEar], np.ndarray | None] | None]]:
    """Names and functions: a moving ear to the (4, 4) matrix from the fixed scan to it; None where not installed."""
    package = Matcher(load_reference())
    to_frame = np.linalg.inv(only_fit(package, fixed))
    values, _ = resample(fixed.scan, np.linalg.inv(to_frame), FRAME)
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetOrigin(FRAME.origin_mm)
    image.SetSpacing([FRAME.spacing_mm] * 3)
    own = Reference(image, "")
    rows: list[tuple[str, Callable[[ScannedEar], np.ndarray | None] | None]] = []
    for label, matcher in (
        ("ours (block)", Matcher(own)),
        ("ours (correlation)", Matcher(own, method="correlation")),
        ("ours (block), package's reference", package),
    ):
        matcher.fits(fixed.scan)  # what is prepared once per process
        rows.append((label, partial(ours, matcher, to_frame)))
    for label, module, program, peer in peers.PEERS:
        here = importlib.util.find_spec(module) if module else shutil.which(program)
        rows.append((label, partial(by_peer, peer, fixed) if here else None))
    return rows


def only_fit(matcher: Matcher, ear: ScannedEar) -> np.ndarray:
    return distinct_ears(matcher.fits(ear.scan))[0].matrix


def ours(matcher: Matcher, to_frame: np.ndarray, ear: ScannedEar) -> np.ndarray:
    """Search, registration and crop; our side is our own finding."""
    matrix = only_fit(matcher, ear)
    extract(ear.scan, matrix)
    return matrix @ to_frame


def by_peer(peer: Callable[..., np.ndarray | None], fixed: ScannedEar, ear: ScannedEar) -> np.ndarray | None:
    """A peer is told the side."""
    flip = np.diag([-1.0 if ear.left else 1.0, 1.0, 1.0, 1.0])
    moving = moved(ear.scan, flip) if ear.left else ear.scan
    with tempfile.TemporaryDirectory() as folder:
        motion = peer(fixed.scan, moving, Path(folder))
    return None if motion is None else flip @ motion


def measure(
    run: Callable[[ScannedEar], np.ndarray | None], fixed: ScannedEar, others: list[ScannedEar]
) -> tuple[np.ndarray, float]:
    """Errors in mm by ear (infinite where there is no motion), and the median CPU seconds per ear."""
    errors, seconds = [], []
    for ear in others:
        start = cpu_seconds()
        motion = run(ear)
        seconds.append(cpu_seconds() - start)
        apart = np.inf if motion is None else np.linalg.norm(apply(motion, fixed.points) - ear.points, axis=1).mean()
        errors.append(float(apart))
    return np.array(errors), float(np.median(seconds))


def cpu_seconds() -> float:
    """CPU time of this process and its children that ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def print_both(scans: list[tuple[str, sitk.Image, list[dict]]]) -> None:
    """Whether both ears of each scan of two are found, each on its side and at its place."""
    matcher = Matcher(load_reference())
    for name, scan, ears in scans:
        start = time.process_time()
        fits = distinct_ears(matcher.fits(scan))
        for fit in fits:
            extract(scan, fit.matrix)
        seconds = (time.process_time() - start) / len(ears)
        words = []
        for ear in ears:
            centre = ear["points"].mean(0)
            near = [fit for fit in fits if fit.mirrored is (ear["side"] == "L")]
            off = min((float(np.linalg.norm(fit.matrix[:3, 3] - centre)) for fit in near), default=np.inf)
            words.append(f"{ear['side']} " + (f"found, centre {off:.2f} mm off" if off < 2.0 else "LOST"))
        print(f"both ears of {name}: {'; '.join(words)}; {seconds:.2f} CPU s per ear", flush=True)


if __name__ == "__main__":
    main()
