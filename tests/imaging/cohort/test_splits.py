"""Exact shares of the people, nobody who moves, and the same files however the work was interrupted or shared out."""

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medlangevin.imaging.cohort import preprocess as pipeline
from medlangevin.imaging.cohort.dataset import write_index_files
from medlangevin.imaging.cohort.deidentify import pseudonym
from medlangevin.imaging.cohort.merge import merge
from medlangevin.imaging.cohort.person import Outcome, Person
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.splits import recorded_splits, split_by_person, split_counts
from medlangevin.imaging.cohort.status import Shard
from medlangevin.imaging.reading.ingest import PassedOver
from medlangevin.imaging.reading.rejection import CLOSED_FOLDER
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import PARTIAL

NAMES = ("training", "validation", "test")
# Training, validation and test of 1 to 60 people, by hand: 70, 15 and 15 % by largest remainders, and the least counts.
TABLE = """
 1-0-0  2-0-0  2-1-0  2-1-1  3-1-1  4-1-1  4-2-1  4-2-2  5-2-2  6-2-2
 6-3-2  6-3-3  7-3-3  8-3-3  9-3-3 10-3-3 11-3-3 12-3-3 13-3-3 14-3-3
15-3-3 16-3-3 16-4-3 17-4-3 17-4-4 18-4-4 19-4-4 20-4-4 20-5-4 21-5-4
22-5-4 22-5-5 23-5-5 24-5-5 25-5-5 25-6-5 26-6-5 26-6-6 27-6-6 28-6-6
29-6-6 30-6-6 30-7-6 31-7-6 31-7-7 32-7-7 33-7-7 34-7-7 34-8-7 35-8-7
36-8-7 36-8-8 37-8-8 38-8-8 39-8-8 39-9-8 40-9-8 40-9-9 41-9-9 42-9-9
"""
BY_HAND = re.findall(r"\d+-\d+-\d+", TABLE)


def people(count: int, start: int = 0) -> list[str]:
    return [hashlib.sha256(f"{number}".encode()).hexdigest()[:10] for number in range(start, start + count)]


def counts(splits: dict[str, str]) -> dict[str, int]:
    return {name: list(splits.values()).count(name) for name in NAMES}


@pytest.mark.parametrize("count", range(1, 61))
def test_counts_are_those_by_hand_whoever_the_people_are(count: int) -> None:
    expected = dict(zip(NAMES, map(int, BY_HAND[count - 1].split("-")), strict=True))
    assert split_counts(count) == expected
    for start in (0, 1000, 2000):
        assert counts(split_by_person(people(count, start))) == expected


def test_no_count_falls_when_people_are_added_and_every_share_is_met_within_one_person() -> None:
    before = split_counts(0)
    assert before == dict.fromkeys(NAMES, 0)
    for number in range(1, 3001):
        now = split_counts(number)
        assert sum(now.values()) == number
        assert all(now[name] >= before[name] for name in NAMES)
        assert number < 12 or min(now.values()) >= 3
        assert number < 20 or all(
            abs(now[name] - share * number) < 1 for name, share in zip(NAMES, (0.7, 0.15, 0.15), strict=True)
        )
        before = now


def test_three_keys_give_the_same_counts_and_other_people() -> None:
    """With a hash for each person, three keys gave 17, 15 and 19 of 28 people to training, and 1 to 9 to the test."""
    found = []
    for key in (b"a" * 32, b"b" * 32, b"c" * 32):
        names = {number: pseudonym(key, f"id:{number}") for number in range(28)}
        splits = split_by_person(names.values())
        assert counts(splits) == {"training": 20, "validation": 4, "test": 4}
        found.append(frozenset(number for number, name in names.items() if splits[name] == "test"))
    assert len(set(found)) == 3


