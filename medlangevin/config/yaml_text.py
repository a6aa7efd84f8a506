"""YAML text to plain values. Files come from strangers too: bounded in size, depth and numbers, and never code."""

from pathlib import Path
from typing import Any

import yaml

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_bounded

# Longer and deeper than any file of ours by a factor of ten; PyYAML takes minutes for a megabyte of brackets.
MOST_BYTES = 256 * 1024
MOST_LEVELS = 40
MOST_DIGITS = 40


def read_yaml(path: Path) -> Any:
    """The values in a YAML file. Raises OSError, UnicodeDecodeError, and MedlangevinError as ``parse_yaml`` does."""
    return parse_yaml(read_bounded(path, MOST_BYTES), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The values in ``text``; ``where`` is named in errors.

    Raises MedlangevinError, one line, for what is no YAML, and for what no configuration needs: a key given twice,
    aliases, tags, NUL characters, more than 40 levels, numbers of more than 64 bits.
    """
    try:
        _refuse_what_no_configuration_needs(text, where)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise MedlangevinError(f"{where} is not valid YAML: {detail}") from error


def _refuse_what_no_configuration_needs(text: str, where: str) -> None:
    """Event by event, so that it ends where the trouble begins."""
    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        # Without aliases there are no "billion laughs"; without tags, no objects.
        if isinstance(event, yaml.AliasEvent):
            raise MedlangevinError(f"{where}: YAML aliases (*name) are not supported; write the value out")
        if getattr(event, "tag", None) is not None:
            raise MedlangevinError(f"{where}: YAML tags (!name) are not supported; write the plain value")
        if isinstance(event, yaml.ScalarEvent) and "\0" in event.value:
            raise MedlangevinError(f"{where}: a value holds a NUL character; remove it")
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            raise MedlangevinError(f"{where} is nested more than {MOST_LEVELS} levels deep; see configs/ for examples")


class _Loader(yaml.SafeLoader):
    """PyYAML lets the last of two equal keys win in silence, and makes integers of any length."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node) if len(node.value) <= MOST_DIGITS else None
        if value is None or abs(value) >= 2**63:
            raise yaml.constructor.ConstructorError(None, None, "a number of more than 64 bits", node.start_mark)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
