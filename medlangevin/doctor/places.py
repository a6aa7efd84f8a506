"""Where commands read and write: the working folder, the temporary one, the data, and how much room there is."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from medlangevin.config import DataConfig
from medlangevin.datasets.images.load import VARIABLE, data_root
from medlangevin.doctor.finding import Finding

# A run of crops with its checkpoints and samples takes 0.2 GB, a hundred crops 0.05 GB, the demo 1 GB.
LEAST_GB, ENOUGH_GB = 1, 10
# Below this a large scan and its filtered copies, or a training of crops, may not fit.
LEAST_MEMORY_GB = 4
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def places(folder: Path) -> Iterator[Finding]:
    """Examine the folders where commands read and write, and the memory.

    Args:
        folder: The working folder; what is below it is examined too.

    Yields:
        A finding each for folders, the temporary folder, data roots and memory.
    """
    yield writable(folder, "the working folder", "go to another folder, or give --out")
    for name in ("runs", "data"):
        if (folder / name).exists():
            yield writable(folder / name, f"{name}/", "give --out, or output_dir in the config, another place")
    yield writable(Path(tempfile.gettempdir()), "the temporary folder", "set TMPDIR to another one")
    yield _crops(folder / DataConfig().root)
    yield _images(folder)
    yield _memory()


def writable(folder: Path, name: str, otherwise: str) -> Finding:
    """Whether a file can be made in a folder, and how much more fits.

    Args:
        folder: The folder.
        name: How it is told to the user.
        otherwise: What to do where it cannot be written.

    Returns:
        The finding.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
        free_gb = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        return Finding("fail", f"{name} {folder} cannot be written ({error.strerror or error})", otherwise)
    what = f"{name} {folder} can be written, {free_gb:.1f} GB free"
    if free_gb < LEAST_GB:
        return Finding("fail", what, f"make room: at least {LEAST_GB} GB, {ENOUGH_GB} GB for a cohort")
    return Finding("ok", what) if free_gb >= ENOUGH_GB else Finding("warn", what, "make room before a large cohort")


def _crops(root: Path) -> Finding:
    if (root / "dataset.json").is_file():
        return Finding("ok", f"crops: {root}")
    return Finding("ok", f"no crops in {root} yet: medlangevin preprocess --raw FOLDER makes them")


def _images(folder: Path) -> Finding:
    root, given = folder / data_root(), os.environ.get(VARIABLE)
    source = f"{VARIABLE}={given}" if given else f"{VARIABLE} is not set"
    if root.is_dir():
        return Finding("ok", f"benchmark images: {root} ({source})")
    what = f"no benchmark images in {root} ({source}); only benchmark needs them"
    return Finding("warn" if given else "ok", what, f"correct {VARIABLE}" if given else "")


def _memory() -> Finding:
    if not hasattr(os, "sysconf"):  # Windows
        return Finding("ok", "memory: not known on this system")
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    total_gb = min([installed, *filter(None, map(_limit, _LIMITS))]) / 1e9
    what = f"memory: {total_gb:.0f} GB for this process"
    if total_gb < LEAST_MEMORY_GB:
        return Finding("warn", what, "preprocess with --workers 1, and train with a small data.cache_mb")
    return Finding("ok", what)


def _limit(file: Path) -> int | None:
    """The limit that a container or a batch job sets, if it does."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
