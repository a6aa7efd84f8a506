"""Pseudonyms: a keyed hash (HMAC-SHA-256) of what tells persons and series apart. The key stays with the user."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from medlangevin.errors import MedlangevinError

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
    """A new random key in a new file of mode 600. Raises MedlangevinError when it cannot be written."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Created private, and never over an existing key.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(key.hex() + "\n")
    except OSError as error:
        raise MedlangevinError(f"cannot write key file {path} ({error.strerror}); give another with --key") from error
    return key


def keyed_hash(key: bytes, kind: str, value: str, *, digits: int = 12) -> str:
    """``digits`` hexadecimal digits that only the holder of the key can link to ``value``. ``kind`` parts the uses."""
    return hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()[:digits]


def pseudonym(key: bytes, person: str) -> str:
    """The name of a person in all outputs."""
    return keyed_hash(key, "person", person, digits=10)


def series_hash(key: bytes, series_uid: str) -> str:
    """The name of a series in all outputs."""
    return keyed_hash(key, "series", series_uid, digits=16)
