"""A DICOM file opened for reading such that no number in it can ask for more memory than the file is long."""

import io
import logging
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

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
