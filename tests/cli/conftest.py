"""Calling commands in this process, and a benchmark table of one small cell."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from medlangevin.cli.main import main

TABLE = """\
name: t
title: T
figures: [negative_elbo]
base: {model: {latent_dim: 2, network: {kind: mlp, widths: [3]}}, training: {epochs: 1, accelerator: cpu}}
data_sets: {dots: {images: {set: dots.npz}}}
rows: {vae: {label: VAE, model: {kind: vae}, seeds: {dots: [0]}}}
"""


def _call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def call() -> Callable[..., Result]:
    """``call(command, *arguments)`` in this process."""
    return _call


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory, write_images: Callable[..., Path]) -> Path:
    """A benchmark table of one small cell; its image set lies beside it."""
    root = tmp_path_factory.mktemp("table")
    (root / "table.yaml").write_text(TABLE)
    write_images(root / "dots.npz", (1, 4, 4), train=4, valid=4, test=4)
    return root / "table.yaml"
