"""Independent items over several processes: results as they come, nothing left behind, no item lost with a process.

A thread for each process gives it one item at a time, so it is known which item a killed process had. Pools of
libraries share a queue among their processes: a death then breaks the pool (``concurrent.futures``), or is at times put
down to no item (pebble).
"""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple, TypeVar

from medlangevin.system.errors import MedlangevinError

Item = TypeVar("Item")
Result = TypeVar("Result")
# What an item can meet with instead of a result: its process was killed, or it took too long and was stopped.
Loss = Literal["killed", "overdue"]

# An item, and its result or, with None, its loss.
_Outcome = tuple[Any, Any, Loss | None]

MAX_FALSE_STARTS = 3


class _Job(NamedTuple):
    """What every process does: ``setup`` once, then ``function`` on each item, for at most ``limit_s`` of wall time."""

    function: Callable[[Any], Any]
    setup: Callable[..., None] | None
    setup_args: tuple[Any, ...]
    limit_s: float | None


def run_all(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    setup: Callable[..., None] | None = None,
    setup_args: tuple[Any, ...] = (),
    lost: Callable[[Item, Loss], Result] | None = None,
    limit_s: float | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """Do independent items, in worker processes where there are several.

    Closed early, the generator lets running items finish and starts no more. An item whose process is killed harms no
    other: it is done once more at the end, alone in a fresh process, as memory is what usually ran out.

    Args:
        function: Called with each item. What is handed over, and what it returns, has to be picklable.
        items: What to do.
        workers: How many processes at most; 0: all in this process and in order. Without ``lost`` a single worker or
            item gets no process of its own either.
        setup: Called once in every process before its first item, or once here.
        setup_args: Its arguments.
        lost: What stands for the result of an item whose process was killed again, or that was stopped.
        limit_s: Seconds of wall time after which an item is stopped; None: never.

    Yields:
        (item, ``function``(item)), as they finish.

    Raises:
        Exception: What ``setup`` or ``function`` raised, with the traceback of the other process as a note.
        MedlangevinError: No process starts; or, without ``lost`` and when all else is done, an item was lost.
    """
    workers = min(workers, len(items))
    if workers < 1 or (workers == 1 and lost is None):
        if setup is not None and items:
            setup(*setup_args)
        for item in items:
            yield item, function(item)
        return
    job = _Job(function, setup, setup_args, limit_s)
    given_up: list[tuple[Item, Loss]] = []
    batches: deque[Sequence[Item]] = deque([items])
    while batches:
        batch = batches.popleft()
        with closing(_share(job, batch, min(workers, len(batch)))) as outcomes:
            for item, result, loss in outcomes:
                if loss is None:
                    yield item, result
                elif loss == "killed" and batch is items:
                    batches.append([item])
                else:
                    given_up.append((item, loss))
    for item, loss in given_up:
        if lost is None:
            what = "was killed (out of memory?)" if loss == "killed" else "took too long and was stopped"
            remedy = "run the same command again to go on, with fewer --workers"
            raise MedlangevinError(f"a worker process {what}; {remedy}")
        yield item, lost(item, loss)


def _share(job: _Job, items: Sequence[Any], size: int) -> Generator[_Outcome, None, None]:
    """Every item once, as they finish; closed, it waits for the running ones and for all processes to end."""
    todo, told, closed = deque(items), SimpleQueue[_Outcome | Exception](), threading.Event()
    false_starts = count(1)

    def serve() -> None:
        """Do items with one process at a time; a process that is gone is replaced."""
        process: _Process | None = None
        try:
            while todo and not closed.is_set():
                if process is None:
                    process = _Process(job)
                    loss, _ = process.answer(None)
                    if loss is not None and next(false_starts) > MAX_FALSE_STARTS:
                        text = "worker processes are killed as they start (out of memory?)"
                        raise MedlangevinError(f"{text}; run again with fewer --workers")
                else:
                    try:
                        item = todo.popleft()
                    except IndexError:  # another thread took the last one
                        break
                    loss, result = process.do(item, job.limit_s)
                    told.put((item, result, loss))
                if loss is not None:
                    process.end()
                    process = None
        except Exception as error:
            told.put(error)
        finally:
            if process is not None:
                process.end()

    # Daemons, so that a second Ctrl-C does not wait for them.
    threads = [threading.Thread(target=serve, daemon=True) for _ in range(size)]
    for thread in threads:
        thread.start()
    try:
        for _ in items:
            outcome = told.get()
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
    finally:
        closed.set()
        for thread in threads:
            thread.join()


class _Process:
    """A worker process that does one item at a time."""

    def __init__(self, job: _Job) -> None:
        # Spawned, not forked: torch and ITK hold threads that a fork would lose.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, job), daemon=True)
        self._process.start()
        # Only the worker may hold its end, or its death would not be heard.
        theirs.close()

    def do(self, item: Any, limit_s: float | None) -> tuple[Loss | None, Any]:
        """The result of an item, or what became of the process instead. Raises what the function raised."""
        with suppress(OSError):  # killed between two items, as its answer will show
            self._connection.send(item)
        return self.answer(limit_s)

    def answer(self, limit_s: float | None) -> tuple[Loss | None, Any]:
        """What the process has to say; an end of it after ``limit_s`` seconds."""
        try:
            if not self._connection.poll(limit_s):
                self._process.kill()
                return "overdue", None
            error, result = self._connection.recv()
        except (EOFError, OSError):
            return "killed", None
        if error is not None:
            raise error
        return None, result

    def end(self) -> None:
        """Let it finish, and wait until it has ended."""
        self._connection.close()
        self._process.join()


def _work(connection: Connection, job: _Job) -> None:
    """The life of a worker process."""
    # Ctrl-C is the parent's: it lets running items finish and starts no more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    started = _call(job.setup, *job.setup_args) if job.setup is not None else _call(str)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed its end
        connection.send_bytes(started)
        while True:
            connection.send_bytes(_call(job.function, connection.recv()))


def _call(function: Callable[..., Any], *arguments: Any) -> bytes:
    """Its error and its result, one of them None, as ``Connection.recv`` takes them."""
    try:
        return bytes(ForkingPickler.dumps((None, function(*arguments))))
    except Exception as error:
        return bytes(ForkingPickler.dumps((_portable(error), None)))


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
