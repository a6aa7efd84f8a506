import errno
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.system.errors import MedlangevinError, PartialFailureError


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"medlangevin {name}" in result.output.split("Usage:")[1].split("\n", 1)[1], "no example in the help text"


def test_help_loads_no_heavy_library():
    code = (
        "import sys, medlangevin.cli.main;"
        "heavy = {'torch', 'monai', 'numpy', 'SimpleITK', 'matplotlib', 'pandas', 'pydantic', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_package_runs_as_a_module():
    out = subprocess.run([sys.executable, "-m", "medlangevin", "--version"], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("medlangevin, version ")


@pytest.mark.parametrize(
    ("error", "exit_code", "shown"),
    [
        (MedlangevinError("no CT in raw/; look elsewhere"), 2, "error: no CT in raw/; look elsewhere\n"),
        (MedlangevinError("no key 'a\nb\x1b[2J'"), 2, "error: no key 'a\\nb\\x1b[2J'\n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "aaa"), 2, "error: aaa: File name too long\n"),
        (PartialFailureError("2 of 9 failed"), 1, "warning: 2 of 9 failed\n"),
        (OSError(errno.ENOSPC, "No space left on device", "out/a"), 2, "error: out/a: No space left on device\n"),
        (KeyboardInterrupt(), 130, "interrupted; finished work is kept\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(error, exit_code, shown):
    @click.command()
    def failing():
        raise error

    group = type(main)(name="medlangevin", commands={"failing": failing})
    result = CliRunner().invoke(group, ["failing"])
    assert (result.exit_code, result.stderr) == (exit_code, shown)


def test_a_programming_error_keeps_its_traceback():
    @click.command()
    def failing():
        raise ZeroDivisionError

    group = type(main)(name="medlangevin", commands={"failing": failing})
    assert isinstance(CliRunner().invoke(group, ["failing"]).exception, ZeroDivisionError)


def test_an_unknown_command_is_wrong_use():
    result = CliRunner().invoke(main, ["preproces"])
    assert result.exit_code == 2
