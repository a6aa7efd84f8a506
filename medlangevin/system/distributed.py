"""Several processes that work on one batch: what they share, add up and split among themselves."""

from typing import NamedTuple

import torch
from torch import Tensor, distributed

# The processes that hold the other parts of the data set, None for one process alone.
Processes = distributed.ProcessGroup | None


class Rows(NamedTuple):
    """What one of several processes works on.

    Attributes:
        start: Its first row of a batch.
        size: How many rows it has from there on.
        total: The rows of the whole batch.
    """

    start: int
    size: int
    total: int


class SharedGenerator(torch.Generator):
    """A generator of which every process has a copy in the same state.

    While ``rows`` are set, a draw with one row for each of the ``size`` images is made for all ``total`` of them, and
    a process keeps its own: an image's noise does not depend on how many processes the batch is split among.

    Attributes:
        rows: The rows of this process.
    """

    rows: Rows | None = None


def all_processes() -> Processes:
    """All processes of this program.

    Returns:
        The group where torch.distributed was initialised; None for one process alone.
    """
    return distributed.group.WORLD if distributed.is_available() and distributed.is_initialized() else None


def is_first() -> bool:
    """Whether this is the process that prints and writes.

    Returns:
        True for the only process, or the first of several.
    """
    return all_processes() is None or distributed.get_rank() == 0


def total(part: Tensor, processes: Processes) -> Tensor:
    """The sum of every process's part.

    Args:
        part: Of any shape, the same in all processes; it may be overwritten.
        processes: The group; None: this process alone.

    Returns:
        The sum, the same in all of them; ``part`` itself without ``processes``.
    """
    if processes is not None:
        part = part.contiguous()
        distributed.all_reduce(part, group=processes)
    return part


def of_first(draw: Tensor, processes: Processes) -> Tensor:
    """What the first process drew: with noise and decisions of their own the processes' weights would part.

    Args:
        draw: This process's own, of a shape that all share; it may be overwritten.
        processes: The group; None: this process alone.

    Returns:
        The first one's, the same in all of them; ``draw`` itself without ``processes``.
    """
    if processes is not None:
        distributed.broadcast(draw, group=processes, group_src=0)
    return draw