@given(st.randoms(use_true_random=False), st.integers(0, 60))
def test_order_and_repetition_change_nothing(random: Any, count: int) -> None:
    names = people(count)
    shuffled = names + names[: count // 2]  # both ears of some
    random.shuffle(shuffled)
    assert split_by_person(shuffled) == split_by_person(names)


@given(st.lists(st.integers(0, 15), max_size=12), st.integers(0, 1000))
def test_nobody_moves_when_people_are_added_and_the_counts_stay_exact(additions: list[int], start: int) -> None:
    everybody: list[str] = []
    splits: dict[str, str] = {}
    for count in additions:
        everybody += people(count, start + len(everybody))
        before, splits = splits, split_by_person(everybody, splits)
        assert before.items() <= splits.items()
        assert counts(splits) == split_counts(len(everybody))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), max_size=12), st.randoms(use_true_random=False))
def test_nobody_moves_when_people_come_and_go_and_new_ones_go_where_people_lack(
    changes: list[tuple[int, int]], random: Any
) -> None:
    splits: dict[str, str] = {}
    seen = 0
    for added, gone in changes:
        stay = random.sample(sorted(splits), max(0, len(splits) - gone))
        new = people(added, seen)
        seen += added
        before, splits = {name: splits[name] for name in stay}, split_by_person(stay + new, splits)
        assert before.items() <= splits.items()
        assert splits.keys() == {*stay, *new}
        wanted, had, have = split_counts(len(splits)), counts(before), counts(splits)
        assert all(have[name] <= max(had[name], wanted[name]) for name in NAMES)


def test_new_people_go_to_the_split_that_is_furthest_below_its_count() -> None:
    names = people(24)
    # Of 24 people: 17, 4 and 4 less one. Test has 1 of 3, validation 2 of 4, training 13 of 17.
    recorded = dict(zip(names[:16], ["training"] * 13 + ["validation"] * 2 + ["test"], strict=True))
    new = sorted(names[16:])
    splits = split_by_person(names, recorded)
    # 1/3 < 2/4; then 2/3 < 13/17 but above 2/4; and so on.
    assert [splits[name] for name in new[:4]] == ["test", "validation", "test", "validation"]
    assert counts(splits) == {"training": 17, "validation": 4, "test": 3}
    # A split that has too many keeps them all and gets nobody.
    crowded = split_by_person(names, dict.fromkeys(names[:20], "test"))
    assert counts(crowded)["test"] == 20
    assert [crowded[name] for name in sorted(names[20:])] == ["training", "validation", "training", "training"]


# The files of an output folder.


def on_disk(out: Path) -> dict[str, str]:
    """The split of everybody in dataset.json, who has to be in one split alone and said the same everywhere."""
    listed = json.loads((out / "dataset.json").read_text())
    entries = [(name, entry) for name in NAMES for entry in listed[name]]
    assert all(entry["split"] == name for name, entry in entries)
    splits = {entry["subject"]: name for name, entry in entries}
    assert all(splits[entry["subject"]] == name for name, entry in entries)
    assert splits.items() <= {name: split for name, (_, split) in rows(out).items()}.items()
    return splits


def rows(out: Path) -> dict[str, tuple[str, str]]:
    """Sides and split of everybody in participants.tsv."""
    header, *lines = (line.split("\t") for line in (out / "participants.tsv").read_text().splitlines())
    assert header == ["participant_id", "sides", "split"]
    return {name.removeprefix("sub-"): (sides, split) for name, sides, split in lines}


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def scans(raw: Path, count: int) -> Path:
    """So many people of one volume file each, which nothing here opens."""
    raw.mkdir(exist_ok=True)
    for number in range(count):
        (raw / f"named_{number}.nii.gz").touch()
    return raw


@pytest.fixture
def first(tmp_path: Path, stubbed_pipeline: None) -> Path:
    """The output of 14 people, of whom some have no usable ear. A fixed key: fixed outcomes."""
    (tmp_path / "out.key").write_text("5e" * 32)
    return preprocess(scans(tmp_path / "raw", 14), tmp_path / "out").out


def test_both_ears_of_a_person_are_in_one_split_and_the_counts_are_of_people_with_an_ear(first: Path) -> None:
    splits = on_disk(first)
    assert counts(splits) == split_counts(len(splits))
    assert 10 < len(splits) < 14
    assert {sides for sides, _ in rows(first).values()} >= {"LR"}
    assert rows(first).keys() == splits.keys()


