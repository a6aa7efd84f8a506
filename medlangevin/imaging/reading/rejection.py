"""Every reason why something in a raw folder is not used: a code, a sentence and what to do. No patient data in any."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True)
class Reason:
    """Why something is not used.

    Attributes:
        code: One word for scripts.
        text: What is wrong.
        advice: What to do.
        failure: Whether a CT series is lost that should have given an ear. Everything else in an export (localizers,
            reports, MR) is passed over and is not a failure.
    """

    code: str
    text: str
    advice: str
    failure: bool = True

    @property
    def told(self) -> str:
        """What is wrong, and what to do where there is something to do."""
        return self.text if self.advice == "nothing" else f"{self.text}; {self.advice}"

    def with_text(self, text: str) -> "Reason":
        """Say the same of one case, with its own figures.

        Args:
            text: What is wrong in this case.

        Returns:
            A reason of the same code and advice.
        """
        return replace(self, text=text)


class Doubt(NamedTuple):
    """Why a person has to look at an ear, though it can be used.

    Attributes:
        code: One word for scripts.
        text: What is in doubt.
    """

    code: str
    text: str


class UnusableSeriesError(Exception):
    """Raised inside the room for one series; the pipeline records it and goes on with the others.

    Attributes:
        reason: Why the series cannot be used.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


@contextmanager
def refused_as(reason: Reason) -> Iterator[None]:
    """Turn whatever a reader raises over a damaged file into one reason.

    Args:
        reason: Why the file is not used.

    Yields:
        Nothing.

    Raises:
        UnusableSeriesError: Of another reason, as raised inside; of ``reason`` for all other errors.
    """
    try:
        yield
    except UnusableSeriesError:
        raise
    except Exception as error:
        raise UnusableSeriesError(reason) from error


