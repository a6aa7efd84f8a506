"""Reading and writing a configuration. Unknown keys are errors that name the nearest right key."""

from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from medlangevin.config.problems import explain
from medlangevin.config.run import Config
from medlangevin.config.schema import keys_at, places_at
from medlangevin.config.yaml_text import parse_yaml, read_yaml
from medlangevin.system.errors import MedlangevinError

Checked = TypeVar("Checked", bound=BaseModel)


def load_config(path: Path | str, overrides: tuple[str, ...] = (), *, aliases: bool = False) -> Config:
    """Read and check a YAML file: one that a user wrote, the config.yaml of a run, or one of the package's own.

    Args:
        path: The file, or where there is none the name of a packaged configuration, such as cochlea_qsl.
        overrides: ``section.key=value`` with the value as YAML; they win over the file.
        aliases: Whether the file may hold YAML aliases, as one that the user wrote may.

    Returns:
        The checked configuration.

    Raises:
        MedlangevinError: One line: file, key, what is wrong with it, the nearest right key if it is unknown.
    """
    raw = read_mapping(Path(path), aliases=aliases)
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, source=str(path))


def read_mapping(
    path: Path, schema: type[BaseModel] = Config, *, aliases: bool = False, packaged: str = "configs"
) -> dict[str, Any]:
    """Read a YAML file, not yet checked, without the known keys that have no value.

    Args:
        path: The file, or where there is none the name of a packaged one.
        schema: What the file is for.
        aliases: Whether the file may hold YAML aliases.
        packaged: The folder of the packaged files.

    Returns:
        The mapping.

    Raises:
        MedlangevinError: It cannot be read or is not a mapping, or as ``parse_yaml`` does.
    """
    try:
        values = read_yaml(_find(path, packaged), aliases=aliases)
    except FileNotFoundError as error:
        raise MedlangevinError(f"config {path} does not exist; see configs/ for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MedlangevinError(f"config {path} cannot be read as a text file ({error})") from error
    raw = _drop_empty(values, schema)
    if not isinstance(raw, dict):
        raise MedlangevinError(f"config {path} is not a mapping of keys to values; see configs/ for examples")
    return raw


def _find(path: Path, packaged: str) -> Path:
    """The file itself, or the packaged one that is called so where there is no such file."""
    if path.is_file():
        return path
    package = Path(str(files("medlangevin")))
    folder = package / packaged if (package / packaged).is_dir() else package.parent / packaged  # in a checkout
    found = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    is_name = not path.suffix and len(path.parts) == 1
    if path.stem in found and not path.exists():
        if is_name:
            return found[path.stem]
        raise MedlangevinError(f"config {path} does not exist; the one that is packaged is called {path.stem} alone")
    if is_name:
        raise MedlangevinError(f"config {path} does not exist; give a YAML file, or one of {', '.join(found)}")
    return path


def parse_config(raw: dict[str, Any], *, source: str) -> Config:
    """Check a mapping against the schema of a run.

    Args:
        raw: The mapping.
        source: What errors name as its origin.

    Returns:
        The checked configuration.

    Raises:
        MedlangevinError: One line, as from ``load_config``.
    """
    return check(Config, raw, source=source)


def check(schema: type[Checked], raw: Any, *, source: str) -> Checked:
    """Check a mapping against any schema.

    Args:
        schema: The outermost section.
        raw: The mapping.
        source: What errors name as its origin.

    Returns:
        The checked section.

    Raises:
        MedlangevinError: One line, as from ``load_config``.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        raise MedlangevinError(f"{' '.join(source.split())}: {explain(error, schema)}") from error


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML text.

    Args:
        config: The configuration.

    Returns:
        Text that ``load_config`` reads back to an equal object.
    """
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested sections by their dotted keys.

    Args:
        section: Sections inside each other.
        prefix: What each key begins with.

    Returns:
        The values that are not sections.
    """
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _drop_empty(value: Any, schema: type[BaseModel], location: tuple[str, ...] = ()) -> Any:
    """Without the known keys that have no value: ``training:`` with nothing below it means the defaults."""
    if not isinstance(value, dict):
        return value
    known = keys_at(location, schema)
    kept = {
        # A section that must hold something is not left out in silence: what it lacks is told.
        key: {} if item is None and _has_required_keys([*location, str(key)], schema) else item
        for key, item in value.items()
    }
    return {
        key: _drop_empty(item, schema, (*location, str(key)))
        for key, item in kept.items()
        if item is not None or key not in known
    }


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise MedlangevinError(f"--set {override}: expected key=value, for example --set training.epochs=5")
    *parents, leaf = key.split(".")
    section: Any = raw
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise MedlangevinError(f"--set {override}: {parent} is a value, not a section")
    section[leaf] = parse_yaml(value, f"--set {override}")


def _has_required_keys(keys: list[str], schema: type[BaseModel]) -> bool:
    """Whether a section has to be given something: one of a kind that it need not name does not."""
    places = [place for place in places_at(keys, schema) if not place.is_union]
    sections = [section for place in places for section in place.sections()]
    return any(field.is_required() for section in sections for field in section.model_fields.values())
