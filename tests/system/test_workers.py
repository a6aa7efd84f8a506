import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.workers import run_all

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


def _die_at_the_first_try(path):
    if path.suffix == ".bad" and not path.exists():
        path.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def _die_if_bad(path):
    if path.suffix == ".bad":
        with path.open("a") as tries:
            tries.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def _loss(_, loss):
    return loss


def test_an_item_whose_process_was_killed_is_done_in_a_fresh_one_and_the_others_go_on(tmp_path):
    items = [tmp_path / name for name in ("a", "b.bad", "c", "d")]
    results = list(run_all(_die_at_the_first_try, items, workers=2))
    assert sorted(item for item, _ in results) == items
    # At the end, alone, as it may have been the one too many for the memory.
    assert results[-1][0] == items[1]
    assert results[-1][1] not in {pid for _, pid in results[:-1]}
    assert results[-1][1] != int(items[1].read_text())


def test_an_item_that_kills_its_process_twice_is_given_up_and_the_others_are_done(tmp_path):
    items = [tmp_path / name for name in ("a", "b.bad", "c", "d.bad", "e")]
    results = dict(run_all(_die_if_bad, items, workers=2, lost=_loss))
    assert results == {item: "killed" if item.suffix == ".bad" else "done" for item in items}
    assert [item.read_text() for item in items if item.suffix == ".bad"] == ["xx", "xx"]


def test_even_a_single_item_has_its_own_process_where_losses_are_taken(tmp_path):
    assert list(run_all(_die_if_bad, [tmp_path / "a.bad"], workers=1, lost=_loss)) == [(tmp_path / "a.bad", "killed")]
    assert [pid for _, pid in run_all(_process_id, [1], workers=0, lost=_loss)] == [os.getpid()]


def _sleep(seconds):
    time.sleep(seconds)
    return "done"


@pytest.mark.slow
def test_an_item_that_hangs_is_stopped_and_given_up():
    started = time.monotonic()
    assert dict(run_all(_sleep, [0.0, 600.0, 0.1], workers=2, lost=_loss, limit_s=1.0)) == {
        0.0: "done",
        600.0: "overdue",
        0.1: "done",
    }
    assert time.monotonic() - started < 60


class _AwkwardError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def _fail(number):
    if number == 1:
        raise MedlangevinError("the disk is full")
    if number == 2:
        raise _AwkwardError("a", "b")
    if number == 4:
        raise EOFError("a file ends early")
    return number


def test_an_error_in_a_worker_is_raised_here():
    with pytest.raises(MedlangevinError) as caught:
        list(run_all(_fail, [0, 1, 3], workers=2))
    assert str(caught.value) == "the disk is full"
    assert "in _fail" in caught.value.__notes__[0]
    # Not every error can travel; its text can.
    with pytest.raises(RuntimeError, match="a and b"):
        list(run_all(_fail, [0, 2, 3], workers=2))
    # One that a broken connection raises as well is still the function's.
    with pytest.raises(EOFError, match="a file ends early"):
        list(run_all(_fail, [0, 4, 3], workers=2))


def _fail_late(number):
    time.sleep(0.5 * number)
    raise MedlangevinError("the disk is full")


def test_errors_of_several_workers_are_one_error(capfd):
    with pytest.raises(MedlangevinError, match="the disk is full"):
        list(run_all(_fail_late, [0, 1], workers=2))
    assert capfd.readouterr().err == ""


def test_workers_that_cannot_start_end_the_run_in_one_line():
    with pytest.raises(MedlangevinError, match="killed as they start"):
        list(run_all(_process_id, range(3), workers=2, setup=_die, setup_args=(0,)))


def _note_down(path):
    path.write_text("started")
    time.sleep(0.5)
    path.write_text("finished")


@pytest.mark.slow
def test_closed_early_running_items_finish_and_no_more_start(tmp_path):
    items = [tmp_path / f"{number:02}" for number in range(20)]
    results = run_all(_note_down, items, workers=2)
    next(results)
    results.close()
    written = list(tmp_path.iterdir())
    assert 1 <= len(written) <= 4
    assert {path.read_text() for path in written} == {"finished"}
    assert multiprocessing.active_children() == []


PARENT = """
import worker
from medlangevin.system.workers import run_all
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
    (tmp_path / "parent.py").write_text(PARENT)
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
