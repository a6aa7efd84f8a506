"""Fills the pages of the site with tables that are read from the source: settings, messages, limits, claims.

A line ``<!-- table: NAME -->`` of a page becomes the table of that name. On the page of claims ``{key}`` becomes the
tests that are marked with this key. A name or key that the source does not have ends the build.
mkdocs calls ``on_page_markdown`` for each page.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from medlangevin.config.schema import Place

ROOT = Path(__file__).resolve().parents[1]
# The keys that say which section of several stands there.
CHOOSE = ("kind", "bound", "tempering", "update", "estimate", "optimizer")
MARK = re.compile(r"^<!-- table: ([\w-]+) -->$", re.M)
# Errors that a user meets, by what raises them.
ERRORS = ("MedlangevinError", "PartialFailureError", "BusyError")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page with its tables; called by mkdocs for each page."""
    markdown = MARK.sub(lambda match: TABLES[match[1]](), markdown)
    if page.file.src_uri == "correctness.md":
        markdown = with_tests(markdown)
    if page.file.src_uri == "troubleshooting.md":
        require_messages(markdown)
    return markdown


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = (header, tuple("---" for _ in header), *rows)
    cells = (" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in cells)


@cache
def sources(folder: str) -> dict[Path, ast.Module]:
    """Every Python file below a folder of the repository, parsed."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / folder).rglob("*.py"))}


# Claims and their tests.


def marked_tests() -> dict[str, list[str]]:
    """The tests by the keys of ``@pytest.mark.claim``, as folder/file.py::test_name."""
    found = defaultdict(list)
    for path, tree in sources("tests").items():
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
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
    """Raise KeyError where the page explains a message that the program does not have.

    A message may be put together from several texts, so its parts between values and commas are looked for.
    """
    explained = markdown[: markdown.index("## Every message")]
    parts = {
        (row, part.strip())
        for row in re.findall(r"^\| `([^`]+)` \|", explained, re.M)
        for part in re.split(r"…|[;,()=]", row)
        if len(part.strip()) > 3
    }
    absent = sorted(row for row, part in parts if not any(part in text for text in texts()))
    if absent:
        raise KeyError(f"messages that are not in the source: {absent}")


def messages() -> str:
    """Every one-line error, by the room that raises it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in sources("medlangevin").items():
        room = path.relative_to(ROOT / "medlangevin").parts[0].removesuffix(".py")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ERRORS and node.args:
                text = " ".join((text_of(node.args[0]) or "").split()).replace("`", "")
                if len(text.strip("… ")) > 10:
                    found[room].add(text)
    return "\n\n".join(
        f"### {room}\n\n" + table(("message",), ((f"`{text}`",) for text in sorted(found[room], key=str.lower)))
        for room in sorted(found)
    )


# What preprocess decides.


def limits() -> str:
    """The figures of an ear, and beyond which values it is failed or to be reviewed."""
    from medlangevin.imaging.registration.quality import LIMITS, Limit

    def described(item: Limit, limit: float | None) -> str:
        """Which values get a verdict; empty where there is no limit."""
        if limit is None:
            return ""
        number = f"{limit} {item.unit}".strip()
        said = {"from": f"{number} and more", "near NCC": f"nearer than {number} to NCC"}
        return said.get(item.beyond, f"{item.beyond} {number}")

    return table(
        ("key in `status.json`", "code", "what it means", "failed", "review"),
        (
            (
                f"`{item.figure}`",
                f"`{item.code}`" if item.code else "",
                item.meaning,
                described(item, item.failed),
                described(item, item.review),
            )
            for item in LIMITS
        ),
    )


def reasons(*, failure: bool) -> str:
    """Why a series gives no crop (``failure``), or why a file is passed over."""
    from medlangevin.imaging.reading.rejection import all_reasons

    return table(
        ("code", "what is wrong", "what to do"),
        ((f"`{item.code}`", item.text, item.advice) for item in all_reasons() if item.failure == failure),
    )


# Settings.


def settings() -> str:
    """Every section of a configuration with its keys."""
    from medlangevin.config import Config

    places: dict[type[BaseModel], list[str]] = {}
    for section, place in sections_of(Config, "", ""):
        if place not in places.setdefault(section, []):
            places[section].append(place)
    return "\n\n".join(
        f"### {found[0]}\n\n{(section.__doc__ or '').splitlines()[0]}\n\n"
        + table(("key", "values", "default", "what it is"), map(row_of, section.model_fields.items()))
        for section, found in places.items()
    )


def sections_of(section: type[BaseModel], key: str, owner: str) -> Iterator[tuple[type[BaseModel], str]]:
    """A section and all below it, each with its key and, in words, the kind that it belongs to."""
    kind = next((f"`{name}: {choices(section, name)}`" for name in CHOOSE if choices(section, name)), "")
    yield section, ", ".join(part for part in (f"`{key}`" if key else "the top level", owner, kind) if part)
    for name, field in section.model_fields.items():
        # What the encoder, the decoder and the likelihood are made of is the same for several kinds of model.
        own = "" if name in ("network", "likelihood") else kind
        for inner in Place(field.annotation).sections():
            yield from sections_of(inner, f"{key}.{name}".lstrip("."), own)


def choices(section: type[BaseModel], name: str) -> str:
    """The values of a key that chooses the section; none where it has no such key, or any text will do."""
    field = section.model_fields.get(name)
    values = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return " or ".join(map(str, values))


def row_of(item: tuple[str, Any]) -> tuple[str, str, str, str]:
    """A key with its values, default and description. Raises KeyError for a setting that is not described."""
    name, field = item
    if not (field.description or Place(field.annotation).sections()):
        raise KeyError(f"the setting {name} has no description")
    default = "needed" if field.is_required() else ("" if Place(field.annotation).sections() else f"`{field.default}`")
    return f"`{name}`", values_of(field.annotation), default, field.description or "a section of its own, below"


def values_of(annotation: Any) -> str:
    """What a key takes, in words."""
    if Place(annotation).sections():
        return "section"
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(values_of(part) for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is tuple:
        return "list"
    names = {"str": "text", "bool": "`true` or `false`", "int": "whole number", "float": "number", "Path": "path"}
    base = get_args(annotation)[0] if get_origin(annotation) is not None else annotation
    return names.get(getattr(base, "__name__", ""), "text")


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "messages": messages,
    "limits": limits,
    "reasons": lambda: reasons(failure=True),
    "passed-over": lambda: reasons(failure=False),
}
