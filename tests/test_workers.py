import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medlangevin.errors import MedlangevinError
from medlangevin.workers import run_all

_offset = 0


def _set_offset(value):
    global _offset
    _offset = value


def _shifted_square(number):
    return number**2 + _offset


def _process_id(_):
    return os.getpid()


def _die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_with_its_result(workers):
    results = dict(run_all(_shifted_square, range(5), workers=workers, setup=_set_offset, setup_args=(10,)))
    assert results == {number: number**2 + 10 for number in range(5)}


def test_one_worker_is_this_process_and_two_are_others():
    assert {pid for _, pid in run_all(_process_id, range(3), workers=1)} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in run_all(_process_id, range(3), workers=2)}


def test_no_items_start_nothing():
    assert list(run_all(_die, [], workers=4, setup=_die, setup_args=(0,))) == []


def test_a_killed_worker_is_one_line_that_says_what_to_do():
    with pytest.raises(MedlangevinError, match="a worker process was killed") as caught:
        list(run_all(_die, range(2), workers=2))
    assert "\n" not in str(caught.value)


PARENT = """
import os, time
from medlangevin.workers import run_all
if __name__ == "__main__":
    for _, pid in run_all(worker.nap, range(2), workers=2):
        pass
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "worker.py").write_text(
        "import os, pathlib, time\n"
        "def nap(number):\n"
        "    pathlib.Path(f'{number}.pid').write_text(str(os.getpid()))\n"
        "    time.sleep(120)\n"
    )
    (tmp_path / "parent.py").write_text(PARENT.replace("import os, time", "import worker"))
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path)
    files = [tmp_path / "0.pid", tmp_path / "1.pid"]
    _wait_until(lambda: all(file.is_file() and file.read_text() for file in files))
    workers = [int(file.read_text()) for file in files]
    parent.kill()
    parent.wait()
    _wait_until(lambda: not any(_runs(pid) for pid in workers))


def _wait_until(condition, limit_s=60):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _runs(pid):
    # A process that ended but was not yet collected by init ("Z") no longer runs.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
