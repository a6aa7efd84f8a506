"""Small parts of the report: pictures, tables from files, and what to run where something is missing."""

import base64
import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Picture(NamedTuple):
    """A PNG inside the page, as base64, and the caption below it."""

    base64: str
    caption: str


class Missing(NamedTuple):
    """``what`` the page does not show, and the ``command`` that makes it."""

    what: str
    command: str


def picture(path: Path, caption: str) -> Picture:
    """Read a PNG.

    Args:
        path: The file.
        caption: What to say below it.

    Returns:
        The picture.
    """
    return Picture(base64.b64encode(path.read_bytes()).decode(), caption)


def picture_if_any(path: Path, caption: str) -> Picture | None:
    """As ``picture``, but None where there is no file.

    Args:
        path: The file.
        caption: What to say below it.

    Returns:
        The picture, or None.
    """
    return picture(path, caption) if path.is_file() else None


def tsv_table(path: Path, rename: Callable[[str], str], *, needed: str) -> dict[str, Any]:
    """Read a table file (tab-separated, heads in the first line).

    Args:
        path: The file.
        rename: What the page calls a word of the file.
        needed: The column without which a row is not shown.

    Returns:
        ``heads``, ``rows`` with numbers where the file has them, and ``empty``: the first words of rows that have
        nothing in the column ``needed``.
    """
    with path.open(encoding="utf-8", newline="") as file:
        heads, *rows = list(csv.reader(file, delimiter="\t")) or [[]]
    place = heads.index(needed)
    named = [[rename(value) for value in row] for row in rows]
    return {
        "heads": [rename(head) for head in heads],
        "rows": [[_number_or_text(value) for value in row] for row in named if row[place]],
        "empty": ", ".join(row[0] for row in named if not row[place]),
    }


def _number_or_text(text: str) -> object:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def three_digits(value: float) -> str:
    """Format a number with three digits.

    Args:
        value: The number.

    Returns:
        The text; a dash for NaN.
    """
    return "-" if math.isnan(value) else f"{value:.3g}"
