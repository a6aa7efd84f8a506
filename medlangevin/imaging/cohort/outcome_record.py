"""Outcomes read back from status.json or a part: checked, as their words go into file names and into the page."""

import re
from dataclasses import fields
from typing import Any

from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.qc_page import FIGURES, VERDICTS

PSEUDONYM = re.compile(r"[0-9a-f]{10}")
_ROW = ("study", "code", "reason", "what_to_do")


def read_outcome(record: Any) -> Outcome:
    """Read back the outcome of a person.

    Args:
        record: What stands in status.json or in a part, decoded.

    Returns:
        The outcome that was written.

    Raises:
        KeyError: The record is not one that preprocess writes.
        TypeError: Likewise.
        ValueError: Likewise.
    """
    outcome = Outcome(**record)
    if not all(isinstance(getattr(outcome, item.name), list) for item in fields(Outcome)[2:]):
        raise ValueError("no lists")
    require_rows([*outcome.failures, *outcome.notes])
    ears = [*outcome.ears, *outcome.failed]
    words = [outcome.inputs, *(ear["sha256"] for ear in outcome.ears)]
    words += [ear[name] for ear in ears for name in ("series", "code", "why")]
    numbers = [ear.get(key) for ear in ears for key, _, _ in FIGURES]
    if not (
        PSEUDONYM.fullmatch(outcome.subject)
        and all(isinstance(word, str) for word in words)
        and all(isinstance(number, int | float | None) for number in numbers)
        and all(isinstance(ear["ncc"], int | float) for ear in ears)
        and all(ear["subject"] == outcome.subject for ear in ears)
        and all(ear["side"] in ("L", "R") and ear["verdict"] in VERDICTS for ear in ears)
    ):
        raise ValueError("not what preprocess writes of a person")
    return outcome


def require_rows(rows: Any) -> list[dict[str, str]]:
    """Check that a value is rows of failures.tsv.

    Args:
        rows: The value.

    Returns:
        The same rows.

    Raises:
        KeyError: They are not rows of failures.tsv.
        TypeError: Likewise.
        ValueError: Likewise.
    """
    if not isinstance(rows, list) or not all(isinstance(row[name], str) for row in rows for name in _ROW):
        raise ValueError("no rows")
    return rows
