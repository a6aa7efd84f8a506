"""Independent items over several processes: results as they come, nothing left behind."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from medlangevin.errors import MedlangevinError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    setup: Callable[..., None] | None = None,
    setup_args: tuple[Any, ...] = (),
) -> Generator[tuple[Item, Result], None, None]:
    """Yield (item, ``function``(item)) as they finish; with one worker in this process and in order.

    ``setup`` runs once in every worker process before its first item, or once here. Everything handed over has to be
    picklable. Closed early, the generator lets running items finish and starts no more. Raises MedlangevinError when a
    worker process is killed.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        if setup is not None and items:
            setup(*setup_args)
        for item in items:
            yield item, function(item)
        return
    # Spawned, not forked: torch and ITK hold threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(setup, setup_args))
    try:
        futures = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise MedlangevinError(
            "a worker process was killed (out of memory?); run the same command again to go on, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(setup: Callable[..., None] | None, setup_args: tuple[Any, ...]) -> None:
    # Ctrl-C is the parent's: it lets running items finish and starts no more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if setup is not None:
        setup(*setup_args)


def _end_with_parent() -> None:
    """A parent that is killed outright cannot stop its workers; they would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
