"""Values of a header as the file spells them: pydicom raises over a decimal comma, and keeps some numbers as text."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError

Tags: TypeAlias = pydicom.Dataset | Mapping[str, Any]
# Value representations whose numbers are stored as such, not as text.
BINARY = {"FD", "FL", "SL", "SS", "UL", "US", "US or SS"}


def raw_value(tags: Tags, name: str) -> Any:
    """Read a value without turning text into numbers.

    Args:
        tags: A header, or values by keyword as this function gives them.
        name: Keyword of the tag.

    Returns:
        The text where the file holds text; else what pydicom makes of it; None where the tag is absent.
    """
    if not isinstance(tags, pydicom.Dataset):
        return tags.get(name)
    element = tags.get_item(name)
    if element is None:
        return None
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        if (element.VR or dictionary_VR(name)) not in BINARY:
            return element.value.decode("latin-1").strip(" \0")
        return tags[name].value
    return element.value


def tag_text(tags: Tags, name: str) -> str:
    """Read a tag as text.

    Args:
        tags: A header, or values by keyword.
        name: Keyword of the tag.

    Returns:
        Its value; empty where it is absent or empty.
    """
    if isinstance(tags, pydicom.Dataset) and dictionary_VR(name) == "PN":
        return str(tags.get(name, "") or "")  # in the character set of the file
    value = raw_value(tags, name)
    return "" if value is None else joined_values(value)


def joined_values(value: Any) -> str:
    """Write one or several values of a tag as DICOM does.

    Args:
        value: A text, a number, a sequence or None.

    Returns:
        The values, parted by a backslash.
    """
    if isinstance(value, (list, tuple, MultiValue)):
        return "\\".join(str(item) for item in value)
    return "" if value is None else str(value)


def numbers(tags: Tags, name: str, unreadable: Reason) -> tuple[float, ...]:
    """Read a tag as numbers, with a decimal point or a decimal comma.

    Args:
        tags: A header, or values by keyword.
        name: Keyword of the tag.
        unreadable: Why the slice is not used where a value is not a finite number.

    Returns:
        The numbers; none where the tag is absent or empty.

    Raises:
        UnusableSeriesError: A value is not a finite number.
    """
    text = tag_text(tags, name).strip(" \0")
    try:
        found = tuple(_number(part) for part in text.split("\\")) if text else ()
    except ValueError as error:
        raise UnusableSeriesError(unreadable) from error
    if not all(map(math.isfinite, found)):
        raise UnusableSeriesError(unreadable)
    return found


def _number(text: str) -> float:
    # A comma beside a point, or two commas, may part thousands or values: who knows.
    return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
