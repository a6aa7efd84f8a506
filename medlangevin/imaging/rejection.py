"""Why something in a raw folder is not used: a code, a sentence and what to do. No patient data in any of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """``code`` is one word for scripts; ``text`` says what is wrong; ``advice`` says what to do.

    ``failure``: a CT series that should have given an ear. Everything else in an export (localizers, reports, MR) is
    passed over and is no failure.
    """

    code: str
    text: str
    advice: str
    failure: bool = True


class UnusableSeriesError(Exception):
    """Raised inside the room for one series; the pipeline records it and goes on with the others."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


NOT_DICOM = Reason("not-dicom", "no DICOM, NIfTI or NRRD file", "nothing", failure=False)
UNREADABLE = Reason("unreadable", "the header cannot be read (truncated or damaged)", "export the file again", False)
LOCALIZER = Reason("localizer", "a localizer (scout view), no slice of a volume", "nothing", failure=False)
SECONDARY = Reason("secondary-capture", "a secondary capture (a picture or report page)", "nothing", failure=False)
NO_PIXELS = Reason("no-pixels", "no pixel data", "export the series again, with its images")
MULTI_FRAME = Reason(
    "multi-frame", "enhanced multi-frame CT is not read yet", "export as classic CT, one file per slice"
)
NO_GEOMETRY = Reason(
    "no-geometry", "the header lacks slice position, orientation or pixel spacing", "export the original axial series"
)
COLOUR = Reason("colour", "a colour image, not CT values", "nothing", failure=False)
LOSSY = Reason(
    "lossy-8-bit", "lossy JPEG compression: the values are no HU", "export with lossless or without compression"
)


def other_modality(name: str) -> Reason:
    """A file that is no CT at all."""
    return Reason("not-ct", f"modality {name}, not CT", "nothing", failure=False)
