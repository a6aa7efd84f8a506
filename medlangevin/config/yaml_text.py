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
# Values and keys with every alias written out: without a limit nine lines make a billion ("billion laughs").
MOST_NODES = 10_000


def read_yaml(path: Path, *, aliases: bool = False) -> Any:
    """The values in a YAML file.

    Args:
        path: The file.
        aliases: Whether it may hold aliases.

    Returns:
        Mappings, lists and plain values.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is not text.
        MedlangevinError: As from ``parse_yaml``.
    """
    return parse_yaml(read_bounded(path, MOST_BYTES), str(path), aliases=aliases)


def parse_yaml(text: str, where: str, *, aliases: bool = False) -> Any:
    """The values in a text.

    Args:
        text: The text.
        where: What errors name as its origin.
        aliases: Whether it may hold anchors and aliases, as what the user wrote may.

    Returns:
        Mappings, lists and plain values.

    Raises:
        MedlangevinError: One line, for what is not YAML, and for what no configuration needs: a key given twice, tags,
            NUL characters, more than 40 levels, numbers of more than 64 bits, aliases that may not be or that write
            out to more than 10,000 values or contain themselves.
    """
    try:
        _refuse_what_no_configuration_needs(text, where, aliases=aliases)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _resolve(node, where, {})
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        detail = " ".join(str(error).split())
        raise MedlangevinError(f"{where} is not valid YAML: {detail}") from error


def _refuse_what_no_configuration_needs(text: str, where: str, *, aliases: bool) -> None:
    """Event by event, so that it ends where the trouble begins."""
    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) and not aliases:
            raise MedlangevinError(f"{where}: YAML aliases (*name) are not supported; write the value out")
        if getattr(event, "tag", None) is not None:  # without tags there are no objects
            raise MedlangevinError(f"{where}: YAML tags (!name) are not supported; write the plain value")
        if isinstance(event, yaml.ScalarEvent) and "\0" in event.value:
            raise MedlangevinError(f"{where}: a value holds a NUL character; remove it")
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            raise _too_deep(where)


def _resolve(node: yaml.Node, where: str, known: dict[yaml.Node, tuple[int, int] | None]) -> tuple[int, int]:
    """Merge what ``<<`` names; how many nodes and levels there are with aliases written out, which are bounded.

    ``known``: the sizes of what was seen before, so that an alias takes no time; None for what is around ``node``.
    """
    if node in known:
        size = known[node]
        if size is None:
            raise MedlangevinError(f"{where}: a YAML alias (*name) stands inside what it names; write the value out")
        return size
    known[node] = None
    below = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    sizes = [_resolve(part, where, known) for part in below] if isinstance(node, yaml.CollectionNode) else []
    count, levels = 1 + sum(size for size, _ in sizes), 1 + max((level for _, level in sizes), default=0)
    if count > MOST_NODES:
        raise MedlangevinError(f"{where} holds more than {MOST_NODES} values with its aliases written out; shorten it")
    if levels > MOST_LEVELS + 1:  # a value is no level
        raise _too_deep(where)
    if isinstance(node, yaml.MappingNode):
        _merge(node)
    known[node] = count, levels
    return count, levels


def _merge(node: yaml.MappingNode) -> None:
    """Put the mappings that ``<<`` names in its place: of equal keys the node's own wins, then the first one's.

    PyYAML does this as well, but forgets what a merged mapping had changed; and it lets the last of two equal keys win
    in silence.
    """
    own: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        name = _name(key)
        if name in own:
            raise yaml.constructor.ConstructorError(None, None, f"key '{name}' is given twice", node.start_mark)
        own[name] = key, value
    merged: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
    for name, (key, value) in list(own.items()):
        if key.tag != "tag:yaml.org,2002:merge":
            continue
        del own[name]
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                raise yaml.constructor.ConstructorError(None, None, "<< takes mappings", node.start_mark)
            merged = {_name(inner): (inner, item) for inner, item in source.value} | merged
    node.value = [*(pair for name, pair in merged.items() if name not in own), *own.values()]


def _name(key: yaml.Node) -> Any:
    return key.value if isinstance(key, yaml.ScalarNode) else key


def _too_deep(where: str) -> MedlangevinError:
    return MedlangevinError(f"{where} is nested more than {MOST_LEVELS} levels deep; see configs/ for examples")


class _Loader(yaml.SafeLoader):
    """PyYAML makes integers of any length."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node) if len(node.value) <= MOST_DIGITS else None
        if value is None or abs(value) >= 2**63:
            raise yaml.constructor.ConstructorError(None, None, "a number of more than 64 bits", node.start_mark)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
