"""Averaged weights: the recursion by hand, and which weights a run keeps."""

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file

from medlangevin.config import Config
from medlangevin.models import LatentVariableModel, build
from medlangevin.runs.averaging import WeightAverage
from medlangevin.runs.metrics import read_metrics
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.train import train


@pytest.fixture
def model(make_config: Callable[..., Config]) -> LatentVariableModel:
    return build(make_config(kind="lae").model, (1, 8, 6, 5))


@pytest.mark.claim("average-weights")
def test_the_average_follows_its_recursion(model: LatentVariableModel) -> None:
    """Of weights 1, 2, 3 with a decay of 0.75: 1, then 1.25, then 1.6875; the LAE's last layer, a buffer, as well."""
    average = WeightAverage(model, 0.75)
    for value, expected in ((1.0, 1.0), (2.0, 1.25), (3.0, 1.6875)):
        with torch.no_grad():
            for weight in (*model.parameters(), *model.buffers()):
                weight.fill_(value)
        average.update()
        for name, weight in average.model.state_dict().items():
            torch.testing.assert_close(weight, torch.full_like(weight, expected), msg=name)
    assert model.get_parameter("decoder.dense.weight").eq(3).all()


def test_without_a_decay_there_is_no_average(model: LatentVariableModel) -> None:
    average = WeightAverage(model, 0.0)
    average.update()
    assert average.model is model
    assert average.state() == {}


@pytest.mark.claim("average-weights")
def test_a_run_keeps_the_average_as_best_and_both_as_last(make_config: Callable[..., Config]) -> None:
    """The weights that are trained do not depend on the average that is taken of them."""
    plain = train(make_config("plain", learning_rate=0.01)) / "checkpoints"
    run = train(make_config("averaged", learning_rate=0.01, weight_averaging=0.9))
    last, average = (load_file(run / f"checkpoints/last/{name}.safetensors") for name in ("model", "average"))
    for name, value in load_file(plain / "last/model.safetensors").items():
        assert torch.equal(last[name], value)
    assert not (plain / "last/average.safetensors").exists()
    rows = read_metrics(run / "metrics.csv")
    assert max(rows, key=lambda row: row["validation_elbo"])["epoch"] == len(rows)  # else best is not the last average
    for name, value in load_file(run / "checkpoints/best/model.safetensors").items():
        assert torch.equal(average[f"module.{name}"], value)
    assert any(not torch.equal(average[f"module.{name}"], value) for name, value in last.items())


def test_a_checkpoint_that_lost_its_average_is_refused(make_config: Callable[..., Config]) -> None:
    run = train(make_config(epochs=2, weight_averaging=0.9))
    (run / "checkpoints/last/average.safetensors").unlink()
    with pytest.raises(MedlangevinError, match=r"average\.safetensors is absent"):
        train(make_config(epochs=3, weight_averaging=0.9), resume=True)
