"""Ctrl-C in every long command: exit code 130, one line, no half-written file, and the same command goes on."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medlangevin.cli.main import main
from medlangevin.system import progress
from medlangevin.system.files import PARTIAL

# A command, and what its progress is at when Ctrl-C comes.
LONG = {
    "preprocess": ("--raw {data} --out {out} --workers 1", "person"),
    "train": ("{config} --set output_dir={out} --resume", "epoch"),
    "evaluate": ("{run} --samples 2", "ear"),
    "generate": ("{run} --count 3 --out {out}", "volume"),
    "posterior": ("{run} {crop} --out {out} --draws 4 --warmup 2 --measured 2", "measure"),
    "audit": ("{run} --synthetic {synthetic} --out {out}", "synthetic"),
    "shape": ("{synthetic} --out {out} --workers 1", "measure synthetic"),
    "report": ("{run} --out {out}", "training ear"),
    "phantom": ("--out {out} --ears 1 --workers 1", "ear"),
    "toy": ("gaussian --out {out} --steps 30", "step"),
    "benchmark": ("{table} --out {out}", "epoch"),
}
# demo is the others in turn.
SHORT = {"demo", "doctor", "export"}


@pytest.fixture
def press_ctrl_c(monkeypatch: pytest.MonkeyPatch):
    """``press_ctrl_c(label)``: at the first step of the work that is called so."""

    def arm(label: str) -> None:
        original = progress.Track.advance

        def advance(self: progress.Track, done: int, note: str = "") -> None:
            original(self, done, note)
            if self._label == label:
                monkeypatch.setattr(progress.Track, "advance", original)
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(progress.Track, "advance", advance)

    return arm


def test_no_command_is_left_out() -> None:
    assert LONG.keys() | SHORT >= main.commands.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LONG))
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    name: str, press_ctrl_c: Any, small: Any, table: Path, call: Any, tmp_path: Path
) -> None:
    shutil.copytree(small.run, tmp_path / "run")
    places = small._asdict() | {
        "run": tmp_path / "run",
        "out": tmp_path / "out",
        "table": table,
        "crop": next(small.data.glob("*.nii.gz")),
    }
    text, label = LONG[name]
    arguments = text.format(**places).split() + (["--data-root", str(table.parent)] if name == "benchmark" else [])
    press_ctrl_c(label)
    stopped = call(name, *arguments)
    assert stopped.exit_code == 130, stopped.output
    assert stopped.stderr == "interrupted; finished work is kept\n"
    assert "Traceback" not in stopped.output
    assert not list(tmp_path.rglob(f"{PARTIAL}*"))
    if name not in ("toy", "preprocess"):  # the one begins anew, the other: tests/imaging/cohort/test_faults.py
        again = call(name, *arguments)
        assert again.exit_code == 0, again.output


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_reaches_all_processes_and_only_one_speaks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "medlangevin", "phantom", "--out", str(tmp_path / "out"), "--ears", "40"]
    process = subprocess.Popen(
        [*command, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ear 1/40")
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert (process.returncode, told) == (130, "interrupted; finished work is kept\n")
    kept = len(list((tmp_path / "out" / "truth").glob("*.json")))
    assert 1 <= kept < 40
    assert len([path for path in (tmp_path / "out" / "dicom").iterdir() if not path.name.startswith(PARTIAL)]) == kept
