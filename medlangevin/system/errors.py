"""The errors a user sees: one line that says what is wrong, where, and what to do."""


class MedlangevinError(Exception):
    """A problem that the user can mend. The command line prints the message alone and exits with code 2.

    The message is one line: what is wrong, where, what to do. Raise it before anything is written.
    """


class PartialFailureError(MedlangevinError):
    """Some items failed and the others were done; the failures are listed in a file. Exit code 1."""
