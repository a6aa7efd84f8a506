"""Rooms lie on floors: a file imports from its own floor or from one below, never from above."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# From the ground up; the longest name that fits a module decides.
FLOORS = (
    ("system", "_version"),
    ("samplers",),
    ("networks", "likelihoods", "cochlear_frame", "config"),
    ("models", "datasets", "imaging", "phantom"),
    ("shape", "runs", "doctor"),
    ("inference", "training"),
    ("evaluation",),
    ("reports",),
    ("papers",),
    ("cli", "__main__"),
)
FLOOR = {f"medlangevin.{room}": number for number, floor in enumerate(FLOORS) for room in floor}


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules(root: Path = ROOT) -> dict[str, Path]:
    return {name_of(path, root): path for path in sorted((root / "medlangevin").rglob("*.py"))}


def imports(path: Path, names: set[str], *, everywhere: bool) -> set[str]:
    """The package's modules that a file imports, ``everywhere`` or only when it is loaded itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & names
            # ``from room import a_name_of_it`` needs the room itself; a file of the room does not.
            if node.module in names and any(f"{node.module}.{alias.name}" not in names for alias in node.names):
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & names
    return found


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_every_file_has_a_floor():
    assert {room(module) for module in modules()} - {"medlangevin"} == set(FLOOR)


def test_no_file_imports_from_a_floor_above():
    wrong = [
        f"{module} (floor {FLOOR[room(module)]}) imports {other} (floor {FLOOR[room(other)]})"
        for module, path in modules().items()
        if module != "medlangevin"  # the names that it gives are from every floor
        for other in imports(path, set(modules()), everywhere=True)
        if other == "medlangevin" or FLOOR[room(other)] > FLOOR[room(module)]
    ]
    assert wrong == []


def test_no_file_takes_private_names_of_another_room():
    wrong = [
        f"{module} takes {alias.name} from {node.module}"
        for module, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in modules() and room(node.module) != room(module)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert wrong == []


def test_no_circle():
    graph = {module: imports(path, set(modules()), everywhere=True) for module, path in modules().items()}
    del graph["medlangevin"]
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from error


def test_no_circle_between_rooms_of_one_floor():
    graph: dict[str, set[str]] = {}
    for module, path in modules().items():
        others = {room(other) for other in imports(path, set(modules()), everywhere=True)}
        graph.setdefault(room(module), set()).update(others - {room(module)})
    del graph["medlangevin"]
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from error
