"""Shares of a cohort, written at the same time, merged to what one run writes."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from medlangevin.cli.main import main
from medlangevin.imaging.cohort import preprocess as pipeline
from medlangevin.imaging.cohort.merge import merge
from medlangevin.imaging.cohort.person import Outcome, Person
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.splits import split_by_person
from medlangevin.imaging.cohort.status import Shard, parse_shard, shard_of
from medlangevin.imaging.cohort.summary import describe
from medlangevin.imaging.reading.ingest import PassedOver
from medlangevin.imaging.reading.rejection import CLOSED_FOLDER
from medlangevin.system.errors import MedlangevinError

PROGRAM = Path(__file__).with_name("stubbed_preprocess.py")
PEOPLE = 24


pytestmark = pytest.mark.usefixtures("stubbed_pipeline")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, write_slice: Callable[..., Path]) -> Path:
    """People of one volume file each, which nothing here opens, and a CT series without positions."""
    raw = tmp_path_factory.mktemp("hospital")
    for number in range(PEOPLE):
        (raw / f"named_{number}.nii.gz").write_text("")
    write_slice(raw / "flat" / "1", np.full((8, 8), 7, np.int16), (0, 0, 0), ImagePositionPatient=None)
    return raw


@pytest.fixture
def whole(raw: Path, tmp_path: Path) -> Path:
    """The output of one run, and its key."""
    summary = preprocess(raw, tmp_path / "whole")
    return summary.out


def key_for(whole: Path, out: Path) -> None:
    out.with_name(out.name + ".key").write_bytes(whole.with_name("whole.key").read_bytes())


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_share_is_given_as_its_number_and_how_many_there_are() -> None:
    assert parse_shard("3/20") == Shard(3, 20)
    assert parse_shard(" 1 / 1 ") == Shard(1, 1)
    for text in ("0/20", "21/20", "3", "3/", "/3", "3/20/5", "-1/4", "a/b", "3.0/20", ""):
        with pytest.raises(MedlangevinError, match="is not K/N; give its number"):
            parse_shard(text)


def test_everybody_is_in_one_share_whoever_else_is_there_and_whatever_the_split() -> None:
    people = [f"{number:010x}" for number in range(4000)]
    shares = [shard_of(name, 20).number for name in people]
    counts = np.bincount(shares, minlength=21)[1:]
    assert len(counts) == 20
    # Binomial standard deviation of 4000 / 20: 13.8; one of 20 shares beyond 5 of them by chance once in 90,000 tests.
    assert np.abs(counts - 200).max() < 69
    # Known answers: they stay what they are, or half-done cohorts would be shared out anew.
    assert shares[:6] == [7, 15, 17, 7, 14, 12]
    splits = split_by_person(people)
    tested = np.array([splits[name] == "test" for name in people])
    # No share is richer in test people than chance allows: binomial standard deviation of 200 x 0.15: 5.
    assert np.abs(np.bincount(np.array(shares)[tested], minlength=21)[1:] - 30).max() < 26


@pytest.mark.slow(seconds=1)
@pytest.mark.parametrize("count", [1, 3, 40])
def test_merged_shares_are_byte_for_byte_one_run(raw: Path, whole: Path, tmp_path: Path, count: int) -> None:
    out = tmp_path / "out"
    key_for(whole, out)
    ears = [preprocess(raw, out, shard=Shard(number, count)).ears for number in range(count, 0, -1)]
    assert not (out / "status.json").exists()
    assert not (out / "dataset.json").exists()
    summary = merge(out)
    assert contents(out) == contents(whole)
    assert sorted(map(str, summary.ears)) == sorted(str(ear) for some in ears for ear in some)
    assert [problem.folder for problem in summary.failures if "position" in problem.reason] == [None]
    # Merged again, and run again without shares: nothing changes and nothing is done again.
    merge(out)
    assert preprocess(raw, out).resumed == PEOPLE
    assert contents(out) == contents(whole)


def test_missing_shares_are_named_and_nothing_is_written(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (2, 4):
        preprocess(raw, out, shard=Shard(number, 4))
    before = contents(out)
    with pytest.raises(MedlangevinError, match=rf"of {PEOPLE} persons in .* are not done; run --shard 1/4, 3/4 "):
        merge(out)
    assert contents(out) == before
    # A crop that was lost since is missing as well.
    for number in (1, 3):
        preprocess(raw, out, shard=Shard(number, 4))
    next((out / "crops").glob("*.nii.gz")).unlink()
    with pytest.raises(MedlangevinError, match=rf"1 of {PEOPLE} persons"):
        merge(out)


def test_changed_scans_are_done_again_by_their_share_only(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubbed: ModuleType
) -> None:
    out = tmp_path / "out"
    shares = [Shard(1, 2), Shard(2, 2)]
    subjects = {share: {person["subject"] for person in preprocess(people, out, shard=share).ears} for share in shares}
    merge(out)
    (people / "named_0.nii.gz").write_text("changed")
    worked = []

    def watched(person: Person, *rest: Any) -> Outcome:
        worked.append(person.subject)
        return stubbed.stub_person(person, *rest)

    monkeypatch.setattr(pipeline, "process_person", watched)
    preprocess(people, out, shard=shares[0])
    preprocess(people, out, shard=shares[1])
    assert len(worked) == 1
    (share,) = (share for share in shares if shard_of(worked[0], 2) == share)
    assert worked[0] in subjects[share] or worked[0] not in set().union(*subjects.values())
    merge(out)
    assert preprocess(people, out).resumed == 6


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Folder of six people's scans."""
    (tmp_path / "raw").mkdir()
    for number in range(6):
        (tmp_path / "raw" / f"named_{number}.nii.gz").write_text("")
    return tmp_path / "raw"


