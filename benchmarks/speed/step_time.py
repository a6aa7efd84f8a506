"""Seconds per gradient step of every model, made one by one and recorded as a CUDA graph, and peak memory.

    python benchmarks/speed/step_time.py [--only 2d] [--steps 30] [--profile]

Each case is the whole step of a training: loss with its Langevin steps, gradients, clipping, update. Medians over steps
that are waited for; random images. On a CPU nothing is recorded, and the second column stays empty.
``--profile``: on a GPU also the share of the time during which kernels run, and the kernels that take longest.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch.profiler import ProfilerActivity, profile

from medlangevin.config import Config, parse_config
from medlangevin.models import build
from medlangevin.runs.averaging import WeightAverage
from medlangevin.runs.precision import matmul_precision
from medlangevin.training.gpu import WARM_UP, put_channels_last, recordable, recording_stream, tunable, tuned_kernels
from medlangevin.training.gradient_step import GradientStep
from medlangevin.training.learner import Learner
from medlangevin.training.optimizer import make_optimizer

MLP = {"latent_dim": 8, "network": {"kind": "mlp", "widths": [1024, 1024, 1024]}}
MLP["likelihood"] = {"kind": "discretized_logistic"}
CONV5 = {"latent_dim": 64, "network": {"kind": "conv5"}, "likelihood": {"kind": "bernoulli"}}
EAR: dict[str, Any] = {"latent_dim": 32}
FLOW = {"steps": 5, "step_size": 0.2, "max_step_size": 0.5}
SMALL_FLOW = {"steps": 5, "step_size": 0.001, "max_step_size": 0.05}
TEMPERED = {**FLOW, "tempering": "fixed", "initial_temperature": 1.5}


class Case(NamedTuple):
    name: str
    shape: tuple[int, ...]
    batch: int
    model: dict[str, Any]
    optimizer: str = "adamax"
    precision: Any = "32-true"


def cases() -> list[Case]:
    digits, ear = (1, 28, 28), (1, 60, 50, 50)
    found = [
        Case("2d mlp vae", digits, 100, {"kind": "vae", **MLP}, "sgd"),
        Case("2d mlp lae T=2", digits, 100, {"kind": "lae", **MLP, "langevin": {"steps": 2}}, "sgd"),
        Case("2d mlp lae mala", digits, 100, {"kind": "lae", **MLP, "langevin": {"update": "mala"}}, "adam"),
    ]
    flows: dict[str, dict[str, Any]] = {
        "vae": {"kind": "vae"},
        "hvae": {"kind": "hvae", "flow": TEMPERED},
        "flow": {"kind": "qsl_vae", "flow": {**FLOW, "bound": "flow", "damping": 0.0}},
        "annealed": {"kind": "qsl_vae", "flow": FLOW},
    }
    found += [
        Case(f"2d conv5 {name} {batch}", digits, batch, CONV5 | model)
        for batch in (100, 1000)
        for name, model in flows.items()
    ]
    volumes: dict[str, dict[str, Any]] = {
        "vae": {"kind": "vae"},
        "qsl K=5": {"kind": "qsl_vae", "flow": SMALL_FLOW},
        "lae T=2": {"kind": "lae"},
    }
    return found + [
        Case(f"3d {name} {batch} {precision}", ear, batch, EAR | model, "adam", precision)
        for precision in ("32-true", "bf16-mixed")
        for batch in (10, 64)
        for name, model in volumes.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--matmul-precision", default="high", choices=("highest", "high", "medium"))
    parser.add_argument("--no-tuning", action="store_true", help="training.tune_kernels: false")
    parser.add_argument("--profile", action="store_true", help="on a GPU: what the time goes into")
    arguments = parser.parse_args()
    tuned = not arguments.no_tuning
    print(f"{'case':34} {'one by one':>11} {'recorded':>11} {'images/s':>10} {'peak MiB':>9}", flush=True)
    for case in cases():
        if arguments.only not in case.name:
            continue
        on_gpu = torch.cuda.is_available()
        with matmul_precision(arguments.matmul_precision):
            single, *_ = measure(case, recorded=False, tuned=tuned, steps=arguments.steps)
            recorded, peak, kernels = (
                measure(case, recorded=True, tuned=tuned, steps=arguments.steps, profiled=arguments.profile)
                if on_gpu
                else (None, 0.0, [])
            )
        best = min(single, recorded or single)
        shown = f"{1e3 * recorded:8.2f} ms" if recorded else ""
        print(f"{case.name:34} {1e3 * single:8.2f} ms {shown:>11} {case.batch / best:10.0f} {peak:9.0f}", flush=True)
        for line in kernels:
            print(f"    {line}", flush=True)


def measure(
    case: Case, *, recorded: bool, tuned: bool, steps: int, profiled: bool = False
) -> tuple[float, float, list[str]]:
    """Median seconds of a step, the peak of the device's memory in MiB, and lines on the kernels if ``profiled``."""
    training = {"optimizer": case.optimizer, "learning_rate": 1e-5, "cuda_graphs": recorded}
    config: Config = parse_config({"name": "x", "model": case.model, "training": training}, source="benchmark")
    fabric = Fabric(accelerator="auto", devices=1, precision=case.precision)
    device = fabric.device
    recorded = recordable(device, 1, wanted=recorded)
    torch.manual_seed(0)
    model = build(config.model, case.shape, data_size=1000).to(device)
    tuned = tunable(model, device, wanted=tuned)
    if tuned:
        put_channels_last(model)
    optimizer = make_optimizer(model, config.training, recorded=recorded)
    learner = Learner(model, optimizer, WeightAverage(model, 0), recorded=recorded)
    stream = torch.Generator(device).manual_seed(0)
    step = GradientStep(fabric, learner, stream, gradient_clip=config.training.gradient_clip)
    x = torch.rand((case.batch, *case.shape), generator=torch.Generator().manual_seed(0)).to(device)
    if config.model.likelihood.kind == "bernoulli":
        x = x.round()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def timed_step() -> float:
        started = time.perf_counter()
        bool(step.make(x).is_finite)  # as the training does
        step.update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    with recording_stream(device), tuned_kernels(tuned):
        for _ in range(3 * WARM_UP):
            timed_step()
        seconds = [timed_step() for _ in range(steps)]
        kernels = kernel_lines(timed_step) if profiled else []
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0
    return statistics.median(seconds), peak, kernels


def kernel_lines(timed_step: Callable[[], float], *, steps: int = 3, shown: int = 10) -> list[str]:
    """The share of ``steps`` steps' time in kernels, and the kernels that take most of it, in ms a step."""
    with profile(activities=[ProfilerActivity.CUDA]) as recording:
        wall = sum(timed_step() for _ in range(steps))
    kernels = sorted(recording.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
    total = sum(kernel.self_device_time_total for kernel in kernels) / 1e6
    lines = [f"{total / wall:.1%} of the time in kernels (profiled)"]
    return lines + [
        f"{kernel.self_device_time_total / 1e3 / steps:8.3f} ms, {kernel.count / steps:g} calls, {kernel.key[:100]}"
        for kernel in kernels[:shown]
    ]


if __name__ == "__main__":
    main()
