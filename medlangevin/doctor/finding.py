"""One finding of the doctor."""

from typing import Literal, NamedTuple

State = Literal["ok", "warn", "fail"]
PIP = "python -m pip install"


def one_line(error: Exception) -> str:
    """The message of ``error`` on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200]


class Finding(NamedTuple):
    """``fail``: some command cannot work; ``warn``: something may be missed. ``what``: found; ``to_do``: the remedy."""

    state: State
    what: str
    to_do: str = ""

    def line(self) -> str:
        """For the terminal."""
        return f"{self.state:<5} {self.what}" + (f"; {self.to_do}" if self.to_do else "")
