"""Reading and writing a configuration. Unknown keys are errors that name the nearest right key."""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from medlangevin.config.former import upgrade
from medlangevin.config.run import Config
from medlangevin.config.yaml_text import parse_yaml, read_yaml
from medlangevin.system.errors import MedlangevinError

Checked = TypeVar("Checked", bound=BaseModel)
# What one message tells; a file of another program has hundreds.
MOST_PROBLEMS, MOST_CHARACTERS = 5, 100


def load_config(path: Path | str, overrides: tuple[str, ...] = ()) -> Config:
    """Read and check a YAML file; ``overrides``, ``section.key=value`` with the value as YAML, win over it.

    Raises MedlangevinError with one line: file, key, what is wrong with it, the nearest right key if it is unknown.
    """
    raw = read_mapping(Path(path))
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, source=str(path))


def load_run_config(path: Path | str) -> Config:
    """Read the config.yaml of a run, also of one that an earlier version trained. Raises MedlangevinError."""
    return parse_config(upgrade(read_mapping(Path(path))), source=str(path))


def read_mapping(path: Path, schema: type[BaseModel] = Config) -> dict[str, Any]:
    """Read a YAML file for ``schema``, not yet checked, without the known keys that have no value.

    Raises MedlangevinError when it is no mapping, or as ``parse_yaml`` does.
    """
    try:
        values = read_yaml(path)
    except FileNotFoundError as error:
        raise MedlangevinError(f"config {path} does not exist; see configs/ for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MedlangevinError(f"config {path} cannot be read as a text file ({error})") from error
    raw = _drop_empty(values, schema)
    if not isinstance(raw, dict):
        raise MedlangevinError(f"config {path} is not a mapping of keys to values; see configs/ for examples")
    return raw


def parse_config(raw: dict[str, Any], *, source: str) -> Config:
    """Check a mapping against the schema. ``source`` is named in errors. Raises MedlangevinError."""
    return check(Config, raw, source=source)


def check(schema: type[Checked], raw: Any, *, source: str) -> Checked:
    """Check a mapping against any schema. ``source`` is named in errors. Raises MedlangevinError."""
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        problems = [_explain(item, schema) for item in error.errors()[:MOST_PROBLEMS]]
        more = error.error_count() - len(problems)
        problems += [f"and {more} more"] if more else []
        raise MedlangevinError(" ".join(f"{source}: {'; '.join(problems)}".split())) from error


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML text that ``load_config`` reads back to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested sections by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _drop_empty(value: Any, schema: type[BaseModel], location: tuple[str, ...] = ()) -> Any:
    """Without the known keys that have no value: ``training:`` with nothing below it means the defaults."""
    if not isinstance(value, dict):
        return value
    known = _keys_at(list(location), schema)
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


def _explain(error: Any, schema: type[BaseModel]) -> str:
    location = [_cut(str(part)) for part in error["loc"] if part != "[key]"]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        right = _keys_at(location[:-1], schema)
        nearest = difflib.get_close_matches(location[-1], right, n=1, cutoff=0.5)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"keys here: {', '.join(right)}"
        return f"unknown key '{key}'; {hint}"
    if error["type"] == "invalid_key":
        return f"unknown key '{location[0] if location else key}'; keys are words"
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    if error["type"] == "unused_key":
        return f"'{key}.{error['ctx']['key']}' {error['msg']}"
    message = error["msg"].removeprefix("Value error, ")
    given = None if error["type"] == "secret" else error.get("input")
    shown = f" (given: {_cut(repr(given))})" if isinstance(given, (str, int, float, bool)) else ""
    what = f"{message[:1].lower()}{message[1:]}{shown}"
    return f"'{key}': {what}" if key else what


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."


def _keys_at(location: list[str], schema: type[BaseModel]) -> list[str]:
    section = _section_at(location, schema)
    return [] if section is None else list(section.model_fields)


def _has_required_keys(location: list[str], schema: type[BaseModel]) -> bool:
    section = _section_at(location, schema)
    return section is not None and any(field.is_required() for field in section.model_fields.values())


def _section_at(location: list[str], schema: type[BaseModel]) -> type[BaseModel] | None:
    annotation: Any = schema
    for part in location:
        section = _section(annotation)
        if section is not None:
            field = section.model_fields.get(part)
            annotation = field.annotation if field else None
        else:  # a mapping of names of the user's own to sections
            annotation = get_args(annotation)[1] if get_origin(annotation) is dict else None
    return _section(annotation)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a value is, or may be."""
    kinds = (annotation,) if get_origin(annotation) is dict else (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
