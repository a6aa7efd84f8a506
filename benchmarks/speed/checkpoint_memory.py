"""Peak memory of one training step of the 3D QSL-VAE over the number of flow steps, with and without recomputation.

    python benchmarks/speed/checkpoint_memory.py [--steps 1 5 20] [--batch-size 5] [--bounds annealed flow]

Every setting runs in a fresh process, as peak memory is a property of a process: one step to warm up, one that is
measured. Columns:

kept       bytes that autograd keeps between the forward and the backward pass (saved tensors, each storage once): exact
peak       peak resident memory (CPU) or allocated memory (CUDA) of the step above what model and data take; glibc is
           told to give large blocks back at once (MALLOC_MMAP_THRESHOLD_), or its hoard would be measured too
seconds    of the measured step

The ratio of the last over the first row of a bound says how memory grows with the number of steps.
"""

import argparse
import itertools
import multiprocessing
import os
import resource
import time

import torch
from torch.autograd.graph import saved_tensors_hooks

from medlangevin.config import ModelConfig
from medlangevin.models import LatentVariableModel, build

SHAPE = (1, 60, 50, 50)
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--batch-size", type=int, default=5)
    parser.add_argument("--bounds", nargs="+", default=["annealed", "flow"])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "65536")  # read by the processes started below
    context = multiprocessing.get_context("spawn")
    print(f"{SHAPE} crops, batch {arguments.batch_size}, {arguments.device}, torch {torch.__version__}")
    print(f"{'bound':<10}{'recompute':<11}{'steps':>5}{'kept MiB':>11}{'peak MiB':>11}{'seconds':>9}")
    for bound, recompute in itertools.product(arguments.bounds, (False, True)):
        peaks = []
        for steps in arguments.steps:
            settings = (bound, recompute, steps, arguments.batch_size, arguments.device)
            with context.Pool(1) as pool:
                figures = pool.apply(measure, settings)
            peaks.append(figures["peak"])
            print(
                f"{bound:<10}{recompute!s:<11}{steps:>5}{figures['kept'] / MIB:>11.0f}"
                f"{figures['peak'] / MIB:>11.0f}{figures['seconds']:>9.2f}",
                flush=True,
            )
        print(f"{'':<10}peak, {arguments.steps[-1]} steps / {arguments.steps[0]}: {peaks[-1] / peaks[0]:.2f}")


def measure(bound: str, recompute: bool, steps: int, batch_size: int, device: str) -> dict[str, float]:
    """Bytes kept for the backward pass, peak memory in bytes above the start, and seconds of one step."""
    torch.manual_seed(0)
    flow = {"bound": bound, "steps": steps, "checkpoint_steps": recompute}
    config = ModelConfig.model_validate({"kind": "qsl_vae", "flow": flow})
    model = build(config, SHAPE, mean_image=torch.full(SHAPE, 0.5)).to(device)
    x = torch.rand(batch_size, *SHAPE, device=device)
    generator = torch.Generator(device=device)
    one = torch.optim.Adam(model.parameters(), 1e-3)
    for parameter in model.parameters():  # the optimiser's memory and the gradients' are the model's, not the step's
        parameter.grad = torch.zeros_like(parameter)
    one.step()
    before = _resident(device)
    kept = _bytes_kept(model, x, generator.manual_seed(1))
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.zero_()
    started = time.perf_counter()
    model(x, generator.manual_seed(1)).loss.backward()
    if device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return {"kept": kept, "peak": _peak(device) - before, "seconds": seconds}


def _bytes_kept(model: LatentVariableModel, x: torch.Tensor, generator: torch.Generator) -> int:
    """Of a whole step, which also warms up: saved tensors by storage, but for parameters and data."""
    storages: dict[int, int] = {}
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers(), x)}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x, generator).loss
    loss.backward()
    return sum(storages.values())


def _resident(device: str) -> int:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * resource.getpagesize()


def _peak(device: str) -> int:
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
