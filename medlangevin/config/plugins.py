"""Models of the user's own: Python files that the environment names are imported, and no others ever are."""

import importlib.util
import os
import sys
from functools import cache
from pathlib import Path

from medlangevin.system.errors import MedlangevinError

VARIABLE = "MEDLANGEVIN_PLUGINS"


def import_plugins() -> None:
    """Import the Python files that MEDLANGEVIN_PLUGINS names, each once in a process.

    Several are separated as in PATH. They are called for when a kind of model is not known; a configuration, a run or
    a bundle cannot name one.

    Raises:
        MedlangevinError: A file is absent or fails while it is imported, in one line.
    """
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        _import(Path(name).resolve())


@cache
def _import(path: Path) -> None:
    if not path.is_file() or path.suffix != ".py":
        raise MedlangevinError(f"{VARIABLE}: {path} is not a Python file; name the file that registers your model")
    # Not the file's own name, which may be that of a module of Python's or of another package.
    name = f"{VARIABLE} {path}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file has one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise MedlangevinError(f"{VARIABLE}: {path} cannot be imported ({reason})") from error