def subjects_in(out: Path) -> set[str]:
    return {path.name[4:14] for folder in ("crops", "qc") for path in (out / folder).glob("sub-*")}


def test_files_of_people_who_are_gone_are_removed_and_nothing_else(people: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = preprocess(people, out)
    assert len(subjects_in(out)) == 6
    assert (before.removed, "removed" in describe(before)) == (0, False)
    others = [out / "notes.txt", out / "crops" / "mine.nii.gz", out / "qc" / "sub-0123456789_side-L_ct.png"]
    for file in others:
        file.write_text("mine")
    for number in (1, 4):
        (people / f"named_{number}.nii.gz").unlink()
    summary = preprocess(people, out)
    assert summary.removed == 2
    assert "removed  the files of 2 people who are no longer among the scans" in describe(summary)
    assert all(file.read_text() == "mine" for file in others)
    assert subjects_in(out) - {"0123456789"} == set(json.loads((out / "status.json").read_text())["persons"])
    for file in others:
        file.unlink()
    (tmp_path / "fresh.key").write_bytes((tmp_path / "out.key").read_bytes())
    fresh = contents(preprocess(people, tmp_path / "fresh").out)
    # The others keep their splits, which a new folder would choose anew.
    assert {name for name in fresh if fresh[name] != contents(out)[name]} <= {"dataset.json", "participants.tsv"}
    assert contents(out).keys() == fresh.keys()
    assert preprocess(people, out).removed == 0


def test_another_folder_of_scans_removes_nobody(people: Path, tmp_path: Path) -> None:
    """Of six people four are missing: refused before anything is written; with three missing it goes on."""
    out = tmp_path / "out"
    preprocess(people, out)
    before = contents(out)
    scans = sorted(people.iterdir())
    for scan in scans[:4]:
        scan.unlink()
    for shard in (None, Shard(1, 2)):
        with pytest.raises(MedlangevinError, match=r"holds 6 people, and 4 of them are not among the scans in .*--out"):
            preprocess(people, out, shard=shard)
    assert contents(out) == before
    scans[0].write_text("")
    assert preprocess(people, out).removed == 3


def test_shares_remove_nobody_and_the_merge_does(people: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(people, out)
    (people / "named_3.nii.gz").unlink()
    before = contents(out)
    for number in (1, 2):
        assert preprocess(people, out, shard=Shard(number, 2)).removed == 0
        assert before.items() <= contents(out).items()
    summary = merge(out)
    assert summary.removed == 1
    assert len(subjects_in(out)) == 5


def test_nobody_is_removed_while_a_folder_is_closed(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    preprocess(people, out)
    (people / "named_3.nii.gz").unlink()
    flat = PassedOver(people, CLOSED_FOLDER, 1)
    found = pipeline.ingest(people)
    monkeypatch.setattr(pipeline, "ingest", lambda *_, **__: replace(found, passed_over=(flat,)))
    assert preprocess(people, out).removed == 0
    assert len(subjects_in(out)) == 6


def test_a_record_that_names_no_pseudonym_removes_nothing(people: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(people, out)
    foreign = out / "crops" / "sub-else_side-L_ct.json"
    foreign.write_text("mine")
    saved = json.loads((out / "status.json").read_text())
    saved["persons"]["else"] = {"subject": "else", "inputs": ""}
    (out / "status.json").write_text(json.dumps(saved))
    assert preprocess(people, out).removed == 0
    assert foreign.read_text() == "mine"


@pytest.mark.slow
def test_a_share_without_people_is_no_fault(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    empty = 0
    for number in range(1, 41):
        empty += preprocess(raw, out, shard=Shard(number, 40)).persons == 0
    assert empty > 0
    assert merge(out).persons == PEOPLE


def start(raw: Path, out: Path, *more: str, **environment: str) -> subprocess.Popen:
    argv = [sys.executable, str(PROGRAM), str(raw), str(out), *more]
    return subprocess.Popen(argv, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_shares_at_the_same_time_agree_on_one_key(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = [start(raw, out, f"{number}/2") for number in (1, 2)]
    assert [(process.communicate(timeout=300)[1], process.returncode) for process in running] == [(b"", 0)] * 2
    merge(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.key", "out.key.tsv"]
    (tmp_path / "whole.key").write_bytes((tmp_path / "out.key").read_bytes())
    preprocess(raw, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_what_others_write_to_is_left_alone_with_one_line(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = start(raw, out, "1/2", STUB_DELAY_S="300")
    try:
        while not (out / "parts" / "plan.json").is_file():
            assert running.poll() is None
            time.sleep(0.05)
        unfinished = out / "crops" / ".partial-of-the-first"
        unfinished.parent.mkdir(exist_ok=True)
        unfinished.write_text("half")
        before = contents(out)
        for run in (lambda: preprocess(raw, out), lambda: merge(out)):
            with pytest.raises(MedlangevinError, match="another run is writing to") as caught:
                run()
            assert "\n" not in str(caught.value)
        assert contents(out) == before
        # The other share does its work beside it, and leaves alone what may be about to get its name.
        preprocess(raw, out, shard=Shard(2, 2))
        assert unfinished.exists()
    finally:
        running.kill()
        running.communicate()
    # Killed, it holds nothing back.
    preprocess(raw, out, shard=Shard(1, 2))
    assert merge(out).persons == PEOPLE
    assert not list(out.rglob(".partial-*"))


def test_a_lost_key_is_said_before_pseudonyms_change(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(raw, out, shard=Shard(1, 2))
    (tmp_path / "out.key").unlink()
    with pytest.raises(MedlangevinError, match="made with a key that is not at"):
        preprocess(raw, out, shard=Shard(2, 2))


def test_nothing_to_merge_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(MedlangevinError, match="holds nothing to merge"):
            merge(folder)
    assert list(tmp_path.iterdir()) == []


def test_no_identifying_string_reaches_the_parts(raw: Path, tmp_path: Path) -> None:
    preprocess(raw, tmp_path / "out", shard=Shard(1, 1))
    for path in (tmp_path / "out").rglob("*"):
        assert "named_" not in path.name
        assert not path.is_file() or b"named_" not in path.read_bytes()
        assert not path.is_file() or str(tmp_path).encode() not in path.read_bytes()


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["preprocess", *arguments])


def test_commands_of_an_array_job(raw: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    found = []
    for number in (1, 2):
        share = preprocess(raw, tmp_path / "out", shard=Shard(number, 2))  # the same in this process: stubbed
        found.append(len(share.ears))
        result = invoke("--raw", str(raw), "--out", out, "--shard", f"{number}/2")
        assert f"(shard {number}/2)" in result.output
        assert f"preprocess --merge --out {out}" in result.output
        assert "pictures" not in result.output
        assert result.exit_code == int(bool(share.failures))
    result = invoke("--merge", "--out", out)
    assert result.exit_code == 1
    assert f"cropped  {sum(found)} ears" in result.output
    ears = [json.loads(file.read_text()) for file in (tmp_path / "out" / "crops").glob("*.json")]
    ok, failed = sum(ear["verdict"] == "ok" for ear in ears), len(list((tmp_path / "out" / "qc").glob("*_failed.png")))
    assert f"verdict  {ok} ok, {len(ears) - ok} to review, {failed} failed" in result.output
    assert "the header lacks slice position" in result.output
    assert "failures.tsv" in result.stderr
    status = json.loads((tmp_path / "out" / "status.json").read_text())
    assert [row["code"] for row in status["failures"]] == ["no-geometry"]


def test_every_option_that_would_do_nothing_is_named(raw: Path, tmp_path: Path) -> None:
    unused = ["--workers", "2", "--registration", "correlation"]
    result = invoke("--merge", "--out", str(tmp_path / "out"), *unused)
    assert result.exit_code == 2
    assert "--merge makes no use of --workers, --registration" in result.stderr
    target = str(tmp_path / "mean.nii.gz")
    for option in ("--out", "--key", "--registration", "--series", "--shard"):
        value = "block" if option == "--registration" else str(tmp_path / "x")
        result = invoke("--raw", str(raw), "--build-reference", target, option, value)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert f"--build-reference makes no use of {option} " in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_options_that_contradict_each_other_are_one_line(raw: Path, tmp_path: Path) -> None:
    for arguments in (
        ["--merge", "--shard", "1/2"],
        ["--merge", "--series", "x"],
        ["--merge", "--workers", "2"],
        ["--merge", "--registration", "block"],
        ["--merge", "--raw", str(raw)],
        ["--merge", "--reference", "r.nii.gz"],
        ["--merge", "--key", "k"],
        ["--merge", "--build-reference", "m.nii.gz"],
        ["--raw", str(raw), "--series", ""],
        ["--raw", str(raw), "--series", " "],
        [],
        ["--raw", str(raw), "--shard", "5/2"],
        ["--raw", str(raw), "--build-reference", str(tmp_path / "m.nii.gz"), "--shard", "1/2"],
    ):
        result = invoke("--out", str(tmp_path / "out"), *arguments)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()
