"""What a header says of a person: id, else name, and the birth date in whatever form it is written."""

import re

import pydicom

# Anonymisers write birth dates from such years, the same for everybody.
LAST_PLACEHOLDER_YEAR, LAST_YEAR = 1900, 2100
# Stands for a birth date in a form that is not understood.
NOT_UNDERSTOOD = "?"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
COMPACT = re.compile(r"(\d{4}(?:\d{2}){0,2})(?:\d{6}.*)?")
YEAR_FIRST = re.compile(r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})(?:\D.*)?")
YEAR_LAST = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d{4})")
NAMED_MONTH = re.compile(r"(\d{1,2})[-. ]+([A-Za-z]{3})[A-Za-z]*[-. ]+(\d{4})")


def birth_date(text: str) -> str | None:
    """Read a birth date.

    Args:
        text: The value of PatientBirthDate.

    Returns:
        The date as DICOM writes it, where the form tells day from month, else as it is; empty where there is none, or
        one of a year that only placeholders have; None where the form is not understood.
    """
    text = text.strip()
    if not text:
        return ""
    found = _in_dicom_form(text)
    if found is None:
        return None
    year = int(found[-4:] if "/" in found or "-" in found else found[:4])
    return found if LAST_PLACEHOLDER_YEAR < year <= LAST_YEAR else ""


def _in_dicom_form(text: str) -> str | None:
    if compact := COMPACT.fullmatch(text):
        return compact[1]
    if parts := YEAR_FIRST.fullmatch(text):
        return f"{parts[1]}{int(parts[2]):02d}{int(parts[3]):02d}"
    if parts := NAMED_MONTH.fullmatch(text):
        month = parts[2].lower()
        return f"{parts[3]}{MONTHS.index(month) + 1:02d}{int(parts[1]):02d}" if month in MONTHS else None
    if not (parts := YEAR_LAST.fullmatch(text)):
        return None
    first, second = int(parts[1]), int(parts[3])
    # With dots the day comes first; else countries differ, and only some numbers tell.
    if parts[2] == "." or first > 12 or first == second:
        return f"{parts[4]}{second:02d}{first:02d}"
    return f"{parts[4]}{first:02d}{second:02d}" if second > 12 else text


def identity_of(data: pydicom.Dataset) -> str:
    """What a header says of the person, as one text. In memory only.

    Args:
        data: The header.

    Returns:
        Id, else name, and birth date; the latter empty where there is none or a placeholder.
    """
    # As pydicom reads them, in the file's character set: pseudonyms follow from it.
    identifier, name, born = (
        str(data.get(tag, "") or "").strip() for tag in ("PatientID", "PatientName", "PatientBirthDate")
    )
    date = birth_date(born)
    kind = "id" if identifier else "name"
    return f"{kind}:{identifier or name}|born:{NOT_UNDERSTOOD if date is None else date}"
