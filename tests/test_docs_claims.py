"""The documentation quotes commands, options, keys, messages, codes and limits that the program has."""

import ast
import re
from functools import cache
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SOURCES = sorted((ROOT / "medlangevin").rglob("*.py"))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def code_of(page: Path) -> list[str]:
    """Everything that is set as code: lines of blocks, and what stands between backticks."""
    text = page.read_text(encoding="utf-8")
    fenced = [line for block in re.findall(r"^```.*?\n(.*?)^```", text, re.S | re.M) for line in block.splitlines()]
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    blocks = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return fenced + blocks + re.findall(r"`([^`\n]+)`", re.sub(r"^    .*$", "", text, flags=re.M))


@cache
def options_by_command() -> dict[str, set[str]]:
    from medlangevin.cli.main import main

    def options(command: click.Command) -> set[str]:
        return {name for item in command.params for name in (*item.opts, *item.secondary_opts)} | {"--help"}

    found = {"": options(main)}
    for name, command in main.commands.items():
        members = command.commands.values() if isinstance(command, click.Group) else [command]
        found[name] = set().union(*map(options, members)) | {"--help"}
    return found


def called(code: str) -> tuple[str, str] | None:
    """The command of a line that calls medlangevin, and what follows it."""
    if code.startswith("from "):  # an import
        return None
    match = re.search(r"(?:^|[\s$])(?:python3? )?(?:-m )?medlangevin ([a-z][\w-]*)(.*)", code)
    return None if match is None else (match[1], match[2].split("  #")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_its_options_exist(page):
    for code in code_of(page):
        call = called(code)
        if call is None:
            continue
        command, rest = call
        assert command in options_by_command(), code
        assert set(OPTION.findall(rest)) <= options_by_command()[command], code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_option_named_alone_belongs_to_a_command_or_to_a_program_that_the_page_calls(page):
    ours = set().union(*options_by_command().values())
    elsewhere = {name for code in code_of(page) if not code.startswith("-") for name in OPTION.findall(code)}
    for code in code_of(page):
        if code.startswith("--"):
            assert set(OPTION.findall(code)) <= ours | elsewhere, code


def test_every_script_of_benchmarks_that_a_page_calls_exists_with_its_options():
    for page in PAGES:
        for code in code_of(page):
            match = re.match(r"python (benchmarks/[\w/]+\.py)(.*)", code)
            if match:
                text = (ROOT / match[1]).read_text(encoding="utf-8")
                assert all(f'"{name}"' in text for name in OPTION.findall(match[2])), code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_configuration_key_exists(page):
    from medlangevin.config import Config
    from medlangevin.config.schema import all_sections

    sections = all_sections(Config)
    known = {
        f"{key}.{name}".lstrip(".") for key, kinds in sections.items() for kind in kinds for name in kind.model_fields
    }
    for code in code_of(page):
        for key in re.findall(r"(?<![\w./-])(?:training|model|data|images)\.[a-z_]+(?:\.[a-z_]+)*", code):
            assert key in known or key.endswith((".json", ".py")), key


def test_docstrings_are_sound_markdown():
    """They become pages: no <word> that a browser would take for a tag, and every backtick closed."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            text = ast.get_docstring(node) or ""
            text = re.sub(r"``.*?``", "", text, flags=re.S)
            assert not re.search(r"<[a-z][\w ]*>|`", text), f"{path.name}: {getattr(node, 'name', 'module')}"
