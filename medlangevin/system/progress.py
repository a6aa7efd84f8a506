"""Progress of long work, with rate and remaining time: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

LINES_IN_A_LOG = 50


class Track:
    """One running piece of work; call ``advance`` after each item.

    Args:
        total: How many items there are.
        bar: The bar on a terminal; None: lines in a log.
        label: What an item is called.
        done: How many were finished before.
        clock: Seconds, from any beginning.
    """

    def __init__(
        self, total: int, bar: Progress | None, label: str, done: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._bar = bar
        self._label = label
        self._before = done
        self._clock = clock
        self._started = clock()
        self._task = bar.add_task(label, total=total, completed=done, rate="", note="") if bar else None

    def advance(self, done: int, note: str = "") -> None:
        """Show how far the work is.

        Args:
            done: How many items are finished, those finished before included.
            note: What is worth knowing about the last one.
        """
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, rate=self._rate(done), note=note)
        elif done in (1, self._total) or done % max(1, self._total // LINES_IN_A_LOG) == 0:
            pace = self._rate(done)
            if pace and done < self._total:
                pace += f", {_duration((self._total - done) * self._seconds_each(done))} left"
            logger.info(
                f"{self._label} {done}/{self._total}" + (f" ({pace})" if pace else "") + (f": {note}" if note else "")
            )

    def _seconds_each(self, done: int) -> float:
        return (self._clock() - self._started) / max(1, done - self._before)

    def _rate(self, done: int) -> str:
        """Items an hour, a minute or a second; none before it can be told."""
        each = self._seconds_each(done)
        if done - self._before < 2 or each <= 0:
            return ""
        per_second, unit = 1 / each, "s"
        for next_unit in ("min", "h"):
            if per_second < 1:
                per_second, unit = 60 * per_second, next_unit
        return f"{per_second:.3g}/{unit}"


@contextmanager
def progress(total: int, label: str, *, done: int = 0) -> Iterator[Track]:
    """Show work on many items: ``with progress(50, "volume") as track``.

    Args:
        total: How many items there are.
        label: What an item is called.
        done: How many were finished before.

    Yields:
        What to tell of each item.
    """
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        yield Track(total, None, label, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    more = (TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, *more, console=console) as bar:
        yield Track(total, bar, label, done)


def _duration(seconds: float) -> str:
    """``h:mm:ss``, hours only where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
