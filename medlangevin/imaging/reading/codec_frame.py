"""What a compressed frame says of its own size, read before a native decoder sets memory aside for it."""

import struct

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
