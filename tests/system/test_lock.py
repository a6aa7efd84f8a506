"""One writer, or many who share."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from medlangevin.system import lock
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.lock import BusyError, locked

pytestmark = pytest.mark.skipif(not lock.HAS_LOCKS, reason="no file locks on this system")

HOLD = """
import sys
from pathlib import Path
from medlangevin.system.lock import locked
with locked(Path(sys.argv[1]), shared=sys.argv[2] == "shared", busy="busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """``hold("shared")`` or ``hold("alone")``: another process that holds the lock of tmp_path/lock."""
    processes = []

    def start(how):
        argv = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), how]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def taken(file: Path, *, shared: bool) -> bool:
    try:
        with locked(file, shared=shared, busy="somebody else is writing") as real:
            return real
    except BusyError as error:
        return str(error) != "somebody else is writing"


def test_one_alone_or_many_who_share(hold, tmp_path):
    other = hold("alone")
    assert not taken(tmp_path / "lock", shared=False)
    assert not taken(tmp_path / "lock", shared=True)
    other.kill()
    other.wait()
    assert taken(tmp_path / "lock", shared=False)
    hold("shared")
    assert taken(tmp_path / "lock", shared=True)
    assert not taken(tmp_path / "lock", shared=False)


def test_a_file_removed_by_its_holder_is_made_anew(tmp_path, monkeypatch):
    file = tmp_path / "lock"
    seen: list[bool] = []
    real_check = lock._same_file

    def removed_meanwhile(descriptor, path):
        if not seen:
            path.unlink()
        seen.append(real_check(descriptor, path))
        return seen[-1]

    monkeypatch.setattr(lock, "_same_file", removed_meanwhile)
    with locked(file, shared=False, busy="busy"):
        assert seen == [False, True]
        assert file.is_file()


def test_a_file_system_without_locks_keeps_nobody_out_and_says_so(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with locked(tmp_path / "lock", shared=False, busy="busy") as real:
        assert not real


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MedlangevinError, match="cannot write"), locked(tmp_path / "file" / "l", shared=True, busy=""):
        pass


def test_without_a_message_the_holder_is_waited_for(hold, tmp_path):
    other, got = hold("alone"), threading.Event()

    def wait():
        with locked(tmp_path / "lock", shared=False, busy=None) as real:
            assert real
            got.set()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert not got.wait(0.5)
    other.kill()
    assert got.wait(60)
    waiting.join()
