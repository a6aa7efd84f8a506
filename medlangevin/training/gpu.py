"""What makes a step fast on a GPU: CUDA graphs, which launch it as a whole, and kernels that suit its shapes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Output = TypeVar("Output")

# Libraries choose and allocate in the first calls; those are made one by one.
WARM_UP = 3


class Recorded(Generic[Output]):
    """A function of tensors of fixed shapes, called ``WARM_UP`` times on a CUDA device and from then on replayed.

    It gives tensors that the next call overwrites. Inputs of other shapes, and all of them on other devices, are passed
    to the function as they are.

    Args:
        function: What is called. It may draw from ``generators`` alone and must not read anything on the host.
        generators: Its sources of noise.
        enabled: Otherwise every call is passed on as it is.
    """

    def __init__(
        self, function: Callable[..., Output], generators: Sequence[torch.Generator] = (), *, enabled: bool = True
    ) -> None:
        self._function, self._generators, self._enabled = function, generators, enabled
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
        """Whether inputs have the shapes that are, or will be, recorded: those of the first call.

        Args:
            inputs: Those of a call.

        Returns:
            True before the first call.
        """
        return self._shapes is None or tuple(value.shape for value in inputs) == self._shapes

    def __call__(self, *inputs: Tensor) -> Output:
        """What the function gives.

        Args:
            inputs: Tensors.

        Returns:
            Its output.
        """
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
    """Whether steps are to be recorded.

    Args:
        device: Where the steps are made.
        num_processes: Of the training.
        wanted: Whether the configuration wants it.

    Returns:
        True on one CUDA device; a graph cannot hold the exchange between processes.
    """
    return wanted and device.type == "cuda" and num_processes == 1


@contextmanager
def recording_stream(device: torch.device) -> Iterator[None]:
    """Work on a stream of its own, as CUDA's default one cannot be recorded; nothing changes on other devices.

    Args:
        device: Where the work is done.

    Yields:
        Nothing.
    """
    if device.type != "cuda":
        yield
        return
    outer, inner = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    inner.wait_stream(outer)
    with torch.cuda.stream(inner):
        yield
    outer.wait_stream(inner)


def tunable(model: nn.Module, device: torch.device, *, wanted: bool) -> bool:
    """Whether a model gains by channels last in memory and by kernels that cuDNN has timed.

    Args:
        model: The model.
        device: Where it is.
        wanted: Whether the configuration wants it.

    Returns:
        True for volumes on a CUDA device; images, measured, do not gain.
    """
    return wanted and device.type == "cuda" and any(weight.ndim == 5 for weight in model.parameters())


def put_channels_last(model: nn.Module) -> None:
    """Lay out the weights of volumes' convolutions with their channels last in memory; no number changes.

    Args:
        model: The model, changed in place.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.to(memory_format=torch.channels_last_3d)


@contextmanager
def tuned_kernels(enabled: bool) -> Iterator[None]:
    """Let cuDNN time its kernels for every shape that it meets, which takes seconds; at the end it is as it was.

    Args:
        enabled: Otherwise nothing changes.

    Yields:
        Nothing.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
