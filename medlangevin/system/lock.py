"""Locks on an output folder, released by the system when their process ends, however it ends."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import cannot_write

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # Windows
    HAS_LOCKS = False


class BusyError(MedlangevinError):
    """Another process holds the lock."""


@contextmanager
def locked(file: Path, *, shared: bool, busy: str | None) -> Iterator[bool]:
    """Hold a lock on a file.

    Args:
        file: Made with its folder where it is absent.
        shared: Together with others that are content with that; else alone.
        busy: The message of the error while another process holds it; None: wait until it is free.

    Yields:
        Whether the lock is real: Windows and some network file systems have none, and then nothing is kept out.

    Raises:
        BusyError: Another process holds it.
        MedlangevinError: The file cannot be made.
    """
    try:
        descriptor, real = _take(file, shared, wait=busy is None)
    except BlockingIOError as error:
        raise BusyError(busy) from error
    except OSError as error:
        raise cannot_write(file.parent, error) from error
    try:
        yield real
    finally:
        os.close(descriptor)


def _take(file: Path, shared: bool, *, wait: bool) -> tuple[int, bool]:
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the holder before has just removed the folder
        if not HAS_LOCKS:
            return descriptor, False
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            # The holder before may have removed the file while we waited for it: then we hold a lock on nothing.
            if _same_file(descriptor, file):
                return descriptor, True
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
