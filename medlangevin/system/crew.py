"""A few worker processes, each given one item at a time, so that it is known which item a killed process had."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from medlangevin.system.errors import MedlangevinError

Item = TypeVar("Item")
# What an item can meet with instead of a result: its process was killed, or it took too long and was stopped.
Loss = Literal["killed", "overdue"]

MAX_FALSE_STARTS = 3
_READY = "ready"


class Job(NamedTuple):
    """What every worker does: ``setup`` once, then ``function`` on each item, for at most ``limit_s`` of wall time."""

    function: Callable[[Any], Any]
    setup: Callable[..., None] | None
    setup_args: tuple[Any, ...]
    limit_s: float | None


class News(NamedTuple, Generic[Item]):
    """What became of an item: its ``result``, or None with the ``loss``."""

    item: Item
    result: Any
    loss: Loss | None = None


@dataclass
class _Worker(Generic[Item]):
    """A process and what it is at: nothing while it starts."""

    process: BaseProcess
    item: Item | None = None
    since: float = 0.0


class Crew(Generic[Item]):
    """At most ``size`` processes that share ``items``; a process that is gone is replaced. Close it at the end."""

    def __init__(self, job: Job, items: Iterable[Item], size: int) -> None:
        self._job = job
        self._todo = deque(items)
        self._size = size
        self._workers: dict[Connection, _Worker[Item]] = {}
        self._retired: list[BaseProcess] = []
        self._false_starts = 0

    def news(self) -> Generator[News[Item], None, None]:
        """Every item once, as they finish. Raises what the function raised; MedlangevinError when no worker starts."""
        while self._busy() or self._todo:
            while len(self._workers) < min(self._size, self._busy() + len(self._todo)):
                connection, process = _start(self._job)
                self._workers[connection] = _Worker(process)
            heard_from = wait(list(self._workers), self._patience())
            for connection in [known for known in self._workers if known in heard_from]:
                heard = self._hear(connection)
                if heard is not None:
                    yield heard
            for connection, worker in list(self._workers.items()):
                if worker.item is not None and self._seconds_left(worker) <= 0:
                    worker.process.kill()
                    self._retire(connection)
                    yield News(worker.item, None, "overdue")

    def close(self) -> None:
        """Let running items finish, start no more, and wait for all processes to end."""
        for connection in list(self._workers):
            self._retire(connection)
        for process in self._retired:
            process.join()

    def _busy(self) -> int:
        return sum(worker.item is not None for worker in self._workers.values())

    def _hear(self, connection: Connection) -> News[Item] | None:
        """What a worker has to say; it is then given the next item, or sent home."""
        worker = self._workers[connection]
        item, worker.item = worker.item, None
        try:
            kind, value = connection.recv()
        except (EOFError, OSError):
            self._retire(connection)
            if item is not None:
                return News(item, None, "killed")
            self._false_starts += 1
            if self._false_starts > MAX_FALSE_STARTS:
                text = "worker processes are killed as they start (out of memory?); run again with fewer --workers"
                raise MedlangevinError(text) from None
            return None
        if kind == "error":
            raise value
        self._give_next(connection, worker)
        return None if item is None else News(item, value)

    def _give_next(self, connection: Connection, worker: _Worker[Item]) -> None:
        if not self._todo:
            self._retire(connection)
            return
        try:
            connection.send(self._todo[0])
        except OSError:
            # Killed between two items: the next one is for another.
            self._retire(connection)
            return
        worker.item, worker.since = self._todo.popleft(), time.monotonic()

    def _retire(self, connection: Connection) -> None:
        # A worker whose connection is closed ends after its present item.
        connection.close()
        self._retired.append(self._workers.pop(connection).process)

    def _patience(self) -> float | None:
        if self._job.limit_s is None:
            return None
        left = [self._seconds_left(worker) for worker in self._workers.values() if worker.item is not None]
        return max(0.0, min(left)) if left else None

    def _seconds_left(self, worker: _Worker[Item]) -> float:
        limit = self._job.limit_s
        return float("inf") if limit is None else worker.since + limit - time.monotonic()


def _start(job: Job) -> tuple[Connection, BaseProcess]:
    # Spawned, not forked: torch and ITK hold threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job), daemon=True)
    process.start()
    # Only the worker may hold its end, or its death would not be heard.
    theirs.close()
    return ours, process


def _work(connection: Connection, job: Job) -> None:
    """The life of a worker process."""
    # Ctrl-C is the parent's: it lets running items finish and starts no more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if job.setup is not None:
            job.setup(*job.setup_args)
        connection.send((_READY, None))
        while True:
            item = connection.recv()
            connection.send(("done", job.function(item)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # sent home
    except Exception as error:
        # Nobody listens any more where another worker's error has ended the work.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.send(("error", _portable(error)))


def _portable(error: Exception) -> Exception:
    """The same error with its traceback as a note, if it survives the way to another process; else one of its text."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))


def _end_with_parent() -> None:
    """A parent that is killed outright cannot stop its workers; they would go on until their item is done."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
