"""Small parts of the report page: tables, pictures inside the page, and what to run where something is missing."""

import base64
import csv
import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; numbers to the right, with four digits where they are fractions."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{"" if value != value else f"{value:.4g}"}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{html.escape(str(value))}</td>"


def tsv_table(path: Path, rename: Callable[[str], str], *, needed: str) -> str:
    """A table file (tab-separated, heads in the first line) as HTML, its words as ``rename`` has them.

    Rows that have nothing in the column ``needed`` are named below it.
    """
    with path.open(encoding="utf-8", newline="") as file:
        heads, *rows = list(csv.reader(file, delimiter="\t")) or [[]]
    place = heads.index(needed)
    named = [[rename(value) for value in row] for row in rows]
    shown = [[_number(value) for value in row] for row in named if row[place]]
    empty = ", ".join(row[0] for row in named if not row[place])
    note = f"<p>Not found, for most of them too few ears: {html.escape(empty)}.</p>" if empty else ""
    return table([rename(head) for head in heads], shown) + note


def _number(text: str) -> object:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def picture(path: Path, caption: str) -> str:
    """A PNG inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def missing(what: str, command: str) -> str:
    """A note on what the page does not show, and the command that makes it."""
    return f'<p class="missing">{html.escape(what)}: run <code>{html.escape(command)}</code>.</p>'
