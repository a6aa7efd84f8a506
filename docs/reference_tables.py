"""Fills the pages of the site with tables that are read from the source: settings, messages, limits, claims.

A line ``<!-- table: NAME -->`` of a page becomes the table of that name, and ``{key}`` on the page of claims the tests
that are marked with this key. A name or key that the source does not have ends the build. mkdocs calls
``on_page_markdown``; the tables need neither torch nor a GPU.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"^<!-- table: ([\w-]+) -->$", re.M)
# Errors that a user meets, by what raises them.
ERRORS = ("MedlangevinError", "PartialFailureError", "cannot_write")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page with its tables; called by mkdocs for each page."""
    markdown = MARK.sub(lambda match: TABLES[match[1]](), markdown)
    if page.file.src_uri == "correctness.md":
        markdown = with_tests(markdown)
    if page.file.src_uri == "troubleshooting.md":
        require_messages(markdown)
    return markdown


def table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


@cache
def sources(folder: str) -> dict[Path, ast.Module]:
    """Every Python file below a folder of the repository, parsed."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / folder).rglob("*.py"))}


# Claims and their tests.


def marked_tests() -> dict[str, list[str]]:
    """The tests by the keys of ``@pytest.mark.claim``, as links to nothing: folder/file.py::test_name."""
    found = defaultdict(list)
    for path, tree in sources("tests").items():
        for node in tree.body:
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else []:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.claim":
                    for key in mark.args:
                        found[ast.literal_eval(key)].append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return dict(found)


def with_tests(markdown: str) -> str:
    """The page of claims with the names of the tests in place of their keys. Raises KeyError for a claim without."""
    tests = marked_tests()
    claimed = set(re.findall(r"\{([a-z0-9-]+)\} \|$", markdown, re.M))
    if claimed != tests.keys():
        raise KeyError(f"claims without a test, or tests of no claim: {sorted(claimed ^ tests.keys())}")
    return re.sub(
        r"\{([a-z0-9-]+)\} \|$",
        lambda match: ", ".join(f"`{name}`" for name in tests[match[1]]) + " |",
        markdown,
        flags=re.M,
    )


# Messages.


def text_of(node: ast.AST) -> str | None:
    """The text that an expression gives, with ... for each value that is put into it; None where it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = text_of(node.left), text_of(node.right)
        return None if None in parts else "".join(part or "" for part in parts)
    return None


@cache
def texts() -> tuple[str, ...]:
    """Every text in the source but docstrings."""
    found = []
    for tree in sources("medlangevin").values():
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [text for node in ast.walk(tree) if id(node) not in docstrings and (text := text_of(node))]
    return tuple(found)


def require_messages(markdown: str) -> None:
    """Raise KeyError where the page explains a message that the program does not have."""
    absent = [
        row for row in re.findall(r"^\| `([^`]+)` \|", markdown, re.M) if not any(row in text for text in texts())
    ]
    if absent:
        raise KeyError(f"messages that are not in the source: {absent}")


def messages() -> str:
    """Every one-line error, by the room that raises it."""
    rows: dict[str, set[str]] = defaultdict(set)
    for path, tree in sources("medlangevin").items():
        room = path.relative_to(ROOT / "medlangevin").parts[0].removesuffix(".py")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ERRORS and node.args:
                text = text_of(node.args[0])
                if text and len(text.strip("… ")) > 10:
                    rows[room].add(" ".join(text.split()))
    return "\n\n".join(
        f"### {room}\n\n"
        + table(("message",), ((f"`{text.replace('`', '')}`",) for text in sorted(rows[room], key=str.lower)))
        for room in sorted(rows)
    )
