"""All examinations, one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

from medlangevin.doctor.decoders import decoders
from medlangevin.doctor.devices import devices
from medlangevin.doctor.finding import Finding
from medlangevin.doctor.packages import packages
from medlangevin.doctor.places import places


def examine(folder: Path) -> Iterator[Finding]:
    """Findings as they are made. ``folder``: the working folder, below which commands write by default.

    An examination that breaks down is a finding: the others are still wanted.
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
            reason = " ".join(str(error).split())[:200]
            yield Finding("fail", f"{name} could not be examined ({type(error).__name__}: {reason})", "install again")
