"""MLflow: every number of metrics.csv on a tracking server as well, for groups that keep one."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medlangevin.config import Config
from medlangevin.config.load import flat
from medlangevin.runs.metrics import Row
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, write_json

logger = logging.getLogger(__name__)

EXPERIMENT = "medlangevin"
RUN_ID = "mlflow.json"


class MlflowLog:
    """A run of the experiment ``medlangevin`` at the tracking server ``uri``, the value of ``training.mlflow``.

    Settings of the model and of the optimisation are sent, and the seed; no path, as folders may be named after people
    or hospitals. Making one only asks whether the server answers: MedlangevinError, if it does not or MLflow is not
    installed. A server that fails later costs its curves and not the training.
    """

    def __init__(self, uri: str) -> None:
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ModuleNotFoundError as error:
            raise MedlangevinError(
                "training.mlflow needs MLflow, which is not installed; pip install mlflow-skinny, or leave the key out"
            ) from error
        # Its own 7 tries with growing pauses would hold a training up for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        self._uri, self._failure = uri, MlflowException
        self._run_id = ""
        try:
            self._client: Any = MlflowClient(tracking_uri=uri)
            self._experiment = self._client.get_experiment_by_name(EXPERIMENT)
        except MlflowException as error:
            raise MedlangevinError(
                f"training.mlflow: no MLflow server answers at {uri} ({_first_line(error)}); "
                "start it, mend the address, or leave the key out"
            ) from error

    def start(self, run_dir: Path, config: Config) -> None:
        """Go on with the server's run that ``run_dir`` names, or begin one and note it there."""
        from mlflow.entities import Param

        record = run_dir / RUN_ID
        known = read_json(record) if record.is_file() else None
        with self._or_without():
            if isinstance(known, dict) and known.get("uri") == self._uri:
                self._run_id = str(known.get("run_id"))
                self._client.update_run(self._run_id, status="RUNNING")
                return
            found = self._experiment
            experiment_id = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
            self._run_id = self._client.create_run(experiment_id, run_name=config.name).info.run_id
            params = [Param(name, str(value)) for name, value in settings(config).items()]
            self._client.log_batch(self._run_id, params=params)
            write_json(record, {"uri": self._uri, "run_id": self._run_id})

    def scalars(self, epoch: int, row: Row) -> None:
        """Every entry of a row of metrics.csv but the epoch."""
        from mlflow.entities import Metric

        if not self._run_id:
            return
        now_ms = int(1000 * time.time())
        metrics = [Metric(name, float(value), now_ms, epoch) for name, value in row.items() if name != "epoch"]
        with self._or_without():
            self._client.log_batch(self._run_id, metrics=metrics)

    def close(self, *, finished: bool) -> None:
        """Say on the server that the run is finished, or that it was stopped."""
        if self._run_id:
            with self._or_without():
                self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """A server that fails is told once, and from then on nothing is sent."""
        try:
            yield
        except self._failure as error:
            self._run_id = ""
            logger.warning(f"MLflow at {self._uri} fails ({_first_line(error)}); metrics.csv goes on without it")


def settings(config: Config) -> dict[str, Any]:
    """What is sent as a run's parameters."""
    everything = flat(config.model_dump(mode="json"))
    kept = {key: value for key, value in everything.items() if key.split(".")[0] in ("model", "training", "seed")}
    kept.pop("training.mlflow", None)
    return kept


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
