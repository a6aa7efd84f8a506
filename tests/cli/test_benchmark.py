"""medlangevin benchmark from the command line: the smoke table on real digits, killed half-way and resumed."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from medlangevin.cli.main import main

SMOKE = Path(__file__).parents[2] / "configs" / "benchmarks" / "smoke.yaml"
TIMES = {"seconds_per_epoch", "training_minutes"}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["benchmark", *map(str, arguments)])


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """All but dates and seconds, and the name of the folder in the command."""
    kept = [{key: value for key, value in row.items() if key not in ("date", "command")} for row in rows]
    return [row for row in kept if row["figure"] not in TIMES]


@pytest.fixture(scope="module")
def finished(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "smoke"
    done = call(SMOKE, "--out", out, "--data-root", mnist_root)
    assert done.exit_code == 0, done.output
    return out


@pytest.mark.slow(seconds=25)
def test_the_smoke_table_has_finite_figures_beside_published_ones(finished: Path) -> None:
    rows = {(row["row"], row["figure"]): row for row in read(finished / "table.csv") if row["data_set"] == "mnist"}
    for model in ("vae", "lae"):
        # A model of nothing, with each of 256 grey levels as likely, has log 256 = 5.5 nats for each pixel.
        assert 1 < float(rows[model, "negative_elbo_per_dim"]["mean"]) < 5.5
        assert 1 < float(rows[model, "nll_ais_per_dim"]["mean"]) < 5.5
        assert float(rows[model, "epochs"]["mean"]) == 2
    assert rows["vae", "negative_elbo_per_dim"]["published"] == "1.189"
    assert 0 <= float(rows["lae", "acceptance"]["mean"]) <= 1
    text = (finished / "table.md").read_text()
    assert "negative ELBO, nats per dimension, published" in text
    assert "| 1.177 |" in text
    assert "| VAE | not measured | 4.442 |" in text
    assert {path.name for path in finished.glob("*.png")} == {"curves-mnist.png", "samples-mnist.png"}
    assert "/tmp" not in text
    assert str(finished.parent) not in text


@pytest.mark.slow(seconds=25)
@pytest.mark.claim("table-killed")
def test_a_table_that_was_killed_half_way_comes_out_the_same(finished: Path, mnist_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "smoke"
    second = out / "runs" / "lae-mnist-seed0" / "metrics.csv"
    # The program starts anew only here, where it is killed: what takes longest is to load it.
    arguments = ("benchmark", str(SMOKE), "--out", str(out), "--data-root", str(mnist_root))
    process = subprocess.Popen(
        [sys.executable, "-m", "medlangevin", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not second.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert second.exists(), "the second cell never finished an epoch"
    assert not (out / "cells" / "lae-mnist-seed0.json").exists(), "killed too late to show anything"
    listed = call(SMOKE, "--out", out, "--data-root", mnist_root, "--list")
    assert listed.output.startswith("vae-mnist-seed0: measured\nlae-mnist-seed0: ")
    assert "lae-mnist-seed0: measured" not in listed.output

    assert call(SMOKE, "--out", out, "--data-root", mnist_root).exit_code == 0
    assert without_times(read(out / "table.csv")) == without_times(read(finished / "table.csv"))


def test_listing_trains_nothing(tmp_path: Path) -> None:
    result = call(SMOKE, "--out", tmp_path / "out", "--list", "--only", "vae-*")
    assert (result.exit_code, result.output) == (0, "vae-mnist-seed0: not started\n")
    assert not (tmp_path / "out").exists()


def test_missing_images_are_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    result = call(SMOKE, "--out", tmp_path / "out", "--data-root", tmp_path / "none")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the image set mnist is missing: looked for it in ")
    assert "--download" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "iwae-*"), "--only iwae-* matches no cell; cells: vae-mnist-seed0, lae-mnist-seed0"),
        (("--data-root",), "requires an argument"),
    ],
)
def test_wrong_use_has_exit_code_2_and_writes_nothing(tmp_path: Path, arguments: Any, message: str) -> None:
    result = call(SMOKE, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    result = call(tmp_path / "none.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == f"error: config {tmp_path / 'none.yaml'} does not exist; see configs/ for examples\n"
