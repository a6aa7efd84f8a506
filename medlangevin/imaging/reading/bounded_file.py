"""What a DICOM file claims, checked before a decoder believes it.

First the file as a whole (length fields, deflated data), then the pixel element (is it complete?), then one compressed
frame (the size in the codec's own header). Otherwise a damaged number makes decoders crash, hang or take gigabytes.
"""

import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from pydicom import uid
from pydicom.filereader import read_dataset

from medlangevin.imaging.reading.rejection import FLOAT_PIXELS, NO_PIXELS, TRUNCATED, Reason

PYDICOM_LOG = logging.getLogger("pydicom")
PREAMBLE = 132
INFLATED_LIMIT = 2**30
PIXEL_DATA = {"little": b"\xe0\x7f\x10\x00", "big": b"\x7f\xe0\x00\x10"}
# Float Pixel Data and Double Float Pixel Data.
FLOAT_DATA = {b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\x7f\xe0\x00\x08", b"\x7f\xe0\x00\x09"}
# Value representations whose length of four bytes follows two reserved ones.
LONG_VRS = {b"OB", b"OW", b"UN"}
UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
JPEG_2000 = {uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
# JPEG (lossless processes 14 and 14.1) and JPEG-LS.
JPEG = {uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless}
JPEG_LS = {uid.JPEGLSLossless, uid.JPEGLSNearLossless}
MAX_TILES = 65535
# Second bytes of markers. 0xC4, 0xC8 and 0xCC begin no frame.
START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
LOSSLESS_FRAME, JPEG_LS_FRAME, START_OF_SCAN, START_OF_TILE = 0xC3, 0xF7, 0xDA, 0x90
COD = {0x52, 0x53}


class BoundedReader(io.BufferedReader):
    """A file whose ``read`` never sets aside more than what is left: a damaged length may say 4 GB."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(os.fspath(path)))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does.

        Args:
            size: How many bytes at most; all that are left without it.

        Returns:
            The bytes.
        """
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


@contextmanager
def open_dicom(path: Path) -> Iterator[BinaryIO]:
    """Open a DICOM file at its start.

    Inside, pydicom neither warns nor logs, as it repeats values of the header: read and interpret here.

    Args:
        path: The file.

    Yields:
        The file, read within bounds.

    Raises:
        ValueError: The file is deflated and holds more than 1 GiB.
    """
    with warnings.catch_warnings(), BoundedReader(path) as stream:
        warnings.simplefilter("ignore")
        was_disabled, PYDICOM_LOG.disabled = PYDICOM_LOG.disabled, True
        try:
            if _is_deflated(stream) and not _inflates_within_limit(stream):
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
    if uid.DeflatedExplicitVRLittleEndian.encode() not in stream.read(4096):
        return False
    stream.seek(PREAMBLE)
    meta = read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2
    )
    return str(meta.get("TransferSyntaxUID", "")) == uid.DeflatedExplicitVRLittleEndian


def _inflates_within_limit(stream: BinaryIO) -> bool:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while part := stream.read(2**16):
        # 64 KiB inflate to 64 MiB at most.
        size += len(inflater.decompress(part))
        if size > INFLATED_LIMIT:
            return False
    return True


def pixel_problem(stream: BinaryIO, *, explicit: bool, little_endian: bool, expected_bytes: int) -> Reason | None:
    """Say why the pixel data at the position of a file are incomplete.

    A decoder that fills up a truncated image with zeros would go unnoticed, so such a file is refused before.

    Args:
        stream: A file from ``open_dicom``, where the pixel data element begins.
        explicit: Whether elements name their value representation.
        little_endian: The order of bytes.
        expected_bytes: What the matrix, the frames and the bits of the header need without compression.

    Returns:
        The reason; None where the data are complete.
    """
    order: Literal["little", "big"] = "little" if little_endian else "big"
    if (element := stream.read(4)) != PIXEL_DATA[order]:
        return FLOAT_PIXELS if element in FLOAT_DATA else NO_PIXELS
    if explicit and stream.read(2) in LONG_VRS:
        stream.read(2)
    length = int.from_bytes(stream.read(4), order)
    size = os.fstat(stream.fileno()).st_size
    if length != UNDEFINED_LENGTH:
        complete = length >= expected_bytes and stream.tell() + length <= size
        return None if complete else TRUNCATED
    # Compressed: a row of items, closed by a delimiter that some writers leave out at the end of the file.
    while stream.tell() < size:
        kind, length = stream.read(4), int.from_bytes(stream.read(4), "little")
        if kind == DELIMITER:
            return None
        if kind != ITEM or stream.tell() + length > size:
            return TRUNCATED
        stream.seek(length, os.SEEK_CUR)
    return None


def frame_shape(code: bytes, syntax: str) -> tuple[int, int]:
    """Read the size of one compressed grey image from the codec's own header.

    Args:
        code: The code stream of one frame.
        syntax: UID of its transfer syntax: JPEG lossless, JPEG-LS, JPEG 2000 or HTJ2K.

    Returns:
        (rows, columns).

    Raises:
        ValueError: There is no grey image, or the codec is another.
    """
    if syntax not in JPEG_2000 | JPEG:
        raise ValueError("unknown compression")
    return _jpeg_2000_shape(code) if syntax in JPEG_2000 else _jpeg_shape(code)


def _jpeg_2000_shape(code: bytes) -> tuple[int, int]:
    """The SIZ segment (ISO 15444-1 A.5.1), which comes first; some writers put a JP2 file header before it."""
    start = code.find(b"\xff\x4f\xff\x51", 0, 512)
    if start < 0 or len(code) < start + 42:
        raise ValueError("no JPEG 2000 stream")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">8LH", code, start + 8
    )
    if components != 1 or not (tile_left <= left < right and tile_top <= top < bottom and tile_width and tile_height):
        raise ValueError("no grey image")
    if -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height) > MAX_TILES:
        raise ValueError("too many tiles")
    return bottom - top, right - left


