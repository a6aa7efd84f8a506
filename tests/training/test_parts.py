"""The small parts of training, each against an answer worked out by hand."""

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from medlangevin.runs.checkpoint import EarlyStopping
from medlangevin.runs.metrics import MetricsFile, read_metrics, require_reaching
from medlangevin.runs.randomness import derive_seed, generator
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.health import gradient_problem, loss_problem, stopped, weight_problem
from medlangevin.training.optimizer import learning_rate_factor
from medlangevin.training.sources import EpochBatches


def test_early_stopping_waits_for_patience_epochs_without_a_gain() -> None:
    state = EarlyStopping()
    for epoch, elbo in enumerate([-10.0, -5.0, -5.0, -7.0], start=1):
        state = state.update(epoch, elbo)
    assert state == EarlyStopping(-5.0, 2)  # a tie is no gain
    assert not state.should_stop(4, patience=3)
    assert state.should_stop(5, patience=3)


def test_learning_rate_warms_up_and_falls_along_half_a_cosine() -> None:
    def factor(step: int, schedule: str = "cosine") -> float:
        return learning_rate_factor(step, total_steps=104, warmup_steps=4, schedule=schedule)  # type: ignore[arg-type]

    assert [factor(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert factor(4) == 1.0
    assert factor(54) == pytest.approx(0.5)
    assert factor(29) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))
    assert factor(104) == pytest.approx(0.0)
    assert factor(2000) == pytest.approx(0.0)
    assert factor(54, "constant") == 1.0
    assert factor(0, "constant") == 0.25


def test_each_epoch_visits_every_ear_once_in_its_own_order() -> None:
    batches = EpochBatches(10, 4, seed=0)
    orders = []
    for epoch in (1, 2, 1):
        batches.set_epoch(epoch)
        drawn = list(batches)
        assert [len(batch) for batch in drawn] == [4, 4, 2]
        orders.append([position for batch in drawn for position in batch])
        assert sorted(orders[-1]) == list(range(10))
    assert len(batches) == 3
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]


def test_streams_are_reproducible_and_unrelated() -> None:
    assert derive_seed(0, "noise", 1) == derive_seed(0, "noise", 1)
    seeds = {derive_seed(seed, name, epoch) for seed in range(5) for name in ("noise", "order") for epoch in range(50)}
    assert len(seeds) == 500
    assert derive_seed(1, 11) != derive_seed(11, 1) != derive_seed(1, 1, 1)
    # Correlation of two streams of n numbers has standard error 1 / sqrt(n) = 0.01; 5 of them: false alarm 6e-7.
    one, two = (torch.randn(10_000, generator=generator(0, "noise", epoch)) for epoch in (1, 2))
    assert abs((one * two).mean().item()) < 0.05


def test_metrics_survive_the_round_trip_exactly(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    metrics = MetricsFile(path)
    rows = [{"epoch": epoch, "loss": 1 / 3 * epoch, "kl": 1e-30} for epoch in (1, 2, 3)]
    for row in rows:
        metrics.append(row)
    assert read_metrics(path) == rows
    resumed = MetricsFile(path, read_metrics(path))
    resumed.drop_after(2)
    assert read_metrics(path) == rows[:2]
    assert read_metrics(tmp_path / "none.csv") == []


@pytest.mark.parametrize("damage", ["1,0.5\n2,x\n", "1,0.5\n2\n", "1,0.5\n,0.5\n", "1,0.5\n2,0.5,7\n"])
def test_damaged_metrics_name_the_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n" + damage)
    with pytest.raises(MedlangevinError, match=r"metrics\.csv, line 3 is damaged") as error:
        read_metrics(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("epochs", "fine"), [([1, 2, 3], True), ([3, 4], True), ([], True), ([1, 2], False), ([1, 3], False)]
)
def test_metrics_have_to_reach_the_checkpoint(epochs: list[int], fine: bool) -> None:
    rows = [{"epoch": float(epoch)} for epoch in epochs]
    with nullcontext() if fine else pytest.raises(MedlangevinError, match=r"metrics\.csv lacks epochs"):
        require_reaching(rows, 3, Path("metrics.csv"))


def test_metrics_that_are_no_text_or_no_table(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MedlangevinError, match="not a text file"):
        read_metrics(path)
    path.write_text("loss\n0.5\n")
    with pytest.raises(MedlangevinError, match="line 2 is damaged"):
        read_metrics(path)
    path.write_bytes(b"epoch,loss\n1,\x00\n")
    with pytest.raises(MedlangevinError, match="damaged"):
        read_metrics(path)


def test_health_names_what_went_wrong_and_what_is_left() -> None:
    fine, none = torch.tensor(1.0), torch.tensor(torch.nan)
    assert loss_problem(fine, {"kl": fine}) is None
    assert loss_problem(none, {"kl": none, "elbo": fine}) == "the loss is not finite (kl = nan)"
    assert loss_problem(torch.tensor(torch.inf), {}) == "the loss is not finite (inf)"
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert gradient_problem(fine, model) is None
    assert gradient_problem(none, model) == "the gradient of the parameters together is not finite"
    model[1].bias.grad = torch.tensor([torch.inf])
    assert gradient_problem(torch.tensor(torch.inf), model) == "the gradient of 1.bias is not finite"
    assert weight_problem(model) is None
    model.get_parameter("0.weight").data.fill_(torch.nan)
    assert weight_problem(model) == "0.weight is not finite"
    assert "step 12 (epoch 3): it broke, after 1 skipped step of this epoch; checkpoints/last holds epoch 2" in str(
        stopped("it broke", step=12, epoch=3, saved_epoch=2, skipped=1)
    )
    assert "(epoch 1): it broke; no checkpoint was made yet" in str(stopped("it broke", step=1, epoch=1, saved_epoch=0))
