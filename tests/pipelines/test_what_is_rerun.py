"""The order of things, with a program that does nothing: what is done again, and what goes on after a failure."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).with_name("stand_in.py")
CRASH = -1
RUNS = ("a-seed0", "a-seed1", "b-seed7")


class Work:
    def __init__(self, folder: Path, snakemake) -> None:
        self.folder, self.snakemake, self.out = folder, snakemake, folder / "the result"
        (folder / "dicom").mkdir()
        for model in "ab":
            (folder / f"{model}.yaml").write_text("")
        models = {"a": {"config": "a.yaml", "seeds": [0, 1]}, "b": {"config": "b.yaml", "seeds": [7]}}
        command = f"{shlex.quote(sys.executable)} {shlex.quote(str(STAND_IN))}"
        settings = {"raw": "dicom", "out": "the result", "shares": 2, "models": models, "command": command}
        (folder / "settings.yaml").write_text(json.dumps(settings))

    def run(self, fail: dict[str, list[int]] | None = None) -> tuple[int, str, list[str]]:
        """Exit code, what was said, and the calls of the program; ``fail``: see the stand-in."""
        calls = self.folder / "calls.txt"
        calls.write_text("")
        result = self.snakemake(
            "cochlea.smk",
            *("--configfile", "settings.yaml", "--cores", 4, "--keep-going", "--show-failed-logs"),
            folder=self.folder,
            CALLS=str(calls),
            FAIL=json.dumps(fail or {}),
        )
        return result.returncode, result.stdout, calls.read_text().splitlines()

    def commands(self) -> list[tuple[str, str]]:
        """The calls as (command, run), in order."""
        code, said, calls = self.run()
        assert code == 0, said
        return sorted((call.split()[0], "".join(re.findall("|".join(RUNS), call)[:1])) for call in calls)


@pytest.fixture(scope="module")
def work(snakemake, tmp_path_factory):
    """A finished one."""
    work = Work(tmp_path_factory.mktemp("work"), snakemake)
    done = work.commands()
    steps = ("audit", "evaluate", "generate", "report", "shape", "train")
    assert done == sorted([("preprocess", "")] * 3 + [(step, run) for step in steps for run in RUNS])
    return work


def test_everything_is_made_and_the_second_time_nothing_is_done(work):
    assert (work.out / "gate.txt").read_text() == "gate: passed\n"
    assert {page.name for page in (work.out / "reports").iterdir()} == {f"{run}.html" for run in RUNS}
    assert [picture.name for picture in (work.out / "pictures" / "registration").glob("*.png")] == ["ear.png"]
    assert work.commands() == []


@pytest.mark.parametrize(
    ("product", "again"),
    [
        ("reports/b-seed7.html", ["report"]),
        ("synthetic/b-seed7/audit/audit.json", ["audit", "report"]),
        ("runs/b-seed7/evaluation.json", ["evaluate", "report"]),
        ("runs/b-seed7/samples/curves.png", ["audit", "evaluate", "generate", "report", "shape", "train"]),
    ],
)
def test_what_is_missing_is_made_again_with_what_depends_on_it_and_nothing_else(work, product, again):
    (work.out / product).unlink()
    assert work.commands() == [(command, "b-seed7") for command in again]


def test_a_training_that_is_killed_is_resumed_and_one_that_fails_stops_no_other(snakemake, tmp_path):
    work = Work(tmp_path, snakemake)
    code, said, calls = work.run({"name=a-seed0": [137, 0], "name=b-seed7": [2]})
    assert code == 1
    trainings = [call for call in calls if call.startswith("train")]
    assert all("--resume" in call for call in trainings)
    assert [sum(f"name={run}" in call for call in trainings) for run in RUNS] == [2, 1, 4]
    assert "train ends with 2" in said
    assert "without a report: b-seed7; logs in the result/logs. The same command goes on." in said
    assert {page.stem for page in (work.out / "reports").iterdir()} == {"a-seed0", "a-seed1"}
    assert not (work.out / "gate.txt").exists()
    # The same command goes on where it stopped.
    assert {run for _, run in work.commands()} == {"b-seed7"}


def test_a_share_with_a_failed_scan_is_done_and_one_that_cannot_work_or_crashes_is_not(snakemake, tmp_path):
    work = Work(tmp_path, snakemake)
    code, said, calls = work.run({"--shard 1/2": [CRASH, 2], "--shard 2/2": [1]})
    assert code == 1
    assert [call.split("--shard ")[1][:3] for call in sorted(calls)] == ["1/2"] * 3 + ["2/2"]
    assert "preprocess ends with 2" in said
    assert [path.name for path in (work.out / "shares").iterdir()] == ["2-of-2.done"]
    assert not (work.out / "runs").exists()
