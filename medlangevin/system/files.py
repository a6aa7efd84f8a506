"""Files that appear whole or not at all: write to a temporary name in the same folder, fsync, rename."""

import csv
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medlangevin.system.errors import MedlangevinError

# Begins the names of what is not written whole yet; nothing else has such names.
PARTIAL = ".partial-"
# Ten thousand ears make 30 MB of status.json; a file of brackets takes twenty times its length in memory.
MOST_JSON_BYTES = 100 * 1024**2
_WINDOWS = os.name == "nt"
# What comes of using a file's content as what it is not.
_DAMAGE = (AttributeError, LookupError, TypeError, ValueError, csv.Error)


def _numbers(names: str) -> frozenset[int]:
    """The error numbers of this system; not every system has them all."""
    return frozenset(getattr(errno, name) for name in names.split() if hasattr(errno, name))


FULL_DISK = _numbers("ENOSPC EDQUOT EFBIG")
# Faults of the user's disk rather than of the program: worth one line, not a traceback.
DISK_FAULTS = FULL_DISK | _numbers("EACCES EPERM EROFS EIO ESTALE ENAMETOOLONG ENOTDIR EISDIR ELOOP")


def cannot_write(path: Path | str, error: OSError) -> MedlangevinError:
    """One line for a file that cannot be written, with what to do about it.

    Args:
        path: The file or folder.
        error: What the system said.

    Returns:
        The error to raise.
    """
    full = error.errno in FULL_DISK
    advice = "make room, and run the same command again" if full else "choose a folder you can write to"
    return MedlangevinError(f"cannot write {path}: {error.strerror or error}; {advice}")


def foreign_files(folder: Path, ours: set[str]) -> set[str]:
    """The files in a folder that are not ours.

    Args:
        folder: The folder, which need not exist.
        ours: The names of our own files.

    Returns:
        All other names but those of half-written files; none where there is no folder.
    """
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names - ours if not name.startswith(PARTIAL)}


def require_folder(out: Path) -> None:
    """Refuse a place for output that is a file, or lies below one.

    Args:
        out: What is a folder already, or is to become one.

    Raises:
        MedlangevinError: It is a file, or lies below one; the error names the file.
    """
    for place in (out, *out.parents):
        if place.exists():
            if not place.is_dir():
                raise MedlangevinError(f"{place} is a file; choose a folder with --out")
            return


