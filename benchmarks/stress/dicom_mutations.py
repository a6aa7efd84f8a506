"""Ways to damage a DICOM file: each takes a random generator and a whole file and gives the bytes of a damaged one.

Files are taken apart by a parser of their own, as a DICOM library would mend or refuse what is to be written.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
SYNTAXES = [
    *(IMPLICIT, "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.5"),
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201)),
    *("1.2.840.10008.1.2.8.1", "9.9", "", "x" * 200),
]
LONG_VRS = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UT", b"UN", b"UC", b"UR", b"SV", b"UV"}
VRS = [b"DS", b"IS", b"US", b"SS", b"UL", b"FD", b"FL", b"LO", b"UI", b"CS", b"PN", b"AT", b"XX", b"\0\0", *LONG_VRS]
UNDEFINED = 0xFFFFFFFF
PIXEL_DATA, POSITION, ORIENTATION, SPACING = (0x7FE0, 0x10), (0x20, 0x32), (0x20, 0x37), (0x28, 0x30)
ROWS, COLUMNS, FRAMES, SLOPE, INTERCEPT = (0x28, 0x10), (0x28, 0x11), (0x28, 0x8), (0x28, 0x1053), (0x28, 0x1052)
PADDING, SYNTAX = (0x28, 0x120), (0x2, 0x10)
ALLOCATED, STORED, HIGH_BIT, SIGNED, SAMPLES = ((0x28, number) for number in (0x100, 0x101, 0x102, 0x103, 0x2))
SHORTS = [ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT, SIGNED, SAMPLES, PADDING]
TEXTS = [POSITION, ORIENTATION, SPACING, SLOPE, INTERCEPT, FRAMES]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Element:
    """``length``: what the length field says, where that is not the length of ``value``."""

    tag: tuple[int, int]
    vr: bytes
    value: bytes
    length: int | None = None


@dataclass(frozen=True)
class File:
    """A DICOM file taken apart."""

    preamble: bytes
    meta: tuple[Element, ...]
    body: tuple[Element, ...]

    @property
    def syntax(self) -> str:
        return next(e.value for e in self.meta if e.tag == SYNTAX).decode().strip("\0 ")

    @property
    def order(self) -> str:
        return ">" if self.syntax == BIG_ENDIAN else "<"


def parse(data: bytes) -> File:
    """A sound file with defined lengths (pixel data excepted) taken apart."""
    meta, rest = _elements(data[132:], "<", implicit=False, only_group=2)
    found = File(data[:132], meta, ())
    if found.syntax == DEFLATED:
        rest = zlib.decompress(rest, -zlib.MAX_WBITS)
    body, _ = _elements(rest, found.order, implicit=found.syntax == IMPLICIT)
    return replace(found, body=body)


def build(file: File, syntax: str | None = None) -> bytes:
    """The bytes of a file. ``syntax``: how it was encoded, where the header now says otherwise."""
    syntax = file.syntax if syntax is None else syntax
    order = ">" if syntax == BIG_ENDIAN else "<"
    body = b"".join(_encode(e, order, implicit=syntax == IMPLICIT) for e in file.body)
    if syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return file.preamble + b"".join(_encode(e, "<", implicit=False) for e in file.meta) + body


def _elements(
    data: bytes, order: str, *, implicit: bool, only_group: int | None = None
) -> tuple[tuple[Element, ...], bytes]:
    found, at = [], 0
    while at + 8 <= len(data):
        tag = struct.unpack_from(order + "HH", data, at)
        if only_group is not None and tag[0] != only_group:
            break
        vr = b"" if implicit else data[at + 4 : at + 6]
        if implicit:
            (length,), start = struct.unpack_from(order + "L", data, at + 4), at + 8
        elif vr in LONG_VRS:
            (length,), start = struct.unpack_from(order + "L", data, at + 8), at + 12
        else:
            (length,), start = struct.unpack_from(order + "H", data, at + 6), at + 8
        end = len(data) if length == UNDEFINED else start + length
        found.append(Element(tag, vr, data[start:end], length if length == UNDEFINED else None))
        at = end
    return tuple(found), data[at:]


def _encode(element: Element, order: str, *, implicit: bool) -> bytes:
    length = len(element.value) if element.length is None else element.length
    head = struct.pack(order + "HH", *element.tag)
    if implicit:
        return head + struct.pack(order + "L", length & UNDEFINED) + element.value
    if element.vr in LONG_VRS:
        return head + element.vr + b"\0\0" + struct.pack(order + "L", length & UNDEFINED) + element.value
    return head + element.vr + struct.pack(order + "H", length & 0xFFFF) + element.value


def _changed(file: File, tag: tuple[int, int], **changes: Any) -> File:
    return replace(file, body=tuple(replace(e, **changes) if e.tag == tag else e for e in file.body))


def _added(file: File, *elements: Element) -> File:
    return replace(file, body=tuple(sorted((*file.body, *elements), key=lambda e: e.tag)))


def _value(file: File, tag: tuple[int, int]) -> bytes:
    return next((e.value for e in file.body if e.tag == tag), b"")


def _any(rng: np.random.Generator, items: list[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def _header_length(file: File) -> int:
    return len(build(replace(file, body=tuple(e for e in file.body if e.tag != PIXEL_DATA))))


def _flip(rng: np.random.Generator, data: bytes, start: int, stop: int) -> bytes:
    damaged = bytearray(data)
    for at in rng.integers(start, max(start + 1, stop), size=int(rng.integers(1, 9))):
        damaged[min(int(at), len(damaged) - 1)] ^= int(rng.integers(1, 256))
    return bytes(damaged)


def flip_header(rng: np.random.Generator, file: File) -> bytes:
    """Bits of the header, file meta group and preamble included."""
    return _flip(rng, build(file), 128, _header_length(file))


def flip_pixels(rng: np.random.Generator, file: File) -> bytes:
    """Bits of the pixel data, which may be a compressed stream."""
    data = build(file)
    return _flip(rng, data, _header_length(file), len(data))


def flip_stream_head(rng: np.random.Generator, file: File) -> bytes:
    """Bits of the first bytes of the pixel data: item tags, offset tables, codec headers."""
    start = _header_length(file)
    return _flip(rng, build(file), start, start + 150)


def drop_tag(rng: np.random.Generator, file: File) -> bytes:
    """One element, or the file meta group, is not there."""
    if rng.random() < 0.1:
        return file.preamble + build(file)[132 + sum(len(_encode(e, "<", implicit=False)) for e in file.meta) :]
    tag = _any(rng, [e.tag for e in file.body])
    return build(replace(file, body=tuple(e for e in file.body if e.tag != tag)))


def change_length(rng: np.random.Generator, file: File) -> bytes:
    """The length field of one element is wrong."""
    at = int(rng.integers(len(file.body)))
    true = len(file.body[at].value)
    length = _any(
        rng, [0, 1, true - 1, true + 1, true + 2, true * 2, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED]
    )
    body = list(file.body)
    body[at] = replace(body[at], length=length)
    return build(replace(file, body=tuple(body)))


TEXT_VALUES = [
    *("", " ", "NaN", "nan\\nan", "inf", "-inf", "1e308", "-1e308", "0", "-0", "1e-300", "999999999999", "abc", "1,5"),
    *(
        "0\\0",
        "0\\0\\0",
        "0\\0\\0\\0\\0\\0",
        "1\\2\\3\\4\\5\\6\\7",
        "\\\\",
        "1e400\\1\\1",
        "0.3\\-0.3",
        "1\\0\\0\\1\\0\\0",
    ),
    *(
        "1\\0\\0\\0\\1\\1e-9",
        "nan\\0\\0\\0\\1\\0",
        "0.3\\1e308",
        "0x10",
        "1e5\\1e5\\1e5",
        "2",
        "0.5 ",
        "-1",
        "1\\2",
        "5" * 300,
    ),
]


def extreme_value(rng: np.random.Generator, file: File) -> bytes:
    """A number that the volume depends on is extreme, empty, multi-valued or no number."""
    if rng.random() < 0.6:
        tag = _any(rng, TEXTS)
        value = _any(rng, TEXT_VALUES).encode()
        value += b" " * (len(value) % 2)
        vr = b"IS" if tag == FRAMES else b"DS"
    else:
        tag = _any(rng, SHORTS)
        numbers = _any(rng, [[], [0], [1], [2], [7], [8], [32], [64], [255], [32768], [65535], [16, 16], [36, 65535]])
        value = struct.pack(f"{file.order}{len(numbers)}H", *numbers) + b"\0" * int(rng.random() < 0.1)
        vr = b"US"
    here = any(e.tag == tag for e in file.body)
    return build(_changed(file, tag, value=value) if here else _added(file, Element(tag, vr, value)))


def nudge(rng: np.random.Generator, file: File) -> bytes:
    """A number that the volume depends on is another, believable one."""
    tag = _any(rng, [POSITION, POSITION, ORIENTATION, SPACING, SLOPE, INTERCEPT])
    numbers = np.array([float(text) for text in _value(file, tag).decode().split("\\")])
    size = 10.0 ** rng.uniform(-2, 1)
    if tag == ORIENTATION:
        angle = rng.uniform(0.01, 1.0)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        turn = np.roll(turn, int(rng.integers(3)), axis=(0, 1))
        numbers = (numbers.reshape(2, 3) @ turn.T).ravel()
    elif tag in (SPACING, SLOPE):
        numbers = numbers * (1 + size * rng.choice([-0.5, 1.0]))
    elif tag == INTERCEPT:
        numbers = numbers + rng.choice([-1, 1]) * size * 200
    else:
        numbers[rng.integers(len(numbers))] += rng.choice([-1, 1]) * size
    text = "\\".join(f"{number:.9g}" for number in numbers).encode()
    return build(_changed(file, tag, value=text + b" " * (len(text) % 2)))


def change_short(rng: np.random.Generator, file: File) -> bytes:
    """Signedness, bits, padding or the matrix are other believable ones."""
    rows, columns = _value(file, ROWS), _value(file, COLUMNS)
    choice = int(rng.integers(6))
    if choice == 0:
        return build(_changed(_changed(file, ROWS, value=columns), COLUMNS, value=rows))
    if choice == 1:
        signed = struct.unpack(file.order + "H", _value(file, SIGNED))[0]
        return build(_changed(file, SIGNED, value=struct.pack(file.order + "H", 1 - signed)))
    if choice == 2:
        bits = int(rng.choice([8, 10, 11, 12, 14]))
        file = _changed(file, STORED, value=struct.pack(file.order + "H", bits))
        return build(_changed(file, HIGH_BIT, value=struct.pack(file.order + "H", bits - 1)))
    if choice == 3:
        return build(_changed(file, HIGH_BIT, value=struct.pack(file.order + "H", int(rng.integers(16)))))
    if choice == 4:
        return build(_added(file, Element(PADDING, b"US", struct.pack(file.order + "H", int(rng.integers(3000))))))
    tag = ROWS if rng.random() < 0.5 else COLUMNS
    return build(_changed(file, tag, value=struct.pack(file.order + "H", int(rng.integers(1, 80)))))


def change_vr(rng: np.random.Generator, file: File) -> bytes:
    """The type of one element is another."""
    if file.syntax == IMPLICIT:
        return flip_header(rng, file)
    tag = _any(rng, [e.tag for e in file.body] + TEXTS + SHORTS)
    return build(_changed(file, tag, vr=_any(rng, VRS)))


def truncate(rng: np.random.Generator, file: File) -> bytes:
    """The file ends early."""
    data = build(file)
    return data[: int(rng.integers(len(data)))]


def swap_syntax(rng: np.random.Generator, file: File) -> bytes:
    """The header names another transfer syntax than the data are in."""
    named = _any(rng, [s for s in SYNTAXES if s != file.syntax]).encode()
    named += b"\0" * (len(named) % 2)
    return build(
        replace(file, meta=tuple(replace(e, value=named) if e.tag == SYNTAX else e for e in file.meta)), file.syntax
    )


def cut_pixels(rng: np.random.Generator, file: File) -> bytes:
    """Pixel data shorter or longer than the matrix, odd, empty, twice, or of another number of frames."""
    value = _value(file, PIXEL_DATA)
    choice = int(rng.integers(6))
    if choice == 5:
        return build(_added(file, Element(FRAMES, b"IS", _any(rng, ["2 ", "0 ", "99999999", "-1"]).encode())))
    cut = [
        b"",
        value[: int(rng.integers(len(value)))],
        value + value,
        value + b"\0" * 7,
        value[: len(value) // 2 * 2 - 2],
    ]
    return build(_changed(file, PIXEL_DATA, value=cut[choice]))


def nest(rng: np.random.Generator, file: File) -> bytes:
    """Sequences within sequences, with defined or undefined lengths, closed or not."""
    depth = _any(rng, [1, 3, 40, 400, 2000, 20000])
    order, implicit = file.order, file.syntax == IMPLICIT
    content = b""
    if rng.random() < 0.5:
        tag = struct.pack(order + "HHHHL", 0xFFFE, 0xE000, 0x0, 0x0, 0)[:4] + struct.pack(order + "L", UNDEFINED)
        head = _encode(Element((0x40, 0x275), b"SQ", b"", UNDEFINED), order, implicit=implicit)
        end = struct.pack(order + "HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        content = (tag + head) * depth + end * (depth if rng.random() < 0.7 else 0)
        content = tag + content if rng.random() < 0.1 else content
        return build(_added(file, Element((0x40, 0x275), b"SQ", content, UNDEFINED)))
    for _ in range(min(depth, 400)):
        inner = _encode(Element((0x40, 0x275), b"SQ", content), order, implicit=implicit)
        content = struct.pack(order + "HHL", 0xFFFE, 0xE000, len(inner)) + inner
    return build(_added(file, Element((0x40, 0x275), b"SQ", content)))


def undefine_length(rng: np.random.Generator, file: File) -> bytes:
    """An ordinary element says that its length is undefined."""
    at = int(rng.integers(len(file.body)))
    vr = file.body[at].vr if rng.random() < 0.3 else _any(rng, [b"UN", b"OB", b"SQ", b"UT"])
    body = list(file.body)
    body[at] = replace(body[at], vr=vr, length=UNDEFINED)
    return build(replace(file, body=tuple(body)))


def repeat_tag(rng: np.random.Generator, file: File) -> bytes:
    """An element is there twice, with another value, before or after the true one."""
    tag = _any(rng, [POSITION, SPACING, SLOPE, INTERCEPT, ROWS, ORIENTATION, SIGNED])
    value = _value(file, tag)
    if tag in (ROWS, SIGNED):
        other = struct.pack(file.order + "H", 1 if tag == SIGNED else 20)
    else:
        numbers = [float(text) + 2.5 for text in value.decode().split("\\")]
        other = "\\".join(f"{number:g}" for number in numbers).encode()
        other += b" " * (len(other) % 2)
    at = next(index for index, e in enumerate(file.body) if e.tag == tag) + int(rng.integers(2))
    return build(
        replace(file, body=(*file.body[:at], Element(tag, b"US" if len(other) == 2 else b"DS", other), *file.body[at:]))
    )


def shuffle(rng: np.random.Generator, file: File) -> bytes:
    """The elements are out of order."""
    return build(replace(file, body=tuple(file.body[index] for index in rng.permutation(len(file.body)))))


def not_dicom(rng: np.random.Generator, file: File) -> bytes:
    """Another file, a stub, or one that only starts like DICOM."""
    noise = rng.bytes(int(rng.integers(2000)))
    starts = [
        b"",
        b"\0" * 128 + b"DICM",
        b"PK\x03\x04",
        b"\x02\x00\x00\x00",
        b"\x08\x00\x05\x00CS",
        b"\x1f\x8b",
        file.preamble,
    ]
    return _any(rng, starts) + noise


def huge(rng: np.random.Generator, file: File) -> bytes:
    """A matrix, a number of frames or a codec's frame that would not fit into memory."""
    if rng.random() < 0.4 and file.syntax.startswith("1.2.840.10008.1.2.4"):
        data = bytearray(build(file))
        at = bytes(data).find(b"\xff\x51" if file.syntax.endswith("90") else b"\xff\xc3")
        # JPEG 2000: width and height, 32 bits each, 6 bytes after the marker; JPEG: 16 bits each, 5 bytes after it.
        if file.syntax.endswith("90"):
            data[at + 6 : at + 14] = struct.pack(">LL", 65535, 65535)
            data[at + 22 : at + 30] = struct.pack(">LL", 65535, 65535)
        else:
            data[at + 5 : at + 9] = struct.pack(">HH", 65535, 65535)
        return bytes(data)
    most = struct.pack(file.order + "H", 65535)
    file = _changed(_changed(file, ROWS, value=most), COLUMNS, value=most)
    if rng.random() < 0.3:
        file = _added(file, Element(FRAMES, b"IS", b"1000"))
    return build(file)


KINDS: dict[str, Callable[[np.random.Generator, File], bytes]] = {
    "header bytes flipped": flip_header,
    "pixel bytes flipped": flip_pixels,
    "stream head flipped": flip_stream_head,
    "tag dropped": drop_tag,
    "tag repeated": repeat_tag,
    "tags out of order": shuffle,
    "length changed": change_length,
    "length undefined": undefine_length,
    "extreme value": extreme_value,
    "other number": nudge,
    "other bits or matrix": change_short,
    "other VR": change_vr,
    "truncated": truncate,
    "syntax swapped": swap_syntax,
    "pixel data cut": cut_pixels,
    "nested sequences": nest,
    "huge matrix": huge,
    "no DICOM": not_dicom,
}
# Kinds whose damage lies in the pixels alone: a changed value of one voxel cannot be told from a true one.
PIXEL_KINDS = {"pixel bytes flipped", "stream head flipped", "pixel data cut"}
