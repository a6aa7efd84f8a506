"""The way back from a pseudonym: a private table of study, series and folder beside the key, never in the output."""

from collections.abc import Sequence
from pathlib import Path

from medlangevin.imaging.cohort.deidentify import pseudonym, series_hash
from medlangevin.imaging.cohort.summary import printable
from medlangevin.imaging.reading.ingest import Series
from medlangevin.system.files import write_tsv

COLUMNS = ("participant_id", "series", "study_uid", "series_uid", "folder")


def private_table(key_file: Path, out: Path) -> Path:
    """Where the table of an output folder lies.

    Args:
        key_file: The key of the pseudonyms.
        out: The output folder.

    Returns:
        ``OUT.key.tsv`` in the folder of the key.
    """
    return key_file.absolute().with_name(f"{out.absolute().name}.key.tsv")


def write_private_table(table: Path, series: Sequence[Series], key: bytes, *, keep_absent: bool) -> None:
    """Write the table, of mode 600.

    Args:
        table: The file.
        series: All series among the scans.
        key: The key of the pseudonyms.
        keep_absent: Whether people who are only in the table as it is stay in it.

    Raises:
        MedlangevinError: It cannot be written.
    """
    rows = [
        (
            f"sub-{pseudonym(key, item.person)}",
            series_hash(key, item.series_uid),
            *(printable(text) for text in (item.study_uid, item.series_uid, item.folder.absolute())),
        )
        for item in series
    ]
    present = {row[0] for row in rows}
    if keep_absent and table.is_file():
        former = [tuple(line.split("\t")) for line in table.read_text(encoding="utf-8").splitlines()[1:]]
        rows += [row for row in former if len(row) == len(COLUMNS) and row[0] not in present]
    write_tsv(table, [COLUMNS, *sorted(rows)], mode=0o600)
