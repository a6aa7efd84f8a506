"""Python and the packages that medlangevin needs: there, new enough, and loadable."""

import platform
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.version import Version

from medlangevin._version import __version__
from medlangevin.doctor.finding import PIP, Finding

# Names to import where they are not those of the package.
_MODULES = {"simpleitk": "SimpleITK"}
# Compiled packages, which can be there and not load: a library is missing, or torch and torchvision do not fit.
_LOADED = ("torch", "torchvision", "numpy", "scipy", "simpleitk", "nibabel", "pydicom", "monai")


def packages() -> Iterator[Finding]:
    """Python, medlangevin, and each package it needs at run time."""
    yield Finding("ok", f"medlangevin {__version__}, Python {platform.python_version()}, {platform.platform()}")
    try:
        needed = [Requirement(text) for text in requires("medlangevin") or []]
    except PackageNotFoundError:
        yield Finding("warn", "medlangevin is not installed, so what it needs is not known", f"{PIP} .")
        return
    present = []
    for requirement in needed:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        problem = _problem(requirement)
        if problem is None:
            present.append(f"{requirement.name} {version(requirement.name)}")
        else:
            yield problem
    yield Finding("ok", ", ".join(present))


def _problem(requirement: Requirement) -> Finding | None:
    name = requirement.name
    remedy = f'{PIP} "{name}{requirement.specifier}"'
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding("fail", f"{name} is absent", remedy)
    if not requirement.specifier.contains(Version(found), prereleases=True):
        return Finding("fail", f"{name} {found} is not {requirement.specifier}", remedy)
    if name.lower() in _LOADED:
        try:
            import_module(_MODULES.get(name.lower(), name))
        except Exception as error:  # whatever a broken package raises
            reason = " ".join(str(error).split())[:200]
            return Finding("fail", f"{name} {found} does not load ({type(error).__name__}: {reason})", remedy)
    return None
