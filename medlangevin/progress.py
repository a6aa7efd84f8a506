"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES_IN_A_LOG = 50


class Track:
    """One running piece of work; call ``advance`` after each item."""

    def __init__(self, total: int, bar: Progress | None, label: str) -> None:
        self._total = total
        self._bar = bar
        self._label = label
        self._task = bar.add_task(label, total=total, note="") if bar else None

    def advance(self, done: int, note: str = "") -> None:
        """``done`` of the items are finished; ``note`` says what is worth knowing about the last one."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif done in (1, self._total) or done % max(1, self._total // LINES_IN_A_LOG) == 0:
            print(f"{self._label} {done}/{self._total}" + (f": {note}" if note else ""), flush=True)


@contextmanager
def progress(total: int, label: str, *, done: int = 0) -> Iterator[Track]:
    """Show work on ``total`` items, ``done`` of them finished before: ``with progress(50, "volume") as track``."""
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        yield Track(total, None, label)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
        track = Track(total, bar, label)
        if done:
            track.advance(done)
        yield track
