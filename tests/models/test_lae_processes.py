"""The Langevin autoencoder in two processes, each with half of every mini-batch: the same as in one."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from medlangevin.likelihoods import Gaussian
from medlangevin.models.lae import LAE

pytestmark = pytest.mark.slow

PROCESSES, STEPS, BATCH = 2, 12, 8


def make_model() -> LAE:
    torch.manual_seed(0)
    return LAE(
        features=nn.Sequential(nn.Linear(6, 16), nn.Tanh()),
        decoder=nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 6)),
        likelihood=Gaussian(0.5),
        latent_dim=2,
        num_features=16,
        num_updates=3,
        step_size=1.0,
    ).double()


def gradient_of(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def train(model: nn.Module, rank: int = 0, processes: int = 1) -> dict[str, Tensor]:
    """``STEPS`` steps of gradient descent on this process's share; what happened in them.

    Every process has a generator of its own, so that only what the model does about it makes the noise common.
    """
    rng = torch.Generator().manual_seed(rank)
    optimiser = torch.optim.SGD(model.parameters(), 1e-2)
    data = torch.rand(STEPS, BATCH, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    losses, acceptances, gradients, weights = [], [], [], []
    for batch in data:
        optimiser.zero_grad()
        loss, parts = model(batch[rank::processes], rng)
        loss.backward()
        gradients.append(torch.cat([gradient_of(parameter).flatten() for parameter in model.parameters()]))
        optimiser.step()
        inner = model.module if isinstance(model, DistributedDataParallel) else model
        losses.append(loss.detach())
        acceptances.append(parts["acceptance"])
        assert isinstance(inner, LAE)
        weights.append(inner.encoder.weight.clone())
    histories = {"loss": losses, "acceptance": acceptances, "gradient": gradients, "weight": weights}
    return {name: torch.stack(history) for name, history in histories.items()}


def train_in_one_of_several(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=PROCESSES
    )
    torch.save(train(DistributedDataParallel(make_model()), rank, PROCESSES), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(train_in_one_of_several, args=(folder,), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.claim("lae-processes")
def test_two_processes_do_what_one_does(histories):
    alone = train(make_model())
    assert len(set(alone["acceptance"].tolist())) > 2
    for history in histories:
        torch.testing.assert_close(history["weight"], alone["weight"])
        torch.testing.assert_close(history["gradient"], alone["gradient"])
        assert torch.equal(history["acceptance"], alone["acceptance"])
    torch.testing.assert_close((histories[0]["loss"] + histories[1]["loss"]) / 2, alone["loss"])
    assert (histories[0]["loss"] - histories[1]["loss"]).abs().min() > 0


@pytest.mark.claim("lae-processes")
def test_the_weights_of_the_processes_do_not_part(histories):
    """Bit for bit: a wrapper that broadcasts buffers before each forward pass has nothing to correct."""
    assert torch.equal(histories[0]["weight"], histories[1]["weight"])
    assert torch.equal(histories[0]["gradient"], histories[1]["gradient"])
