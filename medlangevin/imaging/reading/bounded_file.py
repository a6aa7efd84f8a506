"""A DICOM file opened for reading such that no number in it can ask for more memory than the file is long."""

import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.rejection import Reason

INFLATED_LIMIT = 2**30
PREAMBLE = 132
PYDICOM_LOG = logging.getLogger("pydicom")


class BoundedReader(io.BufferedReader):
    """A file whose ``read`` never sets aside more than what is left: a damaged length may say 4 GB."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(os.fspath(path)))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


@contextmanager
def open_dicom(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` at its start. Raises ValueError when it is deflated and holds more than 1 GiB.

    Inside, pydicom neither warns nor logs, as it repeats values of the header: read and interpret here.
    """
    with warnings.catch_warnings(), BoundedReader(path) as stream:
        warnings.simplefilter("ignore")
        was_disabled, PYDICOM_LOG.disabled = PYDICOM_LOG.disabled, True
        try:
            if _is_deflated(stream) and not _fits(stream):
                raise ValueError("more than 1 GiB when inflated")
            stream.seek(0)
            yield stream
        finally:
            PYDICOM_LOG.disabled = was_disabled


def _is_deflated(stream: BinaryIO) -> bool:
    """Leaves ``stream`` behind the file meta group."""
    start = stream.read(PREAMBLE)
    if start[-4:] != b"DICM":
        return False
    # Most files are told without parsing anything.
    if DeflatedExplicitVRLittleEndian.encode() not in stream.read(4096):
        return False
    stream.seek(PREAMBLE)
    meta = read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2
    )
    return str(meta.get("TransferSyntaxUID", "")) == DeflatedExplicitVRLittleEndian


def _fits(stream: BinaryIO) -> bool:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while part := stream.read(2**16):
        # 64 KiB inflate to 64 MiB at most.
        size += len(inflater.decompress(part))
        if size > INFLATED_LIMIT:
            return False
    return True


JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
# JPEG (lossless processes 14 and 14.1) and JPEG-LS.
JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 81)}
MOST_TILES = 65535


def frame_shape(code: bytes, syntax: str) -> tuple[int, int]:
    """(rows, columns) of one grey image. Raises ValueError when there is none, or the codec is another."""
    if syntax in JPEG_2000:
        return _jpeg_2000(code)
    if syntax in JPEG:
        return _jpeg(code)
    raise ValueError("unknown compression")


def _jpeg_2000(code: bytes) -> tuple[int, int]:
    """The SIZ segment (ISO 15444-1 A.5.1), which comes first; some writers put a JP2 file header before it."""
    start = code.find(b"\xff\x4f\xff\x51", 0, 512)
    if start < 0 or len(code) < start + 42:
        raise ValueError("no JPEG 2000 stream")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">8LH", code, start + 8
    )
    if components != 1 or not (tile_left <= left < right and tile_top <= top < bottom and tile_width and tile_height):
        raise ValueError("no grey image")
    if -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height) > MOST_TILES:
        raise ValueError("too many tiles")
    return bottom - top, right - left


def _jpeg(code: bytes) -> tuple[int, int]:
    """The frame header (ITU T.81 B.2.2; JPEG-LS: T.87 C.2.2) behind other marker segments."""
    at = 2
    while code[:2] == b"\xff\xd8" and at + 10 <= len(code) and code[at] == 0xFF:
        marker, length = code[at + 1], int.from_bytes(code[at + 2 : at + 4], "big")
        # Start-of-frame markers; 0xC4, 0xC8 and 0xCC are others, 0xF7 is that of JPEG-LS.
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns, components = struct.unpack_from(">HHB", code, at + 5)
            if components != 1 or not rows or not columns:
                raise ValueError("no grey image")
            return rows, columns
        # 0xFF may fill up space before a marker.
        at += 1 if marker == 0xFF else 2 + length
    raise ValueError("no JPEG stream")


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
