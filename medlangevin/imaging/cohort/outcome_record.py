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
    if not PSEUDONYM.fullmatch(outcome.subject) or not isinstance(outcome.inputs, str):
        raise ValueError("no pseudonym")
    if any(not isinstance(getattr(outcome, item.name), list) for item in fields(Outcome)[2:]):
        raise ValueError("no lists")
    require_rows([*outcome.failures, *outcome.notes])
    for ear in outcome.ears:
        if not isinstance(ear["sha256"], str):
            raise ValueError("no digest")
    for ear in (*outcome.ears, *outcome.failed):
        words = [ear[name] for name in ("series", "code", "why")]
        sound = ear["subject"] == outcome.subject and ear["side"] in ("L", "R") and ear["verdict"] in VERDICTS
        numbers = [ear.get(key) for key, _, _ in FIGURES]
        if (
            not sound
            or not all(isinstance(word, str) for word in words)
            or not isinstance(ear["ncc"], int | float)
            or not all(isinstance(number, int | float | None) for number in numbers)
        ):
            raise ValueError("no record of an ear")
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