# Advice that several reasons share.
AGAIN, ORIGINAL, AXIAL = "export the series again", "export the original series", "export the original axial series"
FROM_DICOM = "convert it again from DICOM"
# Passed over: not a CT series.
NOT_DICOM = Reason("not-dicom", "no DICOM, NIfTI or NRRD file", "nothing", failure=False)
SYSTEM_FILE = Reason("system-file", "a file that macOS or Windows leaves beside others", "nothing", failure=False)
ARCHIVE = Reason("archive", "an archive or packed file, not looked into", "unpack the archives", failure=False)
OTHER_FORMAT = Reason(
    "other-format",
    "a volume of another format than DICOM, NIfTI (.nii, .nii.gz) and NRRD (.nrrd)",
    "convert them to NIfTI (.nii.gz)",
    failure=False,
)
LABEL_MAP = Reason("label-map", "a label map (numbers of regions), not a scan", "nothing", failure=False)
NO_IMAGE = Reason("no-image", "DICOM, but no image (such as the directory of a disc)", "nothing", failure=False)
UNREADABLE = Reason("unreadable", "the header cannot be read (truncated or damaged)", "export the file again", False)
NOT_CT = Reason("not-ct", "another modality than CT", "nothing", failure=False)
LOCALIZER = Reason("localizer", "a localizer (scout view), no slice of a volume", "nothing", failure=False)
SECONDARY = Reason("secondary-capture", "a secondary capture (a picture or report page)", "nothing", failure=False)
PROJECTION = Reason("projection", "a projection or rendering of a volume, no slice of it", "nothing", failure=False)
COLOUR = Reason("colour", "a colour image, not CT values", "nothing", failure=False)
# Files and folders.
CLOSED_FOLDER = Reason(
    "closed-folder", "this folder cannot be opened, and what is in it is not known", "ask for the right to read it"
)
BAD_HEADER = Reason("bad-header", "a value in the header cannot be read", "export the file again")
CLOSED_FILE = Reason(
    "closed-file", "a file cannot be opened, and what is in it is not known", "ask for the right to read it"
)
# While there are such, nobody counts as gone.
HIDDEN = {CLOSED_FOLDER.code, CLOSED_FILE.code}
NO_PIXELS = Reason("no-pixels", "no pixel data", "export the series again, with its images")
TRUNCATED = Reason("truncated", "the pixel data are cut off", "export or copy the file again")
MULTI_FRAME = Reason(
    "multi-frame",
    "several frames in one classic CT file, without a position for each",
    "export as enhanced CT, or as classic CT with one file per slice",
)
FRAME_COUNT = Reason("frame-count", "an enhanced CT file that does not describe each of its frames", AGAIN)
UNDECODABLE = Reason(
    "decode",
    "the pixels of a slice cannot be decoded (truncated, damaged or of an unknown compression)",
    "export the series again, uncompressed",
)
OTHER_MATRIX = Reason("decode", "the pixels do not fit the header's matrix", "export it again")
PRIVATE_SYNTAX = Reason(
    "private-syntax",
    "a private transfer syntax of a vendor: how the pixels are stored is not public",
    "export the series again, uncompressed",
)
# Values.
FLOAT_PIXELS = Reason("float-pixels", "the pixels are floats, not stored CT values", ORIGINAL)
STRAY_BITS = Reason("stray-bits", "values of more bits than the header says are stored", ORIGINAL)
HIGH_BIT = Reason("high-bit", "the high bit in the header does not fit the values", ORIGINAL)
PADDING = Reason("padding", "the padding range of the header holds the values of tissue", ORIGINAL)
NO_RESCALE = Reason(
    "no-rescale",
    "the header lacks rescale slope or intercept: what the values mean is unknown",
    "export the original series, or convert it to NIfTI in HU",
)
BAD_RESCALE = Reason("bad-rescale", "the rescale slope is 0 or no number: no HU", ORIGINAL)
NOT_HU = Reason("not-hu", "the values are no HU (a map of something else)", "export the CT series itself")
LOSSY = Reason(
    "lossy",
    "lossy compression: the values are no longer those that were measured",
    "export with lossless or without compression",
)
EIGHT_BIT = Reason("eight-bit", "8 bits a pixel: the values are no HU", ORIGINAL)
MIXED_SCALE = Reason("mixed-scale", "slices of another rescale, padding or bit depth", AGAIN)
ODD_SLICE = Reason("odd-slice", "slices that do not fit their neighbours", AGAIN)
NO_BONE = Reason("no-bone", "no bone: not HU, or another part", "give the CT series of the temporal bone")
# Where the slices lie.
NO_GEOMETRY = Reason("no-geometry", "the header lacks slice position, orientation or pixel spacing", AXIAL)
ORIENTATION = Reason("orientation", "the slice orientation in the header is no rotation", AXIAL)
DUPLICATE_POSITION = Reason(
    "duplicate-position", "different slices lie at the same position", "export one reconstruction per series"
)
MISSING_SLICE = Reason("missing-slice", "slices are missing in between", "export the complete series again")
UNEVEN_SLICES = Reason(
    "uneven-slices", "the slice distance varies", "export one evenly spaced reconstruction per series"
)
TOO_FEW_SLICES = Reason("too-few-slices", "one slice only, no volume", "export the whole series")
CROOKED_STACK = Reason("crooked-stack", "the slices do not lie on one line", AXIAL)
TILT = Reason("tilt", "the slices are sheared too far against each other", "export an untilted reconstruction")
TOO_COARSE = Reason("too-coarse", "voxels too coarse to show the turns", "use the thin-slice bone reconstruction")
TOO_SMALL = Reason("too-small", "the volume is too small to hold a cochlea", "export the whole series")
# Volume files.
UNREADABLE_VOLUME = Reason("decode", "the volume file cannot be read", "write it again as NIfTI or NRRD in HU")
NOT_A_VOLUME = Reason("not-a-volume", "no three-dimensional grey volume", "give one CT volume")
NO_ORIENTATION = Reason(
    "no-orientation", "the header does not say which way is left (no sform, qform or space)", FROM_DICOM
)
BAD_AFFINE = Reason("orientation", "the orientation in the header is no invertible matrix", "convert it again")
VOXEL_SIZE = Reason("voxel-size", "the header says two voxel sizes, or another unit of length", FROM_DICOM)
TWO_ORIENTATIONS = Reason("orientation", "sform and qform disagree", FROM_DICOM)
DUPLICATE = Reason("duplicate-volume", "another file holds the same values at the same place, and is used", "nothing")
# Ears.
NO_EAR = Reason(
    "no-ear", "no inner ear found (nothing in the scan resembles the reference)", "look whether the scan shows one"
)
CUT_OFF = Reason("cut-off", "the scan ends within the cochlea", "export the whole scan, or take another series")
COIL_IN_DOUBT = Reason("coil-in-doubt", "no cochlear turns where they should be", "look at its picture")
# What the header leaves in doubt.
ACQUISITIONS_JOIN = Doubt(
    "acquisitions-join", "two acquisitions join in the crop, says the header: the patient may have moved in between"
)
FITTED_TO_TEMPLATE = Doubt(
    "template-space", "the header says that the scan was fitted to a template: its lengths may not be the person's"
)
OTHER_VOXEL_SIZE = Doubt("voxel-size", "the header says another voxel size, too, in an sform that does not count")

# Whose a scan is: doubts about series that are used all the same.
ONE_FOLDER_EACH = "keep all scans of a person in one folder, and nobody else's in it"
PERSON_BY_SERIES = Reason(
    "person-by-series",
    "no id, birth date or study UID says whose this is: the series is taken for a person",
    "nothing",
    False,
)
PERSON_BY_FOLDER = Reason(
    "person-by-folder", "no id or UID says whose this is: the folder is taken for a person", ONE_FOLDER_EACH, False
)
SHARED_IDS = Reason(
    "shared-ids",
    "a different scan in another folder has the same ids and UIDs: each folder is taken for a person",
    ONE_FOLDER_EACH,
    False,
)
RENEWED_UIDS = Reason(
    "renewed-uids",
    "every file has UIDs of its own: the files of this folder are taken for one series",
    "nothing",
    False,
)
BIRTH_DATE = Reason(
    "birth-date",
    "the birth date is in a form that is not understood: every study is taken for a person",
    "write it as YYYYMMDD",
    False,
)
WHOSE = (PERSON_BY_SERIES, PERSON_BY_FOLDER, SHARED_IDS, RENEWED_UIDS, BIRTH_DATE)


def all_reasons() -> tuple[Reason, ...]:
    """List every reason that reading and registration give.

    A code may stand for several reasons. Where a case has figures, its own text replaces the one given here.

    Returns:
        The reasons in the order of their groups: foreign files, files, values, places, volume files, ears. Those of
        ``WHOSE`` are not among them, as they cost nothing.
    """
    return tuple(value for value in globals().values() if isinstance(value, Reason) and value not in WHOSE)
