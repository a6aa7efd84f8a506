"""From stored bits to stored values: which bits count, which values are padding, and what a header says wrongly."""

from typing import NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy.ndimage import label

from medlangevin.imaging.reading.rejection import HIGH_BIT, STRAY_BITS, UnusableSeriesError

# Old writers keep overlays in bits that values do not need (DICOM retired this): groups 6000, 6002 ... 601E.
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
OVERLAY_TAGS = [group << 16 | element for group in OVERLAY_GROUPS for element in (0x0100, 0x0102)]
# Padding beside what was scanned takes more of a picture than this; chance in tissue takes less.
PADDED_SHARE = 1e-3


class StoredBits(NamedTuple):
    """How a file stores its values.

    Attributes:
        allocated: Bits a value takes.
        stored: Bits of it that count.
        high: The highest of them.
        signed: Whether it is the sign.
        overlays: Bits outside of them that hold overlays.
    """

    allocated: int
    stored: int
    high: int
    signed: bool
    overlays: tuple[int, ...] = ()


def stored_bits(data: pydicom.Dataset) -> StoredBits:
    """Read how a file stores its values.

    Args:
        data: Its header, with ``OVERLAY_TAGS``.

    Returns:
        What it says; what it does not say is taken to be as usual.

    Raises:
        UnusableSeriesError: There are no such bits.
    """
    allocated = int(data.get("BitsAllocated", 16) or 16)
    stored = int(data.get("BitsStored", allocated) or allocated)
    high = stored - 1 if data.get("HighBit") is None else int(data.HighBit)
    if not 0 < stored <= allocated or not 0 <= high < allocated:
        text = f"high bit {high} of {stored} bits stored in {allocated} cannot be"
        raise UnusableSeriesError(HIGH_BIT.with_text(text))
    positions = [
        int(data[group << 16 | 0x0102].value)
        for group in OVERLAY_GROUPS
        # An overlay of its own has one bit allocated.
        if data.get(group << 16 | 0x0100) and data[group << 16 | 0x0100].value > 1 and data.get(group << 16 | 0x0102)
    ]
    return StoredBits(allocated, stored, high, bool(data.get("PixelRepresentation", 0)), tuple(positions))


def stored_values(
    raw: NDArray[np.int64], bits: StoredBits, padding: tuple[int, int] | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the values and the padding in the allocated bits.

    Args:
        raw: The allocated bits, with a sign or without, (rows, columns).
        bits: Which of them count.
        padding: The smallest and largest value that mean no measurement.

    Returns:
        The values, and which of them are padding.

    Raises:
        UnusableSeriesError: Other bits than the header says hold something.
    """
    whole = raw & (2**bits.allocated - 1)
    # A high bit below the usual one: then fewer bits count.
    stored, shift = min(bits.stored, bits.high + 1), max(bits.high + 1 - bits.stored, 0)
    # Padding may lie beyond the range of the bits that count.
    padded = _between(_with_sign(whole, bits.allocated, bits.signed), None if shift else padding)
    for position in bits.overlays:
        if not shift <= position <= bits.high:
            whole &= ~(1 << position)
    if shift and (whole[~padded] & (2**shift - 1)).any():
        text = f"high bit {bits.high} of {bits.stored} bits stored, while the values use the bits below"
        raise UnusableSeriesError(HIGH_BIT.with_text(text))
    whole >>= shift
    values = _with_sign(whole & (2**stored - 1), stored, bits.signed)
    others, negative = (whole >> stored)[~padded], values[~padded] < 0
    # What is the same everywhere says nothing of any value; negative ones may go on with their sign.
    if any(part.size and part.min() != part.max() for part in (others[negative], others[~negative])):
        text = f"values of more than the {stored} bits that the header says are stored (metal, or marks in the pixels)"
        raise UnusableSeriesError(STRAY_BITS.with_text(text))
    return values, padded | _between(values, padding)


def beside_the_scan(padded: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of pixels that look like padding, keep the areas that reach an edge of the picture.

    Args:
        padded: (rows, columns).

    Returns:
        The same without those that lie in tissue, whose value they have by chance.
    """
    areas, count = label(padded)
    edges = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    sizes = np.bincount(areas.ravel(), minlength=count + 1)
    kept = np.zeros(count + 1, bool)
    kept[edges] = True
    kept &= sizes >= PADDED_SHARE * padded.size
    kept[0] = False
    return kept[areas]


def _with_sign(values: NDArray[np.int64], bits: int, signed: bool) -> NDArray[np.int64]:
    return np.where(values >= 2 ** (bits - 1), values - 2**bits, values) if signed else values


def _between(values: NDArray[np.int64], limits: tuple[int, int] | None) -> NDArray[np.bool_]:
    if limits is None:
        return np.zeros(values.shape, bool)
    return (values >= limits[0]) & (values <= limits[1])
