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


def tsv_table(path: Path, rename: Callable[[str], str]) -> str:
    """A table file (tab-separated, heads in the first line) as HTML, its words as ``rename`` has them."""
    with path.open(encoding="utf-8", newline="") as file:
        heads, *rows = [[rename(value) for value in row] for row in csv.reader(file, delimiter="\t")] or [[]]
    return table(heads, [[_number(value) for value in row] for row in rows])


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
