"""Damaged DICOM files through ingest, the check of geometry and the decoders; a table of what became of them.

    python benchmarks/stress/ingest_fuzz.py [--count 2000] [--seed 0] [--json FILE]

Every case is a sound made-up CT series of 26 slices in one of seven encodings, in which one slice (or, in one case of
eight, every slice) is damaged in one way. The work is done in child processes, so that a crash of native code, 5 s of
CPU time on one case, or 512 MiB more memory are seen and cost one case. Outcomes:

refused      no volume, with a reason
without it   volumes that lack the damaged slice: the gap was noticed
same         the same volume as without damage
pixels       geometry as without damage, other values in the damaged slice, where only its pixels were damaged
consistent   every slice was damaged alike, and the series is a sound one with other numbers: cannot be told
DEFECT       anything else
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import SimpleITK as sitk
from dicom_mutations import BIG_ENDIAN, DEFLATED, IMPLICIT, KINDS, PIXEL_KINDS, build, parse
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import TAGS
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.slice_pixels import PIXEL_TAGS
from medlangevin.imaging.registration.crop import Grid, on_grid
from medlangevin.imaging.registration.reference import load_reference
from medlangevin.phantom.dicom import HeaderVariant, invent_patient, make_uid, write_study
from medlangevin.phantom.scan import Geometry

SLICES, ROWS, COLUMNS, STEP_MM, SPACING = 26, 36, 40, 0.6, (0.3, 0.35)
EXPLICIT, JPEG, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"
ENCODINGS = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, str(RLELossless), JPEG, JPEG_2000)
CPU_LIMIT_S, WALL_LIMIT_S, MEMORY_LIMIT_MIB = 5.0, 120.0, 512.0
# What the pipeline allows a slice to lie off its place.
PLACE_MM = 0.1
OUTCOMES = ("refused", "without it", "same", "pixels", "consistent", "DEFECT")


class Result(NamedTuple):
    number: int
    kind: str
    encoding: str
    scope: str
    outcome: str
    detail: str
    cpu_s: float
    memory_mib: float


def run(count: int, *, seed: int = 0, kinds: tuple[str, ...] = tuple(KINDS), first: int = 0) -> list[Result]:
    """Case ``number`` of ``seed`` is always the same one. Children are started anew after one dies."""
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder))
        numbers = list(range(first, first + count))
        results: list[Result] = []
        while numbers:
            done, died = _child(Path(folder), numbers, seed, kinds)
            results += done
            numbers = numbers[len(done) :]
            if died and numbers:
                kind, encoding, scope, _ = _case(numbers[0], seed, kinds)
                results.append(Result(numbers.pop(0), kind, encoding, scope, "DEFECT", died, 0.0, 0.0))
        return results


def _child(folder: Path, numbers: list[int], seed: int, kinds: tuple[str, ...]) -> tuple[list[Result], str]:
    command = [sys.executable, __file__, "--child", str(folder), "--seed", str(seed), "--kinds", json.dumps(kinds)]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            output, _ = child.communicate(json.dumps(numbers), timeout=WALL_LIMIT_S + len(numbers))
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
        done = [Result(*json.loads(line)) for line in output.splitlines() if line.startswith("[")]
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    names = {-27: f"more than {CPU_LIMIT_S:.0f} s of CPU time", -9: "killed or hanging", 0: ""}
    died = names.get(child.returncode, f"died with {child.returncode}")
    if said:
        died = died or "ended"
        died += f"; standard error: {said[-300:]}"
    if done and not died and done[-1].number != numbers[-1]:
        return done, ""
    return done, died if len(done) < len(numbers) or said else ""


def _case(number: int, seed: int, kinds: tuple[str, ...]) -> tuple[str, str, str, np.random.Generator]:
    rng = np.random.default_rng([seed, number])
    encoding = ENCODINGS[int(rng.integers(len(ENCODINGS)))]
    return kinds[number % len(kinds)], encoding, "all" if rng.random() < 0.125 else "one", rng


def work(folder: Path, numbers: list[int], seed: int, kinds: tuple[str, ...]) -> Iterator[Result]:
    """In a child: one result a case."""
    import signal

    truth = np.load(folder / "truth.npy")
    sitk.ProcessObject.GlobalWarningDisplayOff()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for number in numbers:
        kind, encoding, scope, rng = _case(number, seed, kinds)
        series = sorted((folder / encoding).iterdir())
        victim = int(rng.integers(SLICES))
        sound = {path: path.read_bytes() for path in (series if scope == "all" else [series[victim]])}
        state = rng.bit_generator.state
        for path, data in sound.items():
            # The same damage to each.
            rng.bit_generator.state = state
            path.write_bytes(KINDS[kind](rng, parse(data)))
        before, start = _peak_mib(), time.process_time()
        # Ends the process wherever it is, native code included.
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
        try:
            outcome, detail = _outcome(folder / encoding, truth, victim if scope == "one" else None, kind)
        except Exception as error:
            outcome, detail = "DEFECT", f"raised {error!r:.200}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        cpu, memory = time.process_time() - start, _peak_mib() - before
        for path, data in sound.items():
            path.write_bytes(data)
        if memory > MEMORY_LIMIT_MIB:
            outcome, detail = "DEFECT", f"{memory:.0f} MiB more memory; {outcome} {detail}"
        yield Result(number, kind, encoding, scope, outcome, detail, round(cpu, 3), round(memory, 1))
        if memory > MEMORY_LIMIT_MIB:
            # The peak of a process never falls: the next case needs a new one.
            return


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmPeak")) / 1024


def _outcome(folder: Path, truth: np.ndarray, victim: int | None, kind: str) -> tuple[str, str]:
    codes: list[str] = []
    volumes: list[sitk.Image] = []
    found = ingest(folder)
    codes += [item.reason.code for item in found.passed_over]
    for series in found.series:
        try:
            volumes += [read_stack(stack) for stack in stacks(series.slices)]
        except UnusableSeriesError as error:
            codes.append(error.reason.code)
    if not volumes:
        return "refused", " ".join(sorted(set(codes)))
    seen: list[int] = []
    odd: list[int] = []
    for image in volumes:
        problem = _misplaced(image)
        if problem and victim is None and kind != "huge matrix":
            return _consistent(image, problem)
        if problem:
            return "DEFECT", f"wrong geometry: {problem}"
        values = sitk.GetArrayViewFromImage(image)
        for k in range(image.GetSize()[2]):
            index = _true_index(image, k)
            seen.append(index)
            if not np.array_equal(values[k], truth[index]):
                odd.append(index)
    if len(set(seen)) < len(seen):
        return "DEFECT", "a slice is there twice"
    if not odd:
        return ("same", "") if len(seen) == SLICES else ("without it", f"{len(seen)} slices")
    if victim is None:
        return "consistent", "other values"
    if set(odd) == {victim} and kind in PIXEL_KINDS:
        return "pixels", ""
    return "DEFECT", f"wrong values in slices {odd}, damaged was {victim}"


def _true_index(image: sitk.Image, k: int) -> int:
    return round(image.TransformIndexToPhysicalPoint((0, 0, k))[2] / STEP_MM)


def _misplaced(image: sitk.Image) -> str:
    columns, rows, slices = image.GetSize()
    if (columns, rows) != (COLUMNS, ROWS):
        return f"{columns} x {rows} voxels"
    for k in range(slices):
        for i, j in ((0, 0), (COLUMNS - 1, 0), (0, ROWS - 1), (COLUMNS - 1, ROWS - 1)):
            true = np.array([i * SPACING[1], j * SPACING[0], STEP_MM * min(max(_true_index(image, k), 0), SLICES - 1)])
            off = np.abs(np.array(image.TransformIndexToPhysicalPoint((i, j, k))) - true).max()
            if off > PLACE_MM:
                return f"slice {k} of {slices} is {off:.3g} mm off"
    return ""


def _consistent(image: sitk.Image, problem: str) -> tuple[str, str]:
    """All slices say the same other thing: is it at least a sound volume?"""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    sound = np.allclose(np.linalg.norm(direction, axis=0), 1, atol=2e-3) and abs(np.linalg.det(direction)) > 0.5
    sound &= min(image.GetSpacing()) > 0 and max(image.GetSpacing()) <= 0.7
    return ("consistent" if sound else "DEFECT"), problem


def write_series(folder: Path) -> None:
    """The sound series in every encoding, and ``truth.npy`` with its HU, (slices, rows, columns) int16."""
    grid = Grid((-12.45,) * 3, (84,) * 3, 0.3)
    scan = on_grid(load_reference().image, np.eye(4), grid, outside=1400)
    noise = np.random.default_rng(0).normal(0, 60, scan.GetSize())
    part = (slice(16, 16 + 2 * SLICES, 2), slice(20, 20 + ROWS), slice(20, 20 + COLUMNS))
    hu = np.clip(np.rint(sitk.GetArrayFromImage(scan) + noise)[part], -1000, 3000).astype(np.int16)
    np.save(folder / "truth.npy", hu)
    geometry = Geometry(np.zeros(3), np.eye(3), (SPACING[1], SPACING[0], STEP_MM), (COLUMNS, ROWS, SLICES))
    for number, encoding in enumerate(ENCODINGS):
        (folder / encoding).mkdir()
        # Signed values as they are, or unsigned ones with an intercept.
        variant = HeaderVariant(rescale_intercept=0 if number % 2 == 0 else -1024)
        rng = np.random.default_rng(number)
        uids = {"study_uid": make_uid("study", number), "series_uid": make_uid("series", number)}
        patient = invent_patient(number, rng)
        write_study(folder / encoding, hu, geometry, patient=patient, side="R", variant=variant, rng=rng, **uids)
        for path in (folder / encoding).iterdir():
            _encode(path, encoding)


def _encode(path: Path, encoding: str) -> None:
    # Nothing but what is read of a file: damage to other elements would test nothing.
    data = pydicom.dcmread(path, specific_tags=[*TAGS, *PIXEL_TAGS, "PixelData"])
    stored = data.pixel_array
    if encoding == str(RLELossless):
        data.compress(RLELossless, generate_instance_uid=False)
    elif encoding in (JPEG, JPEG_2000):
        data.PixelData = encapsulate([_stream(stored, "JPEG" if encoding == JPEG else "JPEG2000")])
        data["PixelData"].is_undefined_length = True
    elif encoding == BIG_ENDIAN:
        data.PixelData = stored.byteswap().tobytes()
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID(encoding)
    little = encoding != BIG_ENDIAN
    pydicom.dcmwrite(path, data, implicit_vr=encoding == IMPLICIT, little_endian=little, force_encoding=True)
    # As the mutations take it apart and put it together.
    assert encoding == DEFLATED or build(parse(path.read_bytes())) == path.read_bytes()


def _stream(stored: np.ndarray, compressor: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetFileName(f"{folder}/x.dcm")
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(sitk.GetImageFromArray(stored[None]))
        return next(pydicom.encaps.generate_frames(pydicom.dcmread(f"{folder}/x.dcm").PixelData, number_of_frames=1))


def table(results: list[Result]) -> str:
    """Outcomes by kind of damage, and what was slow, large or wrong."""
    lines = [f"{'damage':<22}" + "".join(f"{name:>12}" for name in OUTCOMES) + f"{'longest':>10}"]
    for kind in (*KINDS, "all"):
        rows = [result for result in results if kind in (result.kind, "all")]
        if rows:
            counts = Counter(result.outcome for result in rows)
            longest = max(result.cpu_s for result in rows)
            lines.append(f"{kind:<22}" + "".join(f"{counts[name]:>12}" for name in OUTCOMES) + f"{longest:>8.2f} s")
    lines += [
        f"case {r.number} ({r.kind}, {r.scope}, {r.encoding}): {r.detail}" for r in results if r.outcome == "DEFECT"
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", type=json.loads, default=list(KINDS), help="JSON list of kinds of damage")
    parser.add_argument("--json", type=Path, help="write the result of every case into this file too")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        for result in work(arguments.child, json.load(sys.stdin), arguments.seed, tuple(arguments.kinds)):
            print(json.dumps(result), flush=True)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    kinds = tuple(arguments.kinds)
    results = run(arguments.count, seed=arguments.seed, kinds=kinds, first=arguments.first)
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps({"kinds": kinds, "results": [result._asdict() for result in results]}))


if __name__ == "__main__":
    main()
