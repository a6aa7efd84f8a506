"""Where the curves of a training go: metrics.csv, TensorBoard and, for groups that keep a server, MLflow."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from medlangevin.config import Config
from medlangevin.config.load import flat
from medlangevin.datasets.crop_arrays import strip
from medlangevin.runs.folder import METRICS
from medlangevin.runs.metrics import MetricsFile, Row
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, write_json

logger = logging.getLogger(__name__)

EXPERIMENT = "medlangevin"
RUN_ID = "mlflow.json"


class Curves:
    """The figures and pictures of a run's epochs, as the first process writes them.

    Attributes:
        run_dir: The folder of the run.
    """

    _events: SummaryWriter

    def __init__(self, run_dir: Path, rows: list[Row], mlflow: "MlflowLog | None") -> None:
        """Nothing is written yet.

        Args:
            run_dir: The folder of the run.
            rows: Those of the epochs before.
            mlflow: The server that gets the figures as well.
        """
        self.run_dir = run_dir
        self._metrics, self._mlflow = MetricsFile(run_dir / METRICS, rows), mlflow

    def start(self, config: Config, epoch: int) -> None:
        """Forget what a killed run wrote after its last checkpoint, and get ready for more.

        Args:
            config: The run.
            epoch: That of the checkpoint.
        """
        self._metrics.drop_after(epoch)
        if self._mlflow is not None:
            self._mlflow.start(self.run_dir, config)
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        # Events that a killed run wrote after the checkpoint are hidden.
        self._events = SummaryWriter(str(self.run_dir / "tensorboard"), purge_step=epoch + 1 if epoch else None)

    def append(self, epoch: int, row: Row) -> None:
        """Write the figures of an epoch.

        Args:
            epoch: Its number.
            row: The figures by name, with ``epoch`` among them.
        """
        self._metrics.append(row)
        for name, value in row.items():
            if name != "epoch":
                self._events.add_scalar(name, value, epoch)
        if self._mlflow is not None:
            self._mlflow.scalars(epoch, row)

    def draw(self, epoch: int, name: str, images: torch.Tensor) -> None:
        """Show pictures in TensorBoard: images side by side, or the middle slices of volumes, one row each.

        Args:
            epoch: The number of the epoch.
            name: What is shown.
            images: (N, C, H, W) in [0, 1], or volumes (N, 1, i, j, k).
        """
        images = images.float().cpu().clamp(0, 1)
        rows = torch.cat([strip(image[0]) for image in images])[None] if images.ndim > 4 else torch.cat([*images], 2)
        self._events.add_image(name, rows, epoch)

    def close(self, *, finished: bool) -> None:
        """Write what is pending.

        Args:
            finished: Whether the training came to its end.
        """
        self._events.close()
        if self._mlflow is not None:
            self._mlflow.close(finished=finished)


class MlflowLog:
    """A run of the experiment ``medlangevin`` at a tracking server: every number of metrics.csv.

    Settings of the model and of the optimisation are sent, and the seed; no path, as folders may be named after people
    or hospitals. A server that fails later costs its curves and not the training.
    """

    def __init__(self, uri: str) -> None:
        """Only ask whether the server answers.

        Args:
            uri: The address, the value of ``training.mlflow``.

        Raises:
            MedlangevinError: It does not answer, or MLflow is not installed.
        """
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
        """Go on with the server's run that the folder names, or begin one and note it there.

        Args:
            run_dir: The folder of the run.
            config: Its configuration.
        """
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
        """Every entry of a row of metrics.csv but the epoch.

        Args:
            epoch: The number of the epoch.
            row: Its figures by name.
        """
        from mlflow.entities import Metric

        if not self._run_id:
            return
        now_ms = int(1000 * time.time())
        metrics = [Metric(name, float(value), now_ms, epoch) for name, value in row.items() if name != "epoch"]
        with self._or_without():
            self._client.log_batch(self._run_id, metrics=metrics)

    def close(self, *, finished: bool) -> None:
        """Say on the server how the run ended.

        Args:
            finished: Whether it came to its end.
        """
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
    """What is sent as a run's parameters.

    Args:
        config: The run.

    Returns:
        Values by dotted key.
    """
    everything = flat(config.model_dump(mode="json"))
    everything.pop("training.mlflow", None)
    return {key: value for key, value in everything.items() if key.split(".")[0] in ("model", "training", "seed")}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
