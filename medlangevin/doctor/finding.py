"""One finding of the doctor, and how it is told."""

from typing import Literal, NamedTuple

State = Literal["ok", "warn", "fail"]
PIP = "python -m pip install"


def one_line(error: Exception) -> str:
    """Put the message of an error on one line.

    Args:
        error: The error.

    Returns:
        At most 200 characters.
    """
    return " ".join(str(error).split())[:200]


class Finding(NamedTuple):
    """What an examination found.

    Attributes:
        state: ``fail``: some command cannot work; ``warn``: something may be missed.
        what: What was found.
        to_do: The remedy; empty where none is needed.
    """

    state: State
    what: str
    to_do: str = ""

    def line(self) -> str:
        """Tell it on the terminal.

        Returns:
            One line.
        """
        return f"{self.state:<5} {self.what}" + (f"; {self.to_do}" if self.to_do else "")
