"""Independent items over several processes: results as they come, nothing left behind, no item lost with a process."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from medlangevin.system.crew import Crew, Job, Loss
from medlangevin.system.errors import MedlangevinError

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    """Yield (item, ``function``(item)) as they finish; with ``workers`` 0 in this process and in order.

    ``setup`` runs once in every worker process before its first item, or once here. Everything handed over has to be
    picklable. Closed early, the generator lets running items finish and starts no more.

    An item whose process is killed harms no other: it is done once more at the end, alone in a fresh process, as memory
    is what usually ran out. Killed again, or stopped after ``limit_s`` seconds, its result is ``lost``(item, loss).
    Without ``lost`` a MedlangevinError is raised instead when all else is done, and a single worker or item gets no
    process of its own but runs here.
    """
    workers = min(workers, len(items))
    if workers < 1 or (workers == 1 and lost is None):
        if setup is not None and items:
            setup(*setup_args)
        for item in items:
            yield item, function(item)
        return
    job = Job(function, setup, setup_args, limit_s)
    killed: list[Item] = []
    given_up: list[tuple[Item, Loss]] = []
    with closing(Crew(job, items, workers)) as crew:
        for item, result, loss in crew.news():
            if loss is None:
                yield item, result
            elif loss == "killed":
                killed.append(item)
            else:
                given_up.append((item, loss))
    for suspect in killed:
        with closing(Crew(job, [suspect], 1)) as crew:
            for item, result, loss in crew.news():
                if loss is None:
                    yield item, result
                else:
                    given_up.append((item, loss))
    for item, loss in given_up:
        if lost is None:
            what = "was killed (out of memory?)" if loss == "killed" else "took too long and was stopped"
            raise MedlangevinError(
                f"a worker process {what}; run the same command again to go on, with fewer --workers"
            )
        yield item, lost(item, loss)
