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
NO_IMAGE = Reason("no-image", "DICOM, but no image (such as the directory of a disc)", "nothing", failure=False)
UNREADABLE = Reason("unreadable", "the header cannot be read (truncated or damaged)", "export the file again", False)
LOCALIZER = Reason("localizer", "a localizer (scout view), no slice of a volume", "nothing", failure=False)
SECONDARY = Reason("secondary-capture", "a secondary capture (a picture or report page)", "nothing", failure=False)
PROJECTION = Reason("projection", "a projection or rendering of a volume, no slice of it", "nothing", failure=False)
NO_PIXELS = Reason("no-pixels", "no pixel data", "export the series again, with its images")
TRUNCATED = Reason("truncated", "the pixel data are cut off", "export or copy the file again")
MULTI_FRAME = Reason(
    "multi-frame",
    "several frames in one classic CT file, without a position for each",
    "export as enhanced CT, or as classic CT with one file per slice",
)
FRAME_COUNT = Reason(
    "frame-count", "an enhanced CT file that does not describe each of its frames", "export the series again"
)
NO_GEOMETRY = Reason(
    "no-geometry", "the header lacks slice position, orientation or pixel spacing", "export the original axial series"
)
ORIENTATION = Reason(
    "orientation", "the slice orientation in the header is no rotation", "export the original axial series"
)
NO_RESCALE = Reason(
    "no-rescale",
    "the header lacks rescale slope or intercept: what the values mean is unknown",
    "export the original series, or convert it to NIfTI in HU",
)
BAD_RESCALE = Reason("bad-rescale", "the rescale slope is 0 or no number: no HU", "export the original series")
NOT_HU = Reason("not-hu", "the values are no HU (a map of something else)", "export the CT series itself")
CLOSED_FOLDER = Reason(
    "closed-folder", "this folder cannot be opened, and what is in it is not known", "ask for the right to read it"
)
COLOUR = Reason("colour", "a colour image, not CT values", "nothing", failure=False)
LOSSY = Reason(
    "lossy-8-bit", "lossy JPEG compression: the values are no HU", "export with lossless or without compression"
)
EIGHT_BIT = Reason("eight-bit", "8 bits a pixel: the values are no HU", "export the original series")


def other_frames(reason: Reason) -> Reason:
    """Frames beside the slices of one enhanced file, passed over while the slices are used."""
    return Reason(reason.code, f"{reason.text} (frames beside the slices of one file)", "nothing", failure=False)


def other_modality(name: str) -> Reason:
    """A file that is no CT at all."""
    return Reason("not-ct", f"modality {name}, not CT", "nothing", failure=False)
