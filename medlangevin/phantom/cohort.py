"""A cohort of phantom ears on disk: DICOM studies, as from a hospital, and the truth about each."""

from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from medlangevin.phantom.dicom import write_study
from medlangevin.phantom.ear import PhantomEar, draw_ear, truth
from medlangevin.phantom.scan import acquire
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_folder, cannot_write, read_json, recover_folder, require_folder, write_json
from medlangevin.system.progress import progress
from medlangevin.system.workers import run_all


def write_ear(out: Path, ear: PhantomEar) -> Path:
    """Scan one ear, write its study and then its truth.

    Args:
        out: Folder of the cohort.
        ear: The ear.

    Returns:
        The study's folder.
    """
    rng = np.random.default_rng([*ear.rng_key, 1])  # apart from the ear's own, so that drawing and scanning are too
    hu = acquire(ear.anatomy, ear.to_lps, ear.geometry, ear.acquisition, rng)
    target = out / ear.study_folder
    recover_folder(target)
    with atomic_folder(target) as folder:
        write_study(
            folder,
            hu,
            ear.geometry,
            patient=ear.patient,
            side=ear.side,
            study_uid=ear.study_uid,
            series_uid=ear.series_uid,
            variant=ear.variant,
            rng=rng,
        )
    # The truth is written last: an ear that has one is whole.
    write_json(_truth_path(out, ear.rng_key[1]), truth(ear))
    return target


def _truth_path(out: Path, index: int) -> Path:
    return out / "truth" / f"ear{index + 1:04d}.json"


def _draw_and_write(out: Path, seed: int, index: int) -> Path:
    return write_ear(out, draw_ear(seed, index))


def _check(out: Path, ears: int, seed: int, workers: int) -> None:
    for wrong, text in (
        (ears < 1, f"--ears {ears}: expected at least 1 ear"),
        (ears > 9999, f"--ears {ears}: expected at most 9999 ears"),
        (seed < 0, f"--seed {seed}: expected 0 or more"),
        (workers < 1, f"--workers {workers}: expected at least 1 process"),
    ):
        if wrong:
            raise MedlangevinError(text)
    require_folder(out)


def _finished(out: Path, ears: int, seed: int) -> dict[int, Path]:
    # Ears that an earlier, interrupted run of the same seed has written; another seed's are not to be mixed in.
    finished = {}
    for index in range(ears):
        path = _truth_path(out, index)
        if not path.exists():
            continue
        known = read_json(path)
        if not isinstance(known, dict) or known.get("rng_key") != [seed, index] or "study_folder" not in known:
            raise MedlangevinError(f"{path} is of another cohort (seed {seed} was asked for); choose an empty folder")
        folder = out / str(known["study_folder"])
        if folder.is_dir():
            finished[index] = folder
    return finished


def write_cohort(out: Path, *, ears: int, seed: int, workers: int = 1) -> list[Path]:
    """Write a cohort, one ear a person: DICOM studies to ``out``/dicom, the truth to ``out``/truth/SCAN.json.

    Ear n depends on ``seed`` and n alone; even ones are right ears, odd ones left (from 0). Ears already there from the
    same seed are kept, so an interrupted run goes on.

    Args:
        out: Folder of the cohort.
        ears: How many, from 1 to 9999.
        seed: 0 or more.
        workers: Number of processes.

    Returns:
        The study folders in order.

    Raises:
        MedlangevinError: A count, the seed or the number of processes is out of range, or ``out`` is a file, cannot be
            written or holds another cohort.
    """
    out = Path(out)
    _check(out, ears, seed, workers)
    folders = _finished(out, ears, seed)
    missing = [index for index in range(ears) if index not in folders]
    try:  # before the first ear is computed
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    work, one_thread = partial(_draw_and_write, out, seed), sitk.ProcessObject.SetGlobalDefaultNumberOfThreads
    writing = closing(run_all(work, missing, workers=workers, setup=one_thread, setup_args=(1,)))
    with progress(ears, "ear", done=len(folders)) as track, writing as written:
        for index, folder in written:
            folders[index] = folder
            track.advance(len(folders), folder.name)
    return [folders[index] for index in range(ears)]
