"""A training in two processes: the same figures and weights as in one, up to rounding."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

from medlangevin.config import Config, parse_config
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.samplers import standard_normal, uniform
from medlangevin.system.distributed import Rows, SharedGenerator
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.processes import make_fabric
from medlangevin.training.sources import EpochBatches
from medlangevin.training.train import train

FLOW = {"steps": 2, "step_size": 0.1, "max_step_size": 0.5}
MODELS: dict[str, dict[str, Any]] = {
    "vae": {"kind": "vae"},
    "iwae": {"kind": "iwae"},
    "hvae": {"kind": "hvae", "flow": FLOW},
    "qsl": {"kind": "qsl_vae", "flow": FLOW},
    "flow": {"kind": "qsl_vae", "flow": {**FLOW, "bound": "flow", "noise": 0.2}},
    "hoffman": {"kind": "hoffman"},
    "lae": {"kind": "lae", "langevin": {"step_size": 0.01}},
    "mala": {"kind": "lae", "langevin": {"update": "mala"}},
}
PROCESSES = 2


def config(name: str, folder: Path, *, devices: int = 1, **training: Any) -> Config:
    """Three epochs on 23 grey images in batches of 10, so that shares are uneven and the last batch is of 3."""
    return parse_config(
        {
            "name": f"{name}-{devices}",
            "output_dir": str(folder / "runs"),
            "images": {"set": str(folder / "noise.npz"), "binarization": "dynamic"},
            "model": {
                "latent_dim": 5,  # as many as half a batch has images, so that one may be taken for the other
                "network": {"kind": "mlp", "widths": [16]},
                "likelihood": {"kind": "bernoulli"},
                **MODELS[name],
            },
            "training": {"epochs": 3, "batch_size": 10, "accelerator": "cpu", "devices": devices, **training},
        },
        source="test",
    )


def train_as_one_of_several(rank: int, folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    where = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": PROCESSES, "LOCAL_WORLD_SIZE": PROCESSES}
    os.environ |= {name: str(value) for name, value in where.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name in MODELS:
        train(config(name, folder, devices=PROCESSES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_images: Callable[..., Path]) -> Path:
    """With the runs of all models in two processes."""
    path = tmp_path_factory.mktemp("processes")
    write_images(path / "noise.npz", (1, 4, 4), train=23, valid=8, test=8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train_as_one_of_several, args=(path, port), nprocs=PROCESSES)
    return path


@pytest.mark.slow
@pytest.mark.claim("processes")
@pytest.mark.parametrize("name", MODELS)
def test_two_processes_end_where_one_does(folder: Path, name: str) -> None:
    alone = train(config(name, folder))
    together = folder / "runs" / f"{name}-{PROCESSES}"
    for row, wanted in zip(read_metrics(together / "metrics.csv"), read_metrics(alone / "metrics.csv"), strict=True):
        assert row.keys() == wanted.keys()
        for key in row.keys() - {"seconds"}:
            assert row[key] == pytest.approx(wanted[key], rel=1e-4, abs=1e-6), key
    weights = load_run(alone, checkpoint="last").model.state_dict()
    for key, value in load_run(together, checkpoint="last").model.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_run_of_two_processes_can_be_taken_up_by_one(folder: Path) -> None:
    longer = config("vae", folder, epochs=4)
    alone = train(longer.model_copy(update={"name": "longer"}))
    resumed = train(longer.model_copy(update={"name": f"vae-{PROCESSES}"}), resume=True)
    wanted, row = (read_metrics(run / "metrics.csv")[-1] for run in (alone, resumed))
    assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-4)


@pytest.mark.slow(seconds=15)
@pytest.mark.timeout(300)
def test_the_command_starts_its_processes_itself(folder: Path) -> None:
    path = folder / "config.yaml"
    text = f"""
name: command
output_dir: {folder / "runs"}
images: {{set: {folder / "noise.npz"}, binarization: dynamic}}
model: {{kind: vae, latent_dim: 2, network: {{kind: mlp, widths: [8]}}, likelihood: {{kind: bernoulli}}}}
training: {{epochs: 2, batch_size: 10, accelerator: cpu}}
"""
    path.write_text(text)
    command = [sys.executable, "-m", "medlangevin", "train", str(path), "--devices", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 processes") == done.stdout.count("best epoch") == done.stdout.count("epoch 2/2") == 1
    assert len(read_metrics(folder / "runs" / "command" / "metrics.csv")) == 2


def test_shares_are_even_and_make_up_the_batch() -> None:
    parts = [EpochBatches(23, 10, seed=0, rank=rank, processes=3) for rank in range(3)]
    whole = EpochBatches(23, 10, seed=0)
    assert [rows.size for rows in parts[0].rows()] == [3, 3, 1]
    for batch, *shares in zip(whole.positions(), *(part.positions() for part in parts), strict=True):
        assert torch.equal(torch.cat(shares), batch)
    assert all(rows.total == total for part in parts for rows, total in zip(part.rows(), (10, 10, 3), strict=True))
    # Two images cannot be shared by three.
    assert len(EpochBatches(22, 10, seed=0, rank=1, processes=3)) == 2
    assert len(EpochBatches(22, 10, seed=0)) == 3


@pytest.mark.claim("noise-per-image")
def test_an_image_s_noise_does_not_depend_on_the_number_of_processes() -> None:
    like = torch.empty(0)
    for draw in (standard_normal, uniform):
        whole = draw((10, 4), like=like, generator=torch.Generator().manual_seed(0))
        parts = []
        for start, size in ((0, 3), (3, 3), (6, 4)):
            shared = SharedGenerator()
            shared.manual_seed(0)
            shared.rows = Rows(start, size, 10)
            parts.append(draw((size, 4), like=like, generator=shared))
            after = torch.rand(1, generator=shared)
        assert torch.equal(torch.cat(parts), whole)
        reference = torch.Generator().manual_seed(0)
        draw((10, 4), like=like, generator=reference)
        assert torch.equal(after, torch.rand(1, generator=reference))  # the streams stay together
    shared = SharedGenerator()
    shared.manual_seed(0)
    shared.rows = Rows(3, 3, 10)
    common = standard_normal((3, 4), like=like, generator=shared, common=True)
    assert torch.equal(common, standard_normal((3, 4), like=like, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("settings", "environment", "message"),
    [
        ({"devices": 2}, {"WORLD_SIZE": "4"}, "4 processes were started, but .* is 2; pass --devices and --nodes"),
        ({}, {"WORLD_SIZE": "2"}, "2 processes were started, but .* is 1"),
        ({"nodes": 2}, {}, "training.nodes is 2, and nobody has started the processes of the other machines"),
        ({"devices": 16}, {}, "batch_size 10 cannot be split among 16 processes"),
    ],
)
def test_processes_that_do_not_go_together_are_refused(
    settings: dict[str, int],
    environment: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    training = config("vae", tmp_path).training.model_copy(update=settings)
    with pytest.raises(MedlangevinError, match=message):
        make_fabric(training)
