import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medlangevin.imaging.cohort.deidentify import create_key, keyed_hash, load_key, pseudonym, series_hash
from medlangevin.system.errors import MedlangevinError


def test_key_is_made_once_private_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "out.key"
    key = create_key(file)
    assert len(key) == 32
    assert load_key(file) == key
    assert create_key(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["out.key"]


@pytest.mark.parametrize("links", [True, False])
def test_many_who_need_a_key_at_once_get_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", unsupported)
        keys = [create_key(tmp_path / "out.key") for _ in range(4)]
    else:
        with ThreadPoolExecutor(16) as pool:
            keys = list(pool.map(lambda _: create_key(tmp_path / "out.key"), range(64)))
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.key"]


def test_a_key_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MedlangevinError, match="cannot write key file") as caught:
        create_key(tmp_path / "file" / "out.key")
    assert "\n" not in str(caught.value)


def test_names_depend_on_key_and_kind() -> None:
    """Known answer: HMAC-SHA-256 of b"person\\0id:1" with 32 zero bytes, from Python's hmac on its own."""
    import hashlib
    import hmac

    expected = hmac.new(bytes(32), b"person\0id:1", hashlib.sha256).hexdigest()
    assert pseudonym(bytes(32), "id:1") == expected[:10]
    assert keyed_hash(bytes(32), "person", "id:1", digits=64) == expected
    assert series_hash(bytes(32), "id:1")[:10] != expected[:10]
    assert pseudonym(b"x" * 32, "id:1") != expected[:10]
