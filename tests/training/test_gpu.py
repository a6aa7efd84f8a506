"""Steps recorded as CUDA graphs: the same numbers as steps made one by one; what makes a step fit to be recorded."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from medlangevin.config import Config, parse_config
from medlangevin.models import LatentVariableModel, build
from medlangevin.runs.averaging import WeightAverage
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.training.fabric import Fabric
from medlangevin.training.gpu import WARM_UP, Recorded, recordable, recording_stream
from medlangevin.training.gradient_step import GradientStep
from medlangevin.training.learner import Learner
from medlangevin.training.train import train

SHAPE = (1, 8, 8)
FLOW = {"steps": 2, "step_size": 0.1, "max_step_size": 0.5}
MODELS: dict[str, dict[str, Any]] = {
    "vae": {"kind": "vae"},
    "vae_flow": {"kind": "vae_flow"},
    "iwae": {"kind": "iwae"},
    "hvae": {"kind": "hvae", "flow": {**FLOW, "tempering": "fixed", "initial_temperature": 1.5}},
    "hvae free": {"kind": "hvae", "flow": {**FLOW, "tempering": "free", "initial_temperature": 1.5}},
    "qsl flow": {"kind": "qsl_vae", "flow": {**FLOW, "bound": "flow", "damping": 0.01, "noise": 0.1}},
    "qsl annealed": {"kind": "qsl_vae", "flow": FLOW},
    "qsl checkpointed": {"kind": "qsl_vae", "flow": {**FLOW, "checkpoint_steps": True}},
    "qsl in units of q": {"kind": "qsl_vae", "flow": {**FLOW, "step_unit": "posterior"}},
    "hoffman": {"kind": "hoffman", "langevin": {"metropolis": False}},
    "hoffman adjusted": {"kind": "hoffman", "langevin": {"metropolis": True}},
    "lae": {"kind": "lae"},
    "lae unadjusted": {"kind": "lae", "langevin": {"metropolis": False}},
    "lae mala": {"kind": "lae", "langevin": {"update": "mala"}},
    "lae frozen": {"kind": "lae", "langevin": {"update": "frozen"}},
    "ae": {"kind": "ae"},
}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def settings(model: dict, likelihood: str = "discretized_logistic") -> dict:
    network = {"kind": "mlp", "widths": [16, 16]}
    return {"latent_dim": 3, "network": network, "likelihood": {"kind": likelihood}, **model}


class NoHost(TorchDispatchMode):
    """Refuses what a CUDA graph cannot hold: numbers read on the host, and tensors that come from it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = str(function)
        if "_local_scalar_dense" in name or "nonzero" in name:
            raise AssertionError(f"{name} reads on the host")
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        if "_to_copy" in name and tensors and kwargs.get("device") not in (None, tensors[0].device):
            raise AssertionError("a tensor is copied to another device")
        return function(*args, **kwargs)


@pytest.fixture
def no_host(monkeypatch: pytest.MonkeyPatch) -> NoHost:
    """With this, ``torch.tensor`` and ``torch.as_tensor`` refuse to make device tensors of numbers on the host."""

    def guarded(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def guard(data: Any, **options: Any) -> torch.Tensor:
            made = make(data, **options)
            assert isinstance(data, torch.Tensor) or made.device.type == "cpu", "a tensor is made of a number"
            return made

        return guard

    monkeypatch.setattr(torch, "tensor", guarded(torch.tensor))
    monkeypatch.setattr(torch, "as_tensor", guarded(torch.as_tensor))
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # unknown on the meta device
    return NoHost()


def on_meta(model: dict, likelihood: dict[str, Any]) -> LatentVariableModel:
    """A model on the device of tensors without values, where nothing can be read on the host."""
    raw = {"name": "x", "model": settings(model) | {"likelihood": likelihood}}
    return build(parse_config(raw, source="test").model, SHAPE, data_size=100).to("meta")


@pytest.mark.slow(seconds=0.3)
@pytest.mark.claim("recorded-steps")
@pytest.mark.parametrize(
    "likelihood",
    [
        {"kind": "discretized_logistic"},
        {"kind": "gaussian"},
        {"kind": "gaussian", "scale_per_ear": True, "scale_map": True, "correlated": True},
        {"kind": "continuous_bernoulli"},
    ],
    ids=["discretized_logistic", "gaussian", "noise of CT", "continuous_bernoulli"],
)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_never_waits_for_the_device(name: str, likelihood: dict[str, Any], no_host: NoHost) -> None:
    """Loss, gradients and the bound, on the meta device: it has no values, as a graph has none while it is recorded."""
    model = on_meta(MODELS[name], likelihood)
    x = torch.empty((5, *SHAPE), device="meta")
    with no_host:
        loss, _ = model(x)
        loss.backward()
        model.eval().elbo(x)
    assert sum(parameter.grad is not None for parameter in model.parameters()) > 3


@pytest.mark.parametrize(
    "wait",
    [
        lambda z: z.sum().item(),
        lambda z: bool(z.sum() > 0),
        lambda z: torch.as_tensor(0.5, device=z.device),
        lambda z: torch.tensor([0.5]).to(z.device),
    ],
)
def test_the_check_sees_a_step_that_waits(wait: Callable[[torch.Tensor], Any], no_host: NoHost) -> None:
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), no_host:
        wait(torch.empty(3, device="meta"))


