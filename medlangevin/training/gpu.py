"""CUDA graphs: a whole gradient step recorded once and launched at once, where launching its kernels takes longest."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Output = TypeVar("Output")

# Libraries choose and allocate in the first calls; those are made one by one.
WARM_UP = 3


class Recorded(Generic[Output]):
    """``function`` of tensors of fixed shapes, on a CUDA device called ``WARM_UP`` times and from then on replayed.

    The function may draw from ``generators`` alone, must not read anything on the host, and gives tensors that the
    next call overwrites. Inputs of other shapes, and all of them on other devices or if not ``enabled``, are passed to
    the function as it is.
    """

    def __init__(
        self,
        function: Callable[..., Output],
        generators: Sequence[torch.Generator] = (),
        *,
        enabled: bool = True,
    ) -> None:
        self._function = function
        self._generators = generators
        self._enabled = enabled
        self._shapes: tuple[torch.Size, ...] | None = None
        self._calls = 0
        self._inputs: tuple[Tensor, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Output | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether calls are replays."""
        return self._graph is not None

    def takes(self, *inputs: Tensor) -> bool:
        """Whether ``inputs`` have the shapes that are, or will be, recorded: those of the first call."""
        return self._shapes is None or tuple(value.shape for value in inputs) == self._shapes

    def __call__(self, *inputs: Tensor) -> Output:
        """What ``function`` gives for ``inputs``."""
        if not self._enabled or not self.takes(*inputs):
            return self._function(*inputs)
        self._shapes = tuple(value.shape for value in inputs)
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._function(*inputs)
        if self._graph is None:
            self._graph = self._record(inputs)
        for held, value in zip(self._inputs, inputs, strict=True):
            held.copy_(value)
        self._graph.replay()
        return self._output  # type: ignore[return-value]

    def _record(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        self._inputs = tuple(value.clone() for value in inputs)
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            self._output = self._function(*self._inputs)
        return graph


def recordable(device: torch.device, num_processes: int, *, wanted: bool) -> bool:
    """Whether steps on ``device`` are to be recorded: on one CUDA device, as collectives are none of a graph's."""
    return wanted and device.type == "cuda" and num_processes == 1


@contextmanager
def recording_stream(device: torch.device) -> Iterator[None]:
    """Work on a stream of its own, as CUDA's default one cannot be recorded; nothing changes on other devices."""
    if device.type != "cuda":
        yield
        return
    outer, inner = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    inner.wait_stream(outer)
    with torch.cuda.stream(inner):
        yield
    outer.wait_stream(inner)


def tunable(model: nn.Module, device: torch.device, *, wanted: bool) -> bool:
    """Whether ``model`` on ``device`` gains: volumes on a CUDA device do; images, measured, do not."""
    return wanted and device.type == "cuda" and any(weight.ndim == 5 for weight in model.parameters())


def put_channels_last(model: nn.Module) -> None:
    """Lay out the weights of volumes' convolutions with their channels last in memory; no number changes."""
    for module in model.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.to(memory_format=torch.channels_last_3d)


@contextmanager
def tuned_kernels(enabled: bool) -> Iterator[None]:
    """Let cuDNN time its kernels for every shape that it meets, which takes seconds; at the end it is as it was."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
