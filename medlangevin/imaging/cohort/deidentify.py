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
    """Beside the output folder, not in it: the folder can be passed on without the key."""
    return out.absolute().with_name(out.absolute().name + ".key")


def load_key(path: Path) -> bytes | None:
    """The key in a file; None when there is no file. Raises MedlangevinError when it is not a key."""
    try:
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MedlangevinError(f"key file {path} is no readable hexadecimal text; give another with --key") from error
    if len(key) != KEY_BYTES:
        raise MedlangevinError(f"key file {path} needs {2 * KEY_BYTES} hexadecimal digits; give another with --key")
    return key


def create_key(path: Path) -> bytes:
    """The key in ``path``, a new random one of mode 600 unless there is one by now.

    Many processes may ask at once: the file appears whole, the first one stays, and all read that one. Raises
    MedlangevinError when it cannot be written.
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
    """``digits`` hexadecimal digits that only the holder of the key can link to ``value``. ``kind`` parts the uses."""
    return hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()[:digits]


def pseudonym(key: bytes, person: str) -> str:
    """The name of a person in all outputs."""
    return keyed_hash(key, "person", person, digits=10)


def series_hash(key: bytes, series_uid: str) -> str:
    """The name of a series in all outputs."""
    return keyed_hash(key, "series", series_uid, digits=16)