def test_nothing_is_recorded_on_other_devices() -> None:
    calls = []

    def twice(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return 2 * x

    double = Recorded(twice, enabled=False)
    for value in range(2 * WARM_UP):
        assert torch.equal(double(torch.tensor([value])), torch.tensor([2 * value]))
    assert len(calls) == 2 * WARM_UP
    assert not double.is_recorded
    assert not recordable(torch.device("cpu"), 1, wanted=True)
    assert not recordable(torch.device("cuda"), 2, wanted=True)
    assert not recordable(torch.device("cuda"), 1, wanted=False)


@pytest.fixture
def config(tmp_path: Path, write_images: Callable[..., Path]) -> Callable[..., Config]:
    """A training on 40 images in batches of 16, the last one smaller."""
    write_images(tmp_path / "noise.npz", SHAPE, train=40, valid=40, test=40)

    def make(name: str, model: dict[str, Any], **training: Any) -> Config:
        return parse_config(
            {
                "name": name,
                "output_dir": str(tmp_path / "runs"),
                "images": {"set": str(tmp_path / "noise.npz")},
                "model": settings(model),
                "training": {"epochs": 4, "batch_size": 16, "warmup_epochs": 2, **training},
            },
            source="test",
        )

    return make


def test_a_training_alone_draws_from_generators_that_a_graph_takes(
    config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch registers its own generators with a graph and refuses those of a subclass."""
    generators: list[torch.Generator] = []
    make = Recorded.__init__

    def spy(self: Recorded, function: Any, streams: Any = (), **options: Any) -> None:
        generators.extend(streams)
        make(self, function, streams, **options)

    monkeypatch.setattr(Recorded, "__init__", spy)
    train(config("alone", MODELS["vae"], epochs=1))
    assert len({id(stream) for stream in generators}) == 2  # of the steps, and of validation
    assert {type(stream) for stream in generators} == {torch.Generator}


class Replayed:
    """Stands for a CUDA graph on a CPU: a replay writes where the recording did, and touches nothing of Python's."""

    def __init__(self, function: Callable[..., Any], inputs: tuple[torch.Tensor, ...], model: LatentVariableModel):
        self._function, self._inputs, self._model = function, inputs, model
        state = [value.clone() for value in model.state_dict().values()]
        self.output = function(*inputs)  # recording allocates, and computes nothing
        self._gradients = [parameter.grad for parameter in model.parameters()]
        for value, before in zip(model.state_dict().values(), state, strict=True):
            value.copy_(before)

    def replay(self) -> None:
        seen = [parameter.grad for parameter in self._model.parameters()]
        output = self._function(*self._inputs)
        for parameter, gradient, before in zip(self._model.parameters(), self._gradients, seen, strict=True):
            if gradient is not parameter.grad:
                assert gradient is not None
                assert parameter.grad is not None
                gradient.copy_(parameter.grad)
            parameter.grad = before
        if isinstance(output, tuple):
            for held, value in zip(self.output, output, strict=True):
                held.copy_(value)


def weights_after(batches: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, *, recorded: bool) -> dict[str, Any]:
    """Of a small VAE after eight epochs of batches of these sizes."""
    torch.manual_seed(0)
    model = build(parse_config({"name": "x", "model": settings({"kind": "vae"})}, source="test").model, SHAPE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    fabric, stream = Fabric(accelerator="cpu", devices=1), torch.Generator()

    def record(self: Recorded, inputs: tuple[torch.Tensor, ...]) -> Replayed:
        self._inputs = tuple(value.clone() for value in inputs)
        before = stream.get_state()
        graph = Replayed(self._function, self._inputs, model)
        stream.set_state(before)
        self._output = graph.output
        return graph

    monkeypatch.setattr(Recorded, "_record", record)
    learner = Learner(model, optimizer, WeightAverage(model, 0), recorded=recorded)
    step = GradientStep(fabric, learner, stream, gradient_clip=10.0)
    x = torch.rand(max(batches), *SHAPE, generator=torch.Generator().manual_seed(1))
    for epoch in range(8):
        stream.manual_seed(epoch)
        for size in batches:
            assert step.make(x[:size]).is_finite
            step.update()
    assert step._record_make.is_recorded == step._record_update.is_recorded == recorded
    return model.state_dict()


@pytest.mark.claim("recorded-steps")
@pytest.mark.parametrize("batches", [(16, 16, 8), (16, 8), (8, 16, 16)])
def test_recorded_steps_are_single_ones_where_batches_differ_in_size(
    batches: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bookkeeping of gradients that live at a fixed place, with a stand-in for the graphs themselves."""
    expected = weights_after(batches, monkeypatch, recorded=False)
    for key, value in weights_after(batches, monkeypatch, recorded=True).items():
        torch.testing.assert_close(value, expected[key])


OPTIMIZERS = [(name, "adam") for name in MODELS] + [
    (name, optimizer) for name in ("vae", "lae", "qsl annealed") for optimizer in ("adamax", "sgd")
]


@pytest.mark.claim("recorded-steps")
@needs_cuda
@pytest.mark.parametrize(("name", "optimizer"), OPTIMIZERS)
def test_a_recorded_training_is_that_of_single_steps(config: Callable[..., Config], name: str, optimizer: str) -> None:
    """Weights and figures, over epochs with a smaller last batch and a rate that changes; also taken up in the middle.

    The same kernels with the same noise: what differs is the order in which atomics add, if anything.
    """
    whole: dict[bool | str, Path] = {
        recorded: train(config(f"whole-{recorded}", MODELS[name], optimizer=optimizer, cuda_graphs=recorded))
        for recorded in (False, True)
    }
    train(config("parts", MODELS[name], optimizer=optimizer, epochs=2))
    whole["resumed"] = train(config("parts", MODELS[name], optimizer=optimizer), resume=True)
    expected = load_run(whole[False], checkpoint="last").model.state_dict()
    rows = read_metrics(whole[False] / "metrics.csv")
    for run_dir in whole.values():
        for key, value in load_run(run_dir, checkpoint="last").model.state_dict().items():
            torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-5)
        for row, wanted in zip(read_metrics(run_dir / "metrics.csv"), rows, strict=True):
            for key in row.keys() - {"seconds"}:
                assert row[key] == pytest.approx(wanted[key], rel=1e-3), key


@needs_cuda
def test_replays_are_counted_and_smaller_inputs_are_passed_by() -> None:
    calls = []
    stream = torch.Generator("cuda").manual_seed(0)

    def noisy(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x + torch.randn(x.shape, device=x.device, generator=stream)

    with recording_stream(torch.device("cuda")):
        recorded = Recorded(noisy, [stream])
        outputs = [recorded(torch.full((4,), float(k), device="cuda")).clone() for k in range(2 * WARM_UP)]
        assert recorded.is_recorded
        assert len(calls) == WARM_UP + 1
        assert recorded(torch.zeros(3, device="cuda")).shape == (3,)
    again = torch.Generator("cuda").manual_seed(0)
    for k, output in enumerate(outputs):
        torch.testing.assert_close(output, k + torch.randn(4, device="cuda", generator=again))
