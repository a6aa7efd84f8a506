"""What a measurement comes to: a mean, its error and how many values it is of."""

from typing import NamedTuple


class Figure(NamedTuple):
    """``mean`` of ``count`` values and its ``standard_error``, None where there is none to state."""

    mean: float
    standard_error: float | None
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks of a figure
