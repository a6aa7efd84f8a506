"""The errors a user sees: one line that says what is wrong, where, and what to do."""

from collections.abc import Iterable


class MedlangevinError(Exception):
    """A problem that the user can mend. The command line prints the message alone and exits with code 2.

    The message is one line: what is wrong, where, what to do. Raise it before anything is written.
    """


class PartialFailureError(MedlangevinError):
    """Some items failed and the others were done; the failures are listed in a file. Exit code 1."""


def sizes(shape: Iterable[int]) -> str:
    """A shape as messages say it.

    Args:
        shape: The sizes of the axes.

    Returns:
        For example ``60 x 50 x 50``; ``()`` where there is no axis.
    """
    return " x ".join(str(size) for size in shape) or "()"
