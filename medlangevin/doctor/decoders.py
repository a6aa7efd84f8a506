"""Which DICOM compressions can be read here: a known image in each of them, through the code that reads CT."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from medlangevin.doctor.finding import PIP, Finding, State
from medlangevin.imaging.reading.read_headers import read_headers
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.slice_pixels import read_slice

# What every frame below shows, 8 x 8 values of 12 bits.
IMAGE = (np.add.outer(31 * np.arange(8), 5 * np.arange(8) ** 2) % 4096).astype(np.uint16)


class Compression(NamedTuple):
    """A way of packing the pixels of a DICOM file, and an image packed so.

    Attributes:
        name: As it is told to the user.
        syntax: UID of the transfer syntax.
        code: ``IMAGE`` as one frame, base64; empty where pydicom writes it.
        plugins: Packages that read it, as arguments of pip.
        otherwise: State of the finding when it cannot be read.
    """

    name: str
    syntax: str
    code: str
    plugins: str
    otherwise: State = "fail"


COMPRESSIONS = (
    Compression("uncompressed", ExplicitVRLittleEndian, "", "pydicom"),
    Compression("deflated", DeflatedExplicitVRLittleEndian, "", "pydicom"),
    Compression("run-length", RLELossless, "", "pydicom"),
    Compression(
        "JPEG lossless",
        "1.2.840.10008.1.2.4.70",
        "/9j/xAAZAAEBAQADAAAAAAAAAAAAAAAFBgMEBxD/wwALEAAIAAgBABEA/9oACAEAAAYAAPa89mjrbfsF9BBBBBBB9BBBBBBB9BBBBBBB9BBB"
        "BBBB9BBBBBBB9BBBBBBB9BBBBBBA/9k=",
        "SimpleITK pylibjpeg pylibjpeg-libjpeg",
    ),
    Compression(
        "JPEG-LS",
        "1.2.840.10008.1.2.4.80",
        "/9j/6AAgU1BJRkYAAgAAAQAAAAgAAAAIChAGAQAAASwAAAEs/+gACAAAAAH/2P/3AAsQAAgACAEBEQD/+AANAf//ABIAQwEUAED/2gAIAQEA"
        "AAAAoEwdhjEOLMa59h9AqD0MoeR1HEPofQIg5KppMphDyHkDQ1IqyqqI6jqBIYmqSioI4jiBRaSnJqam02gUUjJitWmk0gUSkVKlKZD/2Q==",
        "SimpleITK pylibjpeg pylibjpeg-libjpeg",
    ),
    Compression(
        "JPEG 2000",
        "1.2.840.10008.1.2.4.90",
        "/0//UQApAAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1IADAAAAAEAAAQEAAH/XAAEQID/ZAAlAAFDcmVhdGVkIGJ5"
        "IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABpAAH/k9/4krgSK2cWj4+hghgWXPU7vmZyMTuQ4Axjp0esjxdunPVKAeRzy7G2KqVE"
        "YH9J1SbK7shlOR4dvWAaTyYI8+1+bEopKOWcYCCYGP6vSmUymUyPbtVVVVVVVT//2Q==",
        "SimpleITK pylibjpeg pylibjpeg-openjpeg",
    ),
    Compression(
        "High-Throughput JPEG 2000",
        "1.2.840.10008.1.2.4.201",
        "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ"
        "kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGAAAf+TwAAlFwUHdAAAAMAAEsAAEoDiAQd0ABoBh3QAwAAVEAAE"
        "wKcTGv0AgrQAiooAQ1QAwAAtKAAFSMlMIgEAJDOJBADwAZxcArG3ADzn/MAAAey2AP/Z",
        "--upgrade SimpleITK",
        otherwise="warn",  # rare, and SimpleITK reads it since one of its latest releases
    ),
)


def decoders() -> Iterator[Finding]:
    """Examine which compressions can be read.

    Yields:
        A finding for each compression that cannot, and one that lists those that can.
    """
    readable = []
    for compression in COMPRESSIONS:
        if can_read(compression):
            readable.append(compression.name)
        else:
            yield Finding(
                compression.otherwise,
                f"DICOM that is {compression.name} ({compression.syntax}) cannot be read: such series will be refused",
                f"{PIP} {compression.plugins}, or export them uncompressed",
            )
    yield Finding("ok", f"DICOM that can be read: {', '.join(readable)}")


def can_read(compression: Compression) -> bool:
    """Whether a slice compressed so comes back as it was.

    Args:
        compression: The way of packing.

    Returns:
        Whether it does.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.dcm"
        _write(path, compression)
        try:
            return any(np.array_equal(read_slice(header), IMAGE) for header in read_headers(path).slices)
        except UnusableSeriesError:
            return False


def _write(path: Path, compression: Compression) -> None:
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, "2.25.1"
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [1, 1], 1, 0
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.set_pixel_data(IMAGE, "MONOCHROME2", 16, generate_instance_uid=False)
    if compression.syntax == RLELossless:
        data.compress(RLELossless, encoding_plugin="pydicom")
    elif compression.code:
        data.PixelData = encapsulate([base64.b64decode(compression.code)])
        data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = compression.syntax
    data.save_as(path, enforce_file_format=True)
