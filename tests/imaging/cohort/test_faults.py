"""Killed runs, killed workers, full and read-only disks: afterwards the same command gives the same files."""

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from medlangevin.imaging.cohort import preprocess as pipeline
from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.status import Shard
from medlangevin.system.errors import MedlangevinError

PROGRAM = Path(__file__).with_name("stubbed_preprocess.py")
PEOPLE = 8


pytestmark = pytest.mark.usefixtures("stubbed_pipeline")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People of one volume file each, which nothing here opens."""
    raw = tmp_path_factory.mktemp("hospital")
    for number in range(PEOPLE):
        (raw / f"named_{number}.nii.gz").write_text("")
    return raw


@pytest.fixture
def whole(raw: Path, tmp_path: Path) -> Path:
    """The output of an undisturbed run with the key that ``tmp_path/out`` will have. A fixed one: fixed outcomes."""
    for name in ("whole.key", "out.key"):
        (tmp_path / name).write_text("5e" * 32)
    return preprocess(raw, tmp_path / "whole").out


@pytest.fixture
def out(tmp_path: Path, whole: Path) -> Path:
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_every_file_is_whole(out: Path, whole: Path) -> None:
    """Whatever is there is either of the undisturbed run, or of a run at work."""
    expected = contents(whole)
    for name, digest in contents(out).items():
        assert expected.get(name) == digest or name.startswith("parts/") or "/.partial-" in f"/{name}", name


def subjects(out: Path) -> list[str]:
    return list(json.loads((out / "status.json").read_text())["persons"])


def test_the_cohort_has_something_of_everything(whole: Path) -> None:
    persons = json.loads((whole / "status.json").read_text())["persons"]
    assert len(persons) == PEOPLE
    assert {len(person["ears"]) for person in persons.values()} == {0, 1, 2}


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_files(raw: Path, whole: Path, out: Path) -> None:
    """Each start gets a little further; ``benchmarks/stress/kill_and_rerun.py`` does this on real scans, 20 times."""
    moments = random.Random(0)
    for _ in range(2):
        run = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(raw), str(out)],
            env=os.environ | {"STUB_DELAY_S": "0.1"},
            stdout=subprocess.DEVNULL,
        )
        before = len(contents(out))
        while len(contents(out)) <= before:
            assert run.poll() is None
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        run.kill()
        run.wait()
        check_every_file_is_whole(out, whole)
        assert not (out / "status.json").exists()
    summary = preprocess(raw, out)
    assert 0 < summary.resumed < PEOPLE
    assert contents(out) == contents(whole)


def test_a_run_killed_between_any_two_steps_ends_with_the_same_files(
    raw: Path, whole: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename is a moment at which the folder changes; a kill is an exception that nothing handles."""

    class KilledError(BaseException):
        pass

    rename, steps = Path.replace, 0
    while True:
        left = steps

        def until_killed(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", until_killed)
            # The clean-up of a process that is killed does not happen either.
            patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
            try:
                preprocess(raw, out)
                break
            except KilledError:
                check_every_file_is_whole(out, whole)
        # From where the last one was killed, not from the start, and one step further.
        steps += 1
    preprocess(raw, out)
    assert contents(out) == contents(whole)


@pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "make room"), (errno.EROFS, "choose a folder")])
def test_a_disk_that_takes_no_more_is_one_line_and_nothing_is_half_written(
    raw: Path, whole: Path, out: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    flush = os.fsync
    for room in (0, 1, 7, 20, 30):
        left = room

        def full(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(number, os.strerror(number))
            flush(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(MedlangevinError, match=f"cannot write .*{os.strerror(number)}; {advice}") as caught:
                preprocess(raw, out)
        assert "\n" not in str(caught.value)
        check_every_file_is_whole(out, whole)
        assert not list(out.rglob(".partial-*"))
    preprocess(raw, out)
    assert contents(out) == contents(whole)


def test_a_folder_that_cannot_be_written_is_said_before_the_scans_are_read(
    raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(pipeline, "ingest", None)
    with pytest.raises(MedlangevinError, match="is read-only; choose a folder you can write to"):
        preprocess(raw, out)
    assert not out.exists()


def test_unfinished_files_of_killed_runs_are_removed_by_a_run_that_is_alone(raw: Path, whole: Path, out: Path) -> None:
    preprocess(raw, out, shard=Shard(1, 2))
    left = [out / ".partial-1", out / "crops" / ".partial-2.nii.gz", out / "qc" / ".partial-3.png"]
    for file in left:
        file.parent.mkdir(exist_ok=True)
        file.write_text("half")
    preprocess(raw, out, shard=Shard(2, 2))
    assert all(file.exists() for file in left)
    preprocess(raw, out)
    assert contents(out) == contents(whole)


def test_ears_that_are_no_more_are_removed_and_other_people_are_left_alone(raw: Path, whole: Path, out: Path) -> None:
    preprocess(raw, out)
    status = json.loads((out / "status.json").read_text())
    one_ear = next(name for name, person in status["persons"].items() if len(person["ears"]) == 1)
    absent = next(side for side in "LR" if side not in [e["side"] for e in status["persons"][one_ear]["ears"]])
    stale = [out / f"crops/{ear_name(one_ear, absent)}{ending}" for ending in (".json", ".nii.gz")]
    stale += [out / f"qc/{ear_name(one_ear, absent, failed=failed)}.png" for failed in (False, True)]
    other = out / "crops" / f"{ear_name('0123456789', 'L')}.nii.gz"
    for file in (*stale, other):
        file.write_text("of an earlier run")
    preprocess(raw, out)
    assert not any(file.exists() for file in stale)
    assert other.read_text() == "of an earlier run"
    other.unlink()
    assert contents(out) == contents(whole)


def in_processes(monkeypatch: pytest.MonkeyPatch, stubbed: ModuleType) -> None:
    """Let worker processes, which import everything anew, use the stand-in too."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    monkeypatch.setitem(sys.modules, "stubbed_preprocess", stubbed)
    monkeypatch.setattr(pipeline, "_process", stubbed.process)
    monkeypatch.setattr(pipeline, "_prepare", stubbed.prepare)


@pytest.mark.slow(seconds=15)
def test_a_scan_that_kills_its_process_or_hangs_is_a_recorded_failure_of_that_person(
    raw: Path, whole: Path, out: Path, monkeypatch: pytest.MonkeyPatch, stubbed: ModuleType
) -> None:
    in_processes(monkeypatch, stubbed)
    monkeypatch.setattr(pipeline, "PERSON_LIMIT_S", 5.0)
    killer, hanging = subjects(whole)[2:4]
    with monkeypatch.context() as patch:
        patch.setenv("STUB_KILL", killer)
        patch.setenv("STUB_HANG", hanging)
        summary = preprocess(raw, out, workers=1)
    assert {"killed twice" in problem.reason for problem in summary.failures} == {True, False}
    persons = json.loads((out / "status.json").read_text())["persons"]
    expected = json.loads((whole / "status.json").read_text())["persons"]
    assert [row["code"] for row in persons[killer]["failures"]] == ["killed"]
    assert [row["code"] for row in persons[hanging]["failures"]] == ["overdue"]
    for name in set(persons) - {killer, hanging}:
        assert persons[name] == expected[name]
    assert "\tkilled\t" in (out / "failures.tsv").read_text()
    # The memory may be there another time: the same command tries again.
    assert preprocess(raw, out).resumed == PEOPLE - 2
    # They are split after the others, who stay where they are: so not as in one run.
    after, undisturbed = contents(out), contents(whole)
    assert after.keys() == undisturbed.keys()
    assert {name for name in after if after[name] != undisturbed[name]} <= {"dataset.json", "participants.tsv"}
