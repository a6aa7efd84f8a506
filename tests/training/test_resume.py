"""A training that is stopped and resumed ends bit for bit where an undisturbed one does."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medlangevin.config import Config, dump_config
from medlangevin.models import LatentVariableModel, Loss
from medlangevin.runs.metrics import read_metrics
from medlangevin.training.train import train

SCHEDULE = {"learning_rate_schedule": "cosine", "warmup_epochs": 1}


def require_same_run(one: Path, other: Path) -> None:
    files = ["last/model", "last/training", "best/model"]
    if (one / "checkpoints/last/average.safetensors").exists():
        files.append("last/average")
    for file in files:
        left, right = (load_file(run / "checkpoints" / f"{file}.safetensors") for run in (one, other))
        assert left.keys() == right.keys()
        for name in left:
            assert torch.equal(left[name], right[name]), (file, name)
    for name in ("last", "best"):
        texts = [(run / "checkpoints" / name / "training.json").read_text() for run in (one, other)]
        assert texts[0] == texts[1]
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run / "metrics.csv")]
        for run in (one, other)
    ]
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == [1, 2, 3, 4]


@pytest.fixture
def interrupt_at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Press Ctrl-C just before gradient step n, counted from now."""
    original = LatentVariableModel.forward

    def arm(step: int) -> None:
        left = [step]

        def forward(self: LatentVariableModel, x: torch.Tensor, generator: torch.Generator | None = None) -> Loss:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return original(self, x, generator)

        monkeypatch.setattr(LatentVariableModel, "forward", forward)

    return arm


EVERYTHING = {
    "weight_averaging": 0.5,
    "precision": "bf16",
    "weight_decay": 0.1,
    "data": {"shift_voxels": 0.5, "noise_hu": 50},
}


@pytest.mark.slow
@pytest.mark.claim("resume")
@pytest.mark.parametrize(
    ("kind", "settings"), [("vae", {}), ("qsl_vae", {}), ("lae", {}), ("qsl_vae", EVERYTHING), ("lae", EVERYTHING)]
)
def test_interrupted_and_resumed_equals_undisturbed(
    make_config: Callable[..., Config], interrupt_at_step: Callable[[int], None], kind: str, settings: dict[str, Any]
) -> None:
    settings = SCHEDULE | settings
    undisturbed = train(make_config("undisturbed", kind=kind, **settings))
    # An epoch has 3 steps. Before any checkpoint; in epoch 3; in epoch 2, then in the first resumed epoch.
    for number, steps in enumerate([(1,), (8,), (5, 2)]):
        config = make_config(f"disturbed-{number}", kind=kind, **settings)
        for step in steps:
            interrupt_at_step(step)
            with pytest.raises(KeyboardInterrupt):
                train(config, resume=True)
        interrupt_at_step(-1)
        require_same_run(undisturbed, train(config, resume=True))


def test_rows_and_weights_past_the_checkpoint_are_dropped(make_config: Callable[..., Config]) -> None:
    undisturbed = train(make_config("undisturbed"))
    run = train(make_config("disturbed", epochs=2))
    with (run / "metrics.csv").open("a") as file:  # as a run killed between its rows and its checkpoint leaves it
        file.write((run / "metrics.csv").read_text().splitlines()[-1].replace("2,", "3,", 1) + "\n")
    require_same_run(undisturbed, train(make_config("disturbed"), resume=True))


@pytest.mark.slow(seconds=15)
@pytest.mark.claim("resume")
def test_killed_process_resumes_exactly(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config("killed", **SCHEDULE)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    process = subprocess.Popen([sys.executable, "-c", _SLOW_TRAINING, "train", str(tmp_path / "config.yaml")])
    last = config.run_dir / "checkpoints" / "last" / "training.json"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert last.exists()
    require_same_run(train(make_config("undisturbed", **SCHEDULE)), train(config, resume=True))


_SLOW_TRAINING = """
import time
from medlangevin.cli.main import main
from medlangevin.models.base import LatentVariableModel
forward = LatentVariableModel.forward
LatentVariableModel.forward = lambda *arguments: time.sleep(0.2) or forward(*arguments)
main()
"""
