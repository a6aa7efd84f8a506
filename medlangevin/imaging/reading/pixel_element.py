"""Whether a file holds all of its pixel data, seen from the lengths in it; nothing is decoded."""

import os
from typing import BinaryIO

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.rejection import Reason

UNDEFINED = 0xFFFFFFFF
ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
LONG_FORMS = {b"OB", b"OW", b"UN"}


def pixel_problem(stream: BinaryIO, *, explicit: bool, little_endian: bool, expected_bytes: int) -> Reason | None:
    """Why the pixel data at the position of ``stream`` are incomplete, or None.

    ``expected_bytes``: what the matrix, the frames and the bits of the header need without compression. A decoder
    that fills up a truncated image with zeros would go unnoticed, so such a file is refused before.
    """
    order = "little" if little_endian else "big"
    tag = stream.read(4)
    if tag != (b"\xe0\x7f\x10\x00" if little_endian else b"\x7f\xe0\x00\x10"):
        return rejection.NO_PIXELS
    if explicit and stream.read(2) in LONG_FORMS:
        stream.read(2)
    length = int.from_bytes(stream.read(4), order)  # type: ignore[arg-type]
    size = os.fstat(stream.fileno()).st_size
    if length != UNDEFINED:
        complete = length >= expected_bytes and stream.tell() + length <= size
        return None if complete else rejection.TRUNCATED
    # Compressed: a row of items, closed by a delimiter that some writers leave out at the end of the file.
    while stream.tell() < size:
        kind, length = stream.read(4), int.from_bytes(stream.read(4), "little")
        if kind == DELIMITER:
            return None
        if kind != ITEM or stream.tell() + length > size:
            return rejection.TRUNCATED
        stream.seek(length, os.SEEK_CUR)
    return None
