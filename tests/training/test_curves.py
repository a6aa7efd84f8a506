"""The curves on an MLflow server: a real client on MLflow's file store, and a server that is not there."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medlangevin.config import Config, parse_config
from medlangevin.runs.metrics import read_metrics
from medlangevin.system.errors import MedlangevinError
from medlangevin.training.curves import EXPERIMENT, settings
from medlangevin.training.train import train

MakeConfig = Callable[..., Config]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracking address that needs no server."""
    pytest.importorskip("mlflow", reason="MLflow is optional and not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


def runs_at(store: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def history(store: str, run_id: str, name: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    return [(m.step, m.value) for m in MlflowClient(tracking_uri=store).get_metric_history(run_id, name)]


def test_every_figure_of_metrics_csv_is_at_the_server_under_its_epoch(make_config: MakeConfig, store: str) -> None:
    run = train(make_config(epochs=3, mlflow=store))
    (logged,) = runs_at(store)
    rows = read_metrics(run / "metrics.csv")
    assert logged.info.run_name == "run"
    assert logged.info.status == "FINISHED"
    for name in rows[0].keys() - {"epoch"}:
        assert history(store, logged.info.run_id, name) == [(row["epoch"], row[name]) for row in rows], name


def test_settings_are_sent_and_no_path(make_config: MakeConfig, cohort: Path, store: str) -> None:
    train(make_config(epochs=1, mlflow=store))
    (logged,) = runs_at(store)
    assert logged.data.params["model.kind"] == "vae"
    assert logged.data.params["training.batch_size"] == "3"
    assert logged.data.params["seed"] == "3"
    assert not [value for value in logged.data.params.values() if "/" in value]
    assert str(cohort) not in str(logged.to_dictionary()["data"])


def test_a_resumed_training_goes_on_in_the_same_run(make_config: MakeConfig, store: str) -> None:
    train(make_config(epochs=2, mlflow=store))
    run = train(make_config(epochs=4, mlflow=store), resume=True)
    (logged,) = runs_at(store)
    losses = history(store, logged.info.run_id, "loss")
    assert losses == [(row["epoch"], row["loss"]) for row in read_metrics(run / "metrics.csv")]
    assert [epoch for epoch, _ in losses] == [1, 2, 3, 4]


def test_the_training_is_the_same_without_it(make_config: MakeConfig, store: str) -> None:
    with_it, without = train(make_config("with", epochs=2, mlflow=store)), train(make_config("without", epochs=2))
    weights = [run / "checkpoints" / "last" / "model.safetensors" for run in (with_it, without)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_server_that_fails_later_costs_its_curves_alone(
    make_config: MakeConfig, store: str, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def fail(self: Any, *args: Any, **kwargs: Any) -> None:
        raise MlflowException("the server has gone\nand more")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    run = train(make_config(epochs=3, mlflow=store))
    assert len(read_metrics(run / "metrics.csv")) == 3
    told = [line for line in logged().splitlines() if "MLflow" in line]
    assert told == [f"MLflow at {store} fails (the server has gone); metrics.csv goes on without it"]


def test_a_server_that_is_not_there_is_said_before_anything_is_written(
    make_config: MakeConfig, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MedlangevinError, match=r"no MLflow server answers at http://127\.0\.0\.1:9 ") as caught:
        train(make_config(mlflow="http://127.0.0.1:9"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_without_mlflow_the_line_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own, where MLflow cannot be imported."""
    program = (
        "import sys; sys.modules['mlflow'] = None\n"
        "from medlangevin.training.curves import MlflowLog\n"
        "try: MlflowLog('http://localhost:5000')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.startswith("MedlangevinError training.mlflow needs MLflow, which is not installed; pip install")


def test_an_address_with_a_password_is_refused() -> None:
    raw = {"name": "x", "model": {"kind": "vae"}, "training": {"mlflow": "http://me:secret@server"}}
    with pytest.raises(MedlangevinError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        parse_config(raw, source="test")
    assert "secret" not in str(caught.value)


def test_settings_leave_the_address_out(make_config: MakeConfig) -> None:
    assert "training.mlflow" not in settings(make_config(mlflow="http://server"))
