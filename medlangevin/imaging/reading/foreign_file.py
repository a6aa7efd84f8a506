"""Files beside scans that are not read: what each is, by its content and its name, and what to do about it."""

from pathlib import Path

from medlangevin.imaging.reading.rejection import ARCHIVE, NOT_DICOM, OTHER_FORMAT, SYSTEM_FILE, Reason

VOLUME_ENDINGS = (".nii", ".nii.gz", ".nrrd")
SYSTEM_NAMES = {".ds_store", "thumbs.db", "desktop.ini"}
# macOS keeps what a disc cannot hold of a file NAME in ._NAME beside it, and in archives below this folder.
MACOS_PREFIX, MACOS_FOLDER = "._", "__MACOSX"
MOST_MAGIC = 8
MAGIC = {
    b"\x00\x05\x16\x07": SYSTEM_FILE,
    **dict.fromkeys((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ"), ARCHIVE),
}
# Zip files by their content, with texts and tables in them.
DOCUMENTS = (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".jar", ".whl", ".npz")
ARCHIVE_ENDINGS = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".zst", ".7z", ".rar")
OTHER_ENDINGS = (".mha", ".mhd", ".nhdr", ".hdr", ".img", ".mgz", ".mgh", ".mnc", ".mrb", ".vtk", ".vti", ".gipl")


def is_volume_file(path: Path) -> bool:
    """Whether a file is NIfTI or NRRD by its name.

    Args:
        path: The file.

    Returns:
        True for ``.nii``, ``.nii.gz`` and ``.nrrd`` in any case.
    """
    return path.name.lower().endswith(VOLUME_ENDINGS)


def system_file(path: Path, raw: Path) -> bool:
    """Whether the name alone tells that the system left a file, which is then not opened.

    Args:
        path: The file.
        raw: The folder of the scans.

    Returns:
        True for the names that macOS and Windows use; a slice may begin with ``._`` all the same.
    """
    inside = path.relative_to(raw).parts
    forked = path.name.startswith(MACOS_PREFIX) and is_volume_file(path)
    return forked or path.name.lower() in SYSTEM_NAMES or MACOS_FOLDER in inside[:-1]


def foreign_reason(path: Path) -> Reason:
    """Say what a file is that is not DICOM.

    Args:
        path: The file.

    Returns:
        Why it is passed over.

    Raises:
        OSError: It cannot be opened.
    """
    name = path.name.lower()
    with path.open("rb") as stream:
        start = stream.read(MOST_MAGIC)
    if name.endswith(OTHER_ENDINGS):
        return OTHER_FORMAT
    if name.endswith(DOCUMENTS):
        return NOT_DICOM
    by_content = next((reason for magic, reason in MAGIC.items() if start.startswith(magic)), NOT_DICOM)
    return ARCHIVE if name.endswith(ARCHIVE_ENDINGS) else by_content
