"""All examinations, one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

from medlangevin.doctor.decoders import decoders
from medlangevin.doctor.finding import Finding, one_line
from medlangevin.doctor.installation import devices, packages
from medlangevin.doctor.places import places


def examine(folder: Path) -> Iterator[Finding]:
    """Examine this machine. An examination that breaks down is a finding: the others are still wanted.

    Args:
        folder: The working folder, below which commands write by default.

    Yields:
        Findings as they are made.
    """
    examinations: dict[str, Callable[[], Iterator[Finding]]] = {
        "the packages": packages,
        "the devices": devices,
        "the DICOM decoders": decoders,
        "folders, disk and memory": lambda: places(folder),
    }
    for name, examination in examinations.items():
        try:
            yield from examination()
        except Exception as error:  # a broken installation fails in ways of its own
            what = f"{name} could not be examined ({type(error).__name__}: {one_line(error)})"
            yield Finding("fail", what, "install again")