def test_people_who_are_added_or_taken_away_move_nobody(first: Path, tmp_path: Path) -> None:
    before = on_disk(first)
    preprocess(scans(tmp_path / "raw", 25), first)
    more = on_disk(first)
    assert before.items() < more.items()
    assert counts(more) == split_counts(len(more))
    for number in (0, 3, 8, 20):
        (tmp_path / "raw" / f"named_{number}.nii.gz").unlink()
    preprocess(tmp_path / "raw", first)
    fewer = on_disk(first)
    assert fewer.items() < more.items()
    assert rows(first).keys() == fewer.keys()  # nothing is left of who is gone
    again = contents(first)
    preprocess(tmp_path / "raw", first)
    assert contents(first) == again


def test_a_second_run_killed_between_any_two_steps_ends_with_the_same_files(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename is a moment at which the folder changes; a kill is an exception that nothing handles."""

    class KilledError(BaseException):
        pass

    shutil.copytree(first, tmp_path / "whole")
    shutil.copy(tmp_path / "out.key", tmp_path / "whole.key")
    raw = scans(tmp_path / "raw", 20)
    (raw / "named_2.nii.gz").unlink()
    preprocess(raw, tmp_path / "whole")
    rename, remove, steps = Path.replace, Path.unlink, 0
    while True:
        left = steps

        def until_killed(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return rename(self, target)

        def but_for_partial(self: Path, missing_ok: bool = False) -> None:
            # The clean-up of a process that is killed does not happen either.
            if not self.name.startswith(PARTIAL):
                remove(self, missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", until_killed)
            patch.setattr(Path, "unlink", but_for_partial)
            try:
                preprocess(raw, first)
                break
            except KilledError:
                steps += 1
    preprocess(raw, first)
    assert steps > 6
    assert contents(first) == contents(tmp_path / "whole")


def test_shares_of_a_second_run_are_merged_to_what_one_run_gives(first: Path, tmp_path: Path) -> None:
    shutil.copytree(first, tmp_path / "whole")
    shutil.copy(tmp_path / "out.key", tmp_path / "whole.key")
    raw = scans(tmp_path / "raw", 30)
    preprocess(raw, tmp_path / "whole")
    for number in (3, 1, 2):
        preprocess(raw, first, shard=Shard(number, 3))
    merge(first)
    assert contents(first) == contents(tmp_path / "whole")
    merge(first)
    assert contents(first) == contents(tmp_path / "whole")


def test_the_order_in_which_people_are_done_changes_no_file(first: Path, tmp_path: Path) -> None:
    persons = json.loads((first / "status.json").read_text())["persons"]
    outcomes = [Outcome(**record) for record in persons.values()]
    for place, order in (("a", outcomes), ("b", outcomes[::-1])):
        write_index_files(tmp_path / place, order, [], {})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (tmp_path / "a" / "dataset.json").read_bytes() == (first / "dataset.json").read_bytes()


def test_who_has_no_usable_ear_for_a_while_comes_back_to_the_same_split(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubbed: ModuleType
) -> None:
    before = on_disk(first)
    lost = next(name for name, split in before.items() if split == "test")
    failure = {"study": "s", "code": "no-ear", "reason": "no inner ear found", "what_to_do": "look"}

    def without(person: Person, *rest: Any) -> Outcome:
        if person.subject == lost:
            return Outcome(person.subject, person.inputs, failures=[failure])
        result: Outcome = stubbed.stub_person(person, *rest)
        return result

    def run(process: Callable[..., Outcome], count: int) -> dict[str, str]:
        for file in (first / "crops").glob(f"sub-{lost}_*"):
            file.unlink()
        monkeypatch.setattr(pipeline, "process_person", process)
        status = json.loads((first / "status.json").read_text())
        status["persons"][lost]["inputs"] = "others"
        (first / "status.json").write_text(json.dumps(status))
        preprocess(scans(tmp_path / "raw", count), first)
        return on_disk(first)

    # Twice, and with new people, as participants.tsv is written anew from itself.
    for count in (14, 18):
        splits = run(without, count)
        assert lost not in splits
        assert rows(first)[lost] == ("n/a", "test")
    back = run(stubbed.stub_person, 18)
    assert back[lost] == "test"
    assert before.items() <= back.items()


def test_people_in_a_folder_that_is_closed_for_a_while_keep_their_split(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = on_disk(first)
    hidden = [tmp_path / "raw" / f"named_{number}.nii.gz" for number in range(4)]
    for scan in hidden:
        scan.unlink()
    found = replace(pipeline.ingest(tmp_path / "raw"), passed_over=(PassedOver(tmp_path, CLOSED_FOLDER, 1),))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "ingest", lambda *_, **__: found)
        preprocess(tmp_path / "raw", first)
    assert on_disk(first) == before
    assert {name: split for name, (_, split) in rows(first).items()} == before
    preprocess(scans(tmp_path / "raw", 20), first)
    assert before.items() <= on_disk(first).items()


def test_what_was_edited_in_the_datalist_is_kept(first: Path, tmp_path: Path) -> None:
    """Whoever is moved by hand stays there, and an entry that was deleted comes back to its split."""
    before = on_disk(first)
    listed = json.loads((first / "dataset.json").read_text())
    moved = listed["training"][0]["subject"]
    for name in NAMES:
        listed[name] = [entry for entry in listed[name] if entry["subject"] != moved]
    deleted = listed["validation"].pop()["subject"]
    listed["test"].append({"image": "x", "subject": moved})
    (first / "dataset.json").write_text(json.dumps(listed))
    preprocess(scans(tmp_path / "raw", 20), first)
    after = on_disk(first)
    assert (after[moved], after[deleted]) == ("test", "validation")
    assert {name: after[name] for name in before if name != moved}.items() <= before.items()
    # Either file alone is enough.
    for name in ("dataset.json", "participants.tsv"):
        (first / name).unlink()
        preprocess(tmp_path / "raw", first)
        assert on_disk(first) == after


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("participants.tsv", "", "is damaged, and it says who is in which split; restore it"),
        ("participants.tsv", "participant_id\tsides\n", "is damaged"),
        ("participants.tsv", "participant_id\tsides\tsplit\nsub-0123456789\n", "is damaged"),
        ("participants.tsv", "participant_id\tsides\tsplit\nsub-0123456789\tL\tnone\n", "is damaged"),
        ("dataset.json", "[]", "is damaged, and it says"),
        ("dataset.json", '{"training": [{}]}', "is damaged"),
        ("dataset.json", '{"training": 3}', "is damaged"),
        ("dataset.json", '{"training": [', "is not valid JSON"),
        ("dataset.json", '{"training": [{"subject": "a"}], "test": [{"subject": "a"}]}', "split by person, not by ear"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(MedlangevinError, match=message) as caught:
        recorded_splits(tmp_path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_record_is_said_before_the_scans_are_worked_on(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first / "participants.tsv").write_text("")
    before = contents(first)
    monkeypatch.setattr(pipeline, "process_person", None)
    for run in (lambda: preprocess(scans(tmp_path / "raw", 15), first), lambda: merge(first)):
        with pytest.raises(MedlangevinError, match=r"participants\.tsv is damaged"):
            run()
        assert {file: digest for file, digest in contents(first).items() if not file.startswith("parts/")} == before


def test_a_table_that_a_spreadsheet_has_saved_is_read(tmp_path: Path) -> None:
    text = "\ufeffage\tparticipant_id\tsides\tsplit\r\n44\tsub-0123456789\tL\ttest\r\n"
    (tmp_path / "participants.tsv").write_bytes(text.encode())
    assert recorded_splits(tmp_path) == {"0123456789": "test"}
    assert Counter(split_by_person(["0123456789", *people(11)], recorded_splits(tmp_path)).values())["test"] == 3
