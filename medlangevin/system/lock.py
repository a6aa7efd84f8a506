"""Locks on an output folder, released by the system when their process ends, however it ends."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medlangevin.system.errors import MedlangevinError

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # Windows
    HAS_LOCKS = False


@contextmanager
def locked(file: Path, *, shared: bool, busy: str) -> Iterator[bool]:
    """Hold a lock on ``file``, made with its folder; alone, or ``shared`` with others who ask for no more.

    Yields whether the lock is real: some network file systems know none, and then nothing is kept out. Raises
    MedlangevinError with the text ``busy`` when another process holds it, or when the file cannot be made.
    """
    try:
        descriptor, real = _take(file, shared)
    except BlockingIOError as error:
        raise MedlangevinError(busy) from error
    except OSError as error:
        raise MedlangevinError(
            f"cannot write {file.parent}: {error.strerror or error}; choose a folder you can write to"
        ) from error
    try:
        yield real
    finally:
        os.close(descriptor)


def _take(file: Path, shared: bool) -> tuple[int, bool]:
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the holder before has just removed the folder
        if not HAS_LOCKS:
            return descriptor, False
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            # The holder before may have removed the file while we waited for it: then we hold a lock on nothing.
            if _same_file(descriptor, file):
                return descriptor, True
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL):
                return descriptor, False
            os.close(descriptor)
            raise
        os.close(descriptor)


def _same_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
