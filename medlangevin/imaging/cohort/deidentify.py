"""Pseudonyms: a keyed hash (HMAC-SHA-256) of what tells persons and series apart. The key stays with the user."""

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import PARTIAL

KEY_BYTES = 32


def default_key_file(out: Path) -> Path:
    """Where the key of an output folder lies: beside the folder, so that the folder can be passed on without the key.

    Args:
        out: The output folder.

    Returns:
        ``OUT.key``.
    """
    return out.absolute().with_name(out.absolute().name + ".key")


def load_key(path: Path) -> bytes | None:
    """Read a key.

    Args:
        path: The key file: 64 hexadecimal digits.

    Returns:
        The 32 bytes; None when there is no such file.

    Raises:
        MedlangevinError: The file does not hold a key, or cannot be read.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MedlangevinError(
            f"key file {path} cannot be read as hexadecimal text; give another with --key"
        ) from error
    if len(key) != KEY_BYTES:
        raise MedlangevinError(f"key file {path} needs {2 * KEY_BYTES} hexadecimal digits; give another with --key")
    return key


def create_key(path: Path) -> bytes:
    """Make a new random key of mode 600, unless the file exists by now.

    Many processes may do so at once: the file appears whole, the first one stays, and all read that one.

    Args:
        path: The key file.

    Returns:
        The 32 bytes in the file.

    Raises:
        MedlangevinError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made private from the start.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
            stream.flush()
            os.fsync(descriptor)
        try:
            _claim(Path(name), path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise MedlangevinError(f"cannot write key file {path} ({error.strerror}); give another with --key") from error
    key = load_key(path)
    if key is None:
        raise MedlangevinError(f"key file {path} was removed as it was made; run the same command again")
    return key


def _claim(new: Path, path: Path) -> None:
    """Give ``new`` the name ``path``, unless there is such a file: in one step, so that no other sees half a key."""
    try:
        os.link(new, path)
    except FileExistsError:
        return
    except OSError:
        # A file system without hard links; it has no array jobs either.
        if not path.exists():
            new.rename(path)


def keyed_hash(key: bytes, kind: str, value: str, *, digits: int) -> str:
    """Hash a value so that only the holder of the key can link the hash to it (HMAC-SHA-256).

    Args:
        key: The key.
        kind: Keeps the uses apart: one value has another hash for each kind.
        value: What is hashed.
        digits: Length of the hash.

    Returns:
        That many hexadecimal digits.
    """
    return hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()[:digits]


def pseudonym(key: bytes, person: str) -> str:
    """The name of a person in all outputs.

    Args:
        key: The key of the pseudonyms.
        person: What tells persons apart in memory.

    Returns:
        10 hexadecimal digits.
    """
    return keyed_hash(key, "person", person, digits=10)


def series_hash(key: bytes, series_uid: str) -> str:
    """The name of a series in all outputs.

    Args:
        key: The key of the pseudonyms.
        series_uid: Its SeriesInstanceUID, or the name of a volume file.

    Returns:
        16 hexadecimal digits.
    """
    return keyed_hash(key, "series", series_uid, digits=16)