def make_folder(out: Path) -> None:
    """Make a folder for output, with those around it, where it is absent.

    Args:
        out: The folder.

    Raises:
        MedlangevinError: It cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise MedlangevinError(f"cannot make the folder {out} ({reason}); choose another --out") from error


def require_own_folder(out: Path, ours: set[str], command: str) -> None:
    """Refuse a place for output that holds somebody else's files.

    Args:
        out: What is a folder already, or is to become one.
        ours: The names that ``command`` writes.
        command: The command, for the message.

    Raises:
        MedlangevinError: It is a file, or holds anything but ``ours``.
    """
    require_folder(out)
    if foreign := sorted(foreign_files(out, ours)):
        what = f"{out} holds {foreign[0]}, which {command} did not write"
        raise MedlangevinError(f"{what}; choose an empty folder with --out")


def sweep(folder: Path | str) -> None:
    """Remove what writers that were killed left unfinished. Only while nobody else writes there.

    Args:
        folder: The folder; its subfolders are left alone.
    """
    for unfinished in Path(folder).glob(f"{PARTIAL}*"):
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    if _WINDOWS and path.is_dir():  # cannot be flushed there, nor can a file that is open to read alone
        return
    descriptor = os.open(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_ordinary(path: Path, mode: int) -> None:
    """``tempfile`` makes what is private; give it the permissions that an ordinary open() or mkdir() would have."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def atomic_path(path: Path | str, *, mode: int = 0o666) -> Iterator[Path]:
    """A file that appears whole or not at all: flushed to disk and renamed on success, else removed.

    Args:
        path: The file to write. Its parent folders are made.
        mode: Its permissions, less those that the umask takes.

    Yields:
        A temporary path beside it. It ends like ``path`` does (``.nii.gz`` included), as many writers choose the format
        by the ending.

    Raises:
        MedlangevinError: The folder cannot be written.
    """
    path = Path(path)
    ending = path.name[path.name.find(".", 1) :] if "." in path.name[1:] else ""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=ending)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            _make_ordinary(temporary, mode)
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """A folder that appears whole or not at all: on success it replaces ``path``, else it is removed.

    Replacing takes two renames; a process killed between them leaves the old folder aside: see ``recover_folder``.

    Args:
        path: The folder to write. Its parent folders are made.

    Yields:
        An empty temporary folder beside it.

    Raises:
        MedlangevinError: The folder cannot be written.
    """
    path = Path(path)
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{PARTIAL}{path.name}-new-"))
        try:
            yield temporary
            _make_ordinary(temporary, 0o777)
            for file in temporary.rglob("*"):
                if file.is_file():
                    _fsync(file)
            if path.exists():
                retired = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{PARTIAL}{path.name}-old-"))
                path.replace(retired / path.name)
                temporary.replace(path)
                shutil.rmtree(retired, ignore_errors=True)
            else:
                temporary.replace(path)
            _fsync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(path: Path | str) -> None:
    """Clean up after an ``atomic_folder`` that was killed; nobody else may be writing it at the time.

    If it died between its two renames the former folder is put back; what it had written is removed.

    Args:
        path: What was to be written.
    """
    path = Path(path)
    for retired in path.parent.glob(f"{PARTIAL}{path.name}-old-*"):
        if not path.exists() and (retired / path.name).is_dir():
            (retired / path.name).replace(path)
        shutil.rmtree(retired, ignore_errors=True)
    for unfinished in path.parent.glob(f"{PARTIAL}{path.name}-new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: Path | str, text: str, *, mode: int = 0o666) -> None:
    """Write a text file atomically, UTF-8.

    Args:
        path: The file.
        text: All of it.
        mode: Its permissions, less those that the umask takes.

    Raises:
        MedlangevinError: The file cannot be written.
    """
    with atomic_path(path, mode=mode) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tsv(path: Path | str, rows: Iterable[Iterable[str]], *, mode: int = 0o666) -> None:
    """Write a table of tab-separated values atomically, UTF-8.

    Args:
        path: The file.
        rows: A line each.
        mode: Its permissions, less those that the umask takes.

    Raises:
        MedlangevinError: The file cannot be written.
    """
    write_text(path, "".join("\t".join(row) + "\n" for row in rows), mode=mode)


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given.

    Args:
        path: The file.
        value: What JSON can hold.

    Raises:
        MedlangevinError: The file cannot be written.
        ValueError: ``value`` holds NaN or infinity.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_bounded(path: Path | str, most_bytes: int) -> str:
    """Read a UTF-8 text file that somebody else may have written.

    Args:
        path: The file.
        most_bytes: More than that is never in memory.

    Returns:
        Its text.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is not UTF-8.
        MedlangevinError: It is longer than ``most_bytes``.
    """
    data = bytearray()
    with Path(path).open("rb") as stream:
        while part := stream.read(2**16):
            data += part
            if len(data) > most_bytes:
                raise MedlangevinError(f"{path} is longer than {most_bytes // 1024} KiB, which no file of this kind is")
    return data.decode("utf-8")


def read_json(path: Path | str) -> Any:
    """Read JSON.

    NaN, Infinity, 1e999 and integers of more than 64 bits are not JSON here, so that no reader need expect them.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        MedlangevinError: It is absent, not JSON or larger than 100 MiB; the message names the file.
    """
    path = Path(path)
    try:
        text = read_bounded(path, MOST_JSON_BYTES)
        return json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_integer)
    except FileNotFoundError as error:
        raise MedlangevinError(f"{path} does not exist") from error
    except OSError as error:
        raise MedlangevinError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise MedlangevinError(f"{path} is not valid JSON ({error}); it may have been cut short or edited") from error


@contextmanager
def reading(path: Path | str, advice: str) -> Iterator[None]:
    """Take a file that is not what its command wrote for damaged.

    Args:
        path: The file that the block reads or uses.
        advice: What to do about it.

    Yields:
        Nothing.

    Raises:
        MedlangevinError: What the file holds made the block fail.
    """
    try:
        yield
    except _DAMAGE as error:
        raise MedlangevinError(f"{path} is damaged; {advice}") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 20 else 2**63
    if abs(value) >= 2**63:
        raise ValueError(f"{text[:20]}... has more than 64 bits")
    return value
