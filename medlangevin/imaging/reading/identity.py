"""Whose a slice is: ids where they can be trusted, then study, series and folder. What decided is said.

Anonymised exports often give everybody one placeholder id and no birth date. Taking such scans for one person's would
lose all but two ears; taking two studies of one person for two persons' is the smaller harm. Some anonymisers also
write one constant for every UID, remove them, or renew them in every file: then where files lie decides.
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medlangevin.imaging.reading.birth_date import NOT_UNDERSTOOD
from medlangevin.imaging.reading.rejection import (
    BIRTH_DATE,
    PERSON_BY_FOLDER,
    PERSON_BY_SERIES,
    RENEWED_UIDS,
    SHARED_IDS,
    Reason,
    UnusableSeriesError,
)
from medlangevin.imaging.reading.slice_header import SliceHeader
from medlangevin.imaging.reading.slice_pixels import read_slice
from medlangevin.imaging.reading.slice_spacing import heights

# So many slices with a series UID each are one series whose UIDs were renewed; fewer are too thin for a cochlea.
FEWEST_RENEWED = 10
# Blocks of one scan lie on one line, and the next begins about a slice distance behind the last.
SAME_LINE_MM, MOST_STEPS = 0.5, 3.0
COMPARED = 3
# By person and series UID.
Doubts: TypeAlias = dict[tuple[str, str], tuple[Reason, ...]]
IS_SURE = re.compile(r"(id|name):.+\|born:.*\d", re.DOTALL)


def with_persons(slices: Iterable[SliceHeader], raw: Path) -> tuple[list[SliceHeader], Doubts]:
    """Decide whose each slice is.

    Args:
        slices: As their headers say.
        raw: The folder of the scans.

    Returns:
        The slices with what tells persons apart as ``person`` and a series UID each; and what is to be said of series,
        by person and series UID.
    """
    doubts: dict[tuple[str, str], dict[Reason, None]] = {}
    held: dict[str, str] = {}
    known: list[SliceHeader] = []
    for item, said in _with_series(list(slices), raw):
        person, decided = _person(item)
        # Held once: an export may hold a million slices.
        person = held.setdefault(person, person)
        known.append(replace(item, person=person))
        doubts.setdefault((person, item.series_uid), {}).update(dict.fromkeys((*said, *decided)))
    parted = []
    for group in _groups(known, lambda item: (item.person, item.study_uid, item.series_uid)):
        scans = _scans(group)
        for scan in scans:
            if len(scans) > 1:
                folder = f"|folder:{_name(scan[0].path.parent, raw)}"
                person, uid = scan[0].person + folder, scan[0].series_uid + folder
                doubts[person, uid] = doubts[scan[0].person, scan[0].series_uid] | {SHARED_IDS: None}
                scan = [replace(item, person=person, series_uid=uid) for item in scan]
            parted += scan
    return parted, {key: tuple(said) for key, said in doubts.items()}


def _person(item: SliceHeader) -> tuple[str, list[Reason]]:
    """What tells the person from others, and what is to be said of it."""
    identity = item.person
    if IS_SURE.fullmatch(identity):
        return f"{identity}|study:", []
    said = [BIRTH_DATE] if identity.endswith(NOT_UNDERSTOOD) else []
    identity = identity.removesuffix(NOT_UNDERSTOOD)
    if item.study_uid:
        return f"{identity}|study:{item.study_uid}", said
    by_folder = item.series_uid.startswith("folder:")
    return f"{identity}|study:|{item.series_uid}", [*said, PERSON_BY_FOLDER if by_folder else PERSON_BY_SERIES]


def _with_series(slices: list[SliceHeader], raw: Path) -> list[tuple[SliceHeader, list[Reason]]]:
    """Give a series UID to slices without one, and the same one to those of a folder that have one each."""
    times = Counter((item.person, item.study_uid, item.series_uid) for item in slices)
    single = [item for item in slices if times[item.person, item.study_uid, item.series_uid] == 1]
    renewed: dict[int, SliceHeader] = {}
    for group in _groups(single, lambda item: (item.path.parent, item.shape)):
        by_person = _groups(group, lambda item: item.person)
        rest = [item for part in by_person if len(part) < FEWEST_RENEWED for item in part]
        for part in [part for part in by_person if len(part) >= FEWEST_RENEWED] + [rest]:
            places = {_place(item) for item in part}
            # What lies at one place, as the images that wait for a contrast agent, is no volume.
            if len(part) >= FEWEST_RENEWED and len(places) == len(part):
                study = part[0].study_uid if len({item.study_uid for item in part}) == 1 else ""
                person = part[0].person if part is not rest else "name:|born:"
                renewed |= {id(item): replace(item, person=person, study_uid=study, series_uid="") for item in part}
    found, uids = [], {item.series_uid: item.series_uid for item in slices}
    for item in slices:
        now = renewed.get(id(item), item)
        # Without a series UID, files that lie together belong together.
        uid = now.series_uid or f"folder:{_name(item.path.parent, raw)}"
        uid = uids.setdefault(uid, uid)
        found.append(
            (
                now if now.series_uid == uid else replace(now, series_uid=uid),
                [RENEWED_UIDS] if id(item) in renewed else [],
            )
        )
    return found


def _scans(group: list[SliceHeader]) -> list[list[SliceHeader]]:
    """The slices of one series by folder, where these are not parts or copies of one scan."""
    scans: list[list[SliceHeader]] = []
    for folder in _groups(group, lambda item: item.path.parent):
        for scan in scans:
            if _is_same_scan(scan, folder):
                scan += folder
                break
        else:
            scans.append(list(folder))
    return scans


def _is_same_scan(one: Sequence[SliceHeader], other: Sequence[SliceHeader]) -> bool:
    """Whether two folders hold one series under one UID, and not two scans that an anonymiser gave the same."""
    first = one[0]
    if not any(_same_grid(first, item) for item in other):
        return False
    places = {_place(item): item for item in one}
    named = {(item.instance_uid, item.frame): _place(item) for item in one if item.instance_uid}
    for item in other:
        # A UID that two places have identifies nothing.
        if named.get((item.instance_uid, item.frame), place := _place(item)) != place:
            return False
    pairs = [(places[at], item) for item in other if (at := _place(item)) in places]
    if not pairs:
        return _on_one_line(one, other)
    if not {item.acquisition for item in one} & {item.acquisition for item in other} and IS_SURE.match(first.person):
        return True
    return all(_show_the_same(*pair) for pair in pairs[:: max(1, len(pairs) // COMPARED)])


def _same_grid(one: SliceHeader, other: SliceHeader) -> bool:
    turned = np.abs(np.subtract(one.orientation, other.orientation)).max()
    scaled = np.abs(np.divide(one.spacing_mm, other.spacing_mm) - 1).max()
    return bool(one.shape == other.shape and turned < 1e-3 and scaled < 1e-3)


def _show_the_same(one: SliceHeader, other: SliceHeader) -> bool:
    try:
        return bool(np.array_equal(read_slice(one), read_slice(other)))
    except UnusableSeriesError:
        # What cannot be decoded is said where the series is read.
        return True


def _on_one_line(one: Sequence[SliceHeader], other: Sequence[SliceHeader]) -> bool:
    """Whether slices at other places go on where the first end, or lie between them."""
    points, others = (_sorted_positions(part) for part in (one, other))
    row, column = np.reshape(one[0].orientation, (2, 3))
    axis = points[-1] - points[0] if len(points) > 1 else np.cross(row, column)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
    offsets = others - points[0]
    aside = np.linalg.norm(offsets - np.outer(offsets @ axis, axis), axis=1).max()
    along = [np.sort((part - points[0]) @ axis) for part in (points, others)]
    steps = [float(np.median(np.diff(part))) for part in along if len(part) > 1]
    apart = max(along[1][0] - along[0][-1], along[0][0] - along[1][-1])
    return bool(aside < SAME_LINE_MM and (not steps or apart < MOST_STEPS * max(steps)))


def _sorted_positions(slices: Sequence[SliceHeader]) -> NDArray[np.float64]:
    positions = np.array([item.position for item in slices], dtype=np.float64)
    return positions[np.argsort(heights(slices), kind="stable")]


def _place(item: SliceHeader) -> tuple[float, ...]:
    """Where a slice lies, to 0.01 mm."""
    return tuple(np.round(item.position, 2))


def _groups(items: Iterable[SliceHeader], key: Callable[[SliceHeader], Hashable]) -> list[list[SliceHeader]]:
    groups: dict[Hashable, list[SliceHeader]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _name(folder: Path, raw: Path) -> str:
    """A name in another encoding than the system's must still go through a hash."""
    return folder.relative_to(raw).as_posix().encode(errors="backslashreplace").decode()
