"""Files that appear whole or not at all: write to a temporary name in the same folder, fsync, rename."""

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


def cannot_write(path: Path | str, error: OSError) -> MedlangevinError:
    """One line for a file that cannot be written, with what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "make room, and run the same command again"
    else:
        advice = "choose a folder you can write to"
    return MedlangevinError(f"cannot write {path}: {error.strerror or error}; {advice}")


def foreign_files(folder: Path, ours: set[str]) -> set[str]:
    """The names in ``folder`` that are neither among ``ours`` nor half-written files; none where it does not exist."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names - ours if not name.startswith(PARTIAL)}


def require_folder(out: Path) -> None:
    """Raise MedlangevinError where ``out``, which is to become a folder if it is none yet, is a file."""
    if out.exists() and not out.is_dir():
        raise MedlangevinError(f"{out} is a file; choose a folder with --out")


def require_own_folder(out: Path, ours: set[str], command: str) -> None:
    """Raise MedlangevinError where ``out`` is a file, or holds anything but ``ours``, what ``command`` writes."""
    require_folder(out)
    foreign = sorted(foreign_files(out, ours))
    if foreign:
        raise MedlangevinError(
            f"{out} holds {foreign[0]}, which {command} did not write; choose an empty folder with --out"
        )


def sweep(folder: Path | str) -> None:
    """Remove what writers that were killed left unfinished in a folder. Only while nobody else writes there."""
    for unfinished in Path(folder).glob(f"{PARTIAL}*"):
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it to ``path``, else remove it.

    The temporary name ends like ``path`` does (``.nii.gz`` included), as many writers choose the format by the ending.
    Parent folders are made. Raises MedlangevinError when the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ending = path.name[path.name.find(".", 1) :] if "." in path.name[1:] else ""
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=ending)
    except OSError as error:
        raise cannot_write(path, error) from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give them the permissions an ordinary open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; on success it replaces ``path``, else it is removed.

    Replacing takes two renames; a process killed between them leaves the old folder aside: see ``recover_folder``.
    Raises MedlangevinError when the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{PARTIAL}{path.name}-new-"))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
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
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(path: Path | str) -> None:
    """Clean up after an ``atomic_folder(path)`` that was killed; nobody else may be writing ``path`` at the time.

    If it died between its two renames the former folder is put back; what it had written is removed.
    """
    path = Path(path)
    for retired in path.parent.glob(f"{PARTIAL}{path.name}-old-*"):
        if not path.exists() and (retired / path.name).is_dir():
            (retired / path.name).replace(path)
        shutil.rmtree(retired, ignore_errors=True)
    for unfinished in path.parent.glob(f"{PARTIAL}{path.name}-new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tsv(path: Path | str, rows: Iterable[Iterable[str]]) -> None:
    """Write a table of tab-separated values atomically, UTF-8, a line each of ``rows``."""
    write_text(path, "".join("\t".join(row) + "\n" for row in rows))


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given, NaN refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_bounded(path: Path | str, most_bytes: int) -> str:
    """Read a UTF-8 text file that a stranger may have written. Raises OSError, UnicodeDecodeError, and
    MedlangevinError when it is longer than ``most_bytes``, before more than that is in memory.
    """
    data = bytearray()
    with Path(path).open("rb") as stream:
        while part := stream.read(2**16):
            data += part
            if len(data) > most_bytes:
                raise MedlangevinError(f"{path} is longer than {most_bytes // 1024} KiB, which no file of this kind is")
    return data.decode("utf-8")


def read_json(path: Path | str) -> Any:
    """Read JSON. Raises MedlangevinError that names the file when it is absent, not JSON or larger than 100 MiB.

    Numbers that are none (NaN, Infinity, 1e999) and integers of more than 64 bits are not JSON here: nothing that reads
    a file need expect them.
    """
    path = Path(path)
    try:
        return json.loads(
            read_bounded(path, MOST_JSON_BYTES), parse_constant=_finite, parse_float=_finite, parse_int=_integer
        )
    except FileNotFoundError as error:
        raise MedlangevinError(f"{path} does not exist") from error
    except OSError as error:
        raise MedlangevinError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise MedlangevinError(f"{path} is not valid JSON ({error}); it may have been cut short or edited") from error


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
