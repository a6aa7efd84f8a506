"""Python, the packages that medlangevin needs, and the processors and GPUs that can train."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import Version

from medlangevin._version import __version__
from medlangevin.doctor.finding import PIP, Finding, one_line

if TYPE_CHECKING:
    import torch

# Names to import where they are not those of the package.
_MODULES = {"simpleitk": "SimpleITK"}
# Compiled packages, which can be there and not load: a library is missing, or torch and torchvision do not fit.
_LOADED = ("torch", "torchvision", "numpy", "scipy", "simpleitk", "nibabel", "pydicom", "monai")
_DRIVER = Path("/proc/driver/nvidia/version")


def packages() -> Iterator[Finding]:
    """Examine Python, medlangevin, and each package it needs at run time: there, new enough, and loadable.

    Yields:
        A finding for each package that is not, and one that lists the others.
    """
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
            return Finding("fail", f"{name} {found} does not load ({type(error).__name__}: {one_line(error)})", remedy)
    return None


def devices() -> Iterator[Finding]:
    """Examine the processor, and each GPU that torch can use, which is tried with a small product.

    Yields:
        A finding for each.
    """
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("ok", f"processor: {cores} cores for this process, torch uses {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield _gpu(torch.device("cuda", number))
    elif torch.version.cuda is None:
        yield _no_cuda(f"torch {torch.__version__} is built without CUDA")
    else:
        yield _no_cuda(f"torch is built for CUDA {torch.version.cuda} and finds no device")
    if torch.backends.mps.is_available():
        yield Finding("ok", "Apple GPU: not used, as it lacks the float64 that likelihoods are summed in")


def _gpu(device: "torch.device") -> Finding:
    import torch

    about = torch.cuda.get_device_properties(device)
    name = f"GPU {device.index}: {about.name}, {about.total_memory / 2**30:.0f} GiB"
    try:
        one = torch.ones(8, 8, device=device)
        if float((one @ one).sum()) != 512:
            raise RuntimeError("wrong numbers")
    except RuntimeError as error:
        remedy = "update the driver, or install a torch for this GPU; training.accelerator: cpu goes on without it"
        return Finding("fail", f"{name} does not work with torch ({one_line(error)})", remedy)
    return Finding("ok", name)


def _no_cuda(why: str) -> Finding:
    if shutil.which("nvidia-smi") or _DRIVER.exists():
        remedy = "install a torch whose CUDA the driver knows (nvidia-smi tells), or update the driver"
        return Finding("warn", f"an NVIDIA driver is here, but {why}: trainings run on the processor", remedy)
    return Finding("ok", f"no GPU ({why}): trainings run on the processor; crops want a GPU")
