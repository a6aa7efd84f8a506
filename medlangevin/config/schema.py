"""Which settings a schema has, where, and which kinds of a section have them: for messages and for the docs."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from medlangevin.config.model import KINDS, ModelConfig


class Place(NamedTuple):
    """What may stand at a key.

    Attributes:
        annotation: What its values are.
        discriminator: The setting that says which section stands there; None if there is one or none.
    """

    annotation: Any
    discriminator: str | None = None

    @property
    def is_union(self) -> bool:
        """Whether the sections of all kinds are known to pydantic, which then names the kind in its errors."""
        return self.discriminator is not None and self.annotation is not ModelConfig

    def sections(self) -> list[type[BaseModel]]:
        """The sections that may stand here, one a kind.

        Returns:
            None of them where there are only values.
        """
        return list(_sections(self.annotation))

    def named(self, key: str) -> "list[Place]":
        """What may stand at a key below.

        Args:
            key: The key.

        Returns:
            A place for each kind of section that has it.
        """
        if get_origin(self.annotation) is dict:  # of names of the user's own to sections
            return [Place(get_args(self.annotation)[1])]
        return [_place(section, key) for section in self.sections() if key in section.model_fields]

    def kinds(self) -> list[tuple[tuple[str, ...], type[BaseModel]]]:
        """Each section with the values of the discriminator that choose it.

        Returns:
            The values, and the section.
        """
        return [
            (get_args(section.model_fields[self.discriminator].annotation) if self.discriminator else (), section)
            for section in self.sections()
        ]


def places_at(keys: Iterable[str], schema: type[BaseModel]) -> list[Place]:
    """What may stand at a key of a schema.

    Args:
        keys: The key, part by part.
        schema: The section that the first part is in.

    Returns:
        A place for each kind of section around it that has the key; none if there is no such key.
    """
    places = [Place(schema)]
    for key in keys:
        places = [below for place in places for below in place.named(key)]
    return places


def keys_at(keys: Iterable[str], schema: type[BaseModel]) -> list[str]:
    """The keys that a section may have, whatever its kind.

    Args:
        keys: Where the section is, part by part.
        schema: The section that the first part is in.

    Returns:
        Them, each once.
    """
    sections = [section for place in places_at(keys, schema) for section in place.sections()]
    return list(dict.fromkeys(key for section in sections for key in section.model_fields))


def without_kinds(location: Iterable[str], schema: type[BaseModel]) -> list[str]:
    """pydantic's location of an error without the kinds that it puts behind the key of a section.

    Args:
        location: Keys and kinds, from the outside in.
        schema: The section that the first key is in.

    Returns:
        The keys.
    """
    kept: list[str] = []
    kinds: set[str] = set()
    for part in location:
        if part in kinds:
            kinds = set()
            continue
        kept.append(part)
        unions = [place for place in places_at(kept, schema) if place.is_union]
        kinds = {kind for place in unions for names, _ in place.kinds() for kind in names}
    return kept


def what_has(keys: list[str], schema: type[BaseModel]) -> str:
    """The kinds of sections that have a key, in words: ``kind: lae and langevin.update: langevin or mala``.

    Args:
        keys: The key, part by part.
        schema: The section that the first part is in.

    Returns:
        The words, empty if no kind has the key.
    """
    conditions = _conditions(Place(schema), keys, [])
    texts = (" and ".join(f"{name}: {' or '.join(kinds)}" for name, kinds in one.items()) for one in conditions)
    return ", or with ".join(texts)


def all_sections(schema: type[BaseModel]) -> dict[str, list[type[BaseModel]]]:
    """Every section of a schema, for tables of its settings.

    Args:
        schema: The outermost section.

    Returns:
        By dotted key, "" for ``schema`` itself, the section of each kind.
    """
    found: dict[str, list[type[BaseModel]]] = {}

    def add(place: Place, key: str) -> None:
        for section in place.sections():
            found[key] = list(dict.fromkeys([*found.get(key, []), section]))
            for name in section.model_fields:
                add(_place(section, name), f"{key}.{name}".lstrip("."))

    add(Place(schema), "")
    return found


def _conditions(place: Place, keys: list[str], around: list[str]) -> list[dict[str, tuple[str, ...]]]:
    """The values of discriminators under which there is a key; [{}] if there always is."""
    key, *rest = keys
    found: list[tuple[tuple[str, ...], list[dict[str, tuple[str, ...]]]]] = []
    for kinds, section in place.kinds():
        below: list[dict[str, tuple[str, ...]]] = [{}] if key in section.model_fields else []
        if below and rest:
            below = _conditions(_place(section, key), rest, [*around, key])
        same = next((number for number, (_, other) in enumerate(found) if other == below), None)
        if same is None:
            found.append((kinds, below))
        else:
            found[same] = (found[same][0] + kinds, below)
    if place.discriminator is None or len(found) == 1:
        return [condition for _, below in found for condition in below]
    name = ".".join([*around[1:], place.discriminator])
    every = tuple(kind for kinds, _ in found for kind in kinds)
    return [{name: _few(kinds, every)} | condition for kinds, below in found for condition in below]


def _few(kinds: tuple[str, ...], every: tuple[str, ...]) -> tuple[str, ...]:
    """Kinds in few words, where they are all but one of many."""
    others = [kind for kind in every if kind not in kinds]
    return (f"any but {others[0]}",) if len(others) == 1 and len(kinds) > 2 else kinds


def _place(section: type[BaseModel], key: str) -> Place:
    field = section.model_fields[key]
    is_model = field.annotation is ModelConfig
    return Place(field.annotation, "kind" if is_model else str(field.discriminator) if field.discriminator else None)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if annotation is ModelConfig:
        yield from KINDS.values()
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not dict:
        for part in get_args(annotation):
            yield from _sections(part)
