"""What can train: processor threads, CUDA, Apple's GPU."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from medlangevin.doctor.finding import Finding

if TYPE_CHECKING:
    import torch

_DRIVER = Path("/proc/driver/nvidia/version")


def devices() -> Iterator[Finding]:
    """The processor, and each GPU that torch can use, tried with a small product."""
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
        reason = " ".join(str(error).split())[:200]
        remedy = "update the driver, or install a torch for this GPU; training.accelerator: cpu goes on without it"
        return Finding("fail", f"{name} does not work with torch ({reason})", remedy)
    return Finding("ok", name)


def _no_cuda(why: str) -> Finding:
    if shutil.which("nvidia-smi") or _DRIVER.exists():
        remedy = "install a torch whose CUDA the driver knows (nvidia-smi tells), or update the driver"
        return Finding("warn", f"an NVIDIA driver is here, but {why}: trainings run on the processor", remedy)
    return Finding("ok", f"no GPU ({why}): trainings run on the processor; crops want a GPU")