def _jpeg_shape(code: bytes) -> tuple[int, int]:
    """The frame header (ITU T.81 B.2.2; JPEG-LS: T.87 C.2.2) behind other marker segments."""
    for marker, at in _segments(code, 2) if code[:2] == b"\xff\xd8" else ():
        if marker in START_OF_FRAME:
            rows, columns, components = struct.unpack_from(">HHB", code, at + 1)
            if components != 1 or not rows or not columns:
                raise ValueError("no grey image")
            return rows, columns
    raise ValueError("no JPEG stream")


def is_lossy(code: bytes, syntax: str) -> bool:
    """Tell whether a frame was compressed with loss, whatever its transfer syntax says.

    Args:
        code: The code stream of one frame, of which ``frame_shape`` is known.
        syntax: UID of its transfer syntax.

    Returns:
        True for the 9/7 wavelet of JPEG 2000, near-lossless JPEG-LS, JPEG by cosines or with a point transform.
    """
    if syntax in JPEG_2000:
        # The wavelet ends the fixed part of COD and COC (ISO 15444-1 A.6): 0 is 9/7, 1 the reversible 5/3.
        start = code.find(b"\xff\x4f\xff\x51", 0, 512) + 2
        wavelets = [code[at + {0x52: 9, 0x53: 6}[marker]] for marker, at in _segments(code, start) if marker in COD]
        return 0 in wavelets
    for marker, at in _segments(code, 2):
        if marker in START_OF_FRAME and marker not in (LOSSLESS_FRAME, JPEG_LS_FRAME):
            return True
        if marker == START_OF_SCAN:
            # Behind the components: NEAR of JPEG-LS (ITU T.87 C.2.3), or predictor, 0 and the point transform.
            near, _, transform = code[at + 1 + 2 * code[at] :][:3]
            return bool(near if syntax in JPEG_LS else transform & 0x0F)
    return False


def _segments(code: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Marker segments from a place on: the marker's second byte, and where what follows the length begins."""
    while at + 10 <= len(code) and code[at] == 0xFF:
        marker, length = code[at + 1], int.from_bytes(code[at + 2 : at + 4], "big")
        # 0xFF may fill up space before a marker.
        if marker != 0xFF:
            yield marker, at + 4
        if marker in (START_OF_SCAN, START_OF_TILE):
            return
        at += 1 if marker == 0xFF else 2 + length
